"""The command `tlzoo`: a light dispatcher, so that `tlzoo --help` imports no torch."""

import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import tlzoo
from tlzoo.commands import fit_options
from tlzoo.errors import UserError, no_such, printable, redacted
from tlzoo.machine import interruption, runtime, streams
from tlzoo.machine.files import refused
from tlzoo.machine.remarks import once

HELP = """\
usage: tlzoo COMMAND ...

The transfer-learning model zoo for crystals: predict properties of crystals with pretrained networks, and
fine-tune these networks on small data sets of your own.

Train and use networks:
  fit        train or fine-tune a network     tlzoo fit --config FILE --run-dir runs/NAME
  validate   measure validation errors        tlzoo validate runs/NAME
  test       measure test errors              tlzoo test runs/NAME
  predict    predict properties of crystals   tlzoo predict MODEL crystals/ -o predictions.csv
  embed      compute features of crystals     tlzoo embed MODEL crystals/ -o features.parquet
             with a layer of a network
  screen     predict and rank many crystals   tlzoo screen MODEL POOL -o ranked.parquet
  serve      predict on a web page, or over   tlzoo serve
             an HTTP API

Transfer to your own data:
  recommend  find the best model to start     tlzoo recommend DATA --target COL
             from
  finetune   fine-tune a model, and compare   tlzoo finetune DATA --target COL --from MODEL
             with training from scratch
  features   for few crystals: regression on  tlzoo features DATA --target COL --from MODEL -o NAME
             features of a network

Look around:
  data       check and list data sets         tlzoo data check DATA | list | info NAME
  zoo        list and fetch checkpoints       tlzoo zoo list | info NAME | pull NAME
  study      run and compare many trainings   tlzoo study run FILE | status FILE | table FILE
  completion let the shell complete names     tlzoo completion bash | zsh | fish

MODEL is a checkpoint of the zoo (a pretrained network), a run directory or a .safetensors file; DATA is a
folder, table or archive of crystals, or the name of a data set.
tlzoo COMMAND --help explains a command, tlzoo --version prints the version.
"""

# The commands that have a module of their own, with a function ``main``.
NAMES = ("predict", "embed", "data", "finetune", "recommend", "features", "screen", "serve", "study", "zoo")
MODULES = {name: f"tlzoo.commands.{name}" for name in (*NAMES, "completion")}
COMMANDS = ("fit", "validate", "test", *MODULES)
TRAINING = {"fit", "validate", "test"}
# Of `finetune`, only what is not finished is computed: it says so itself.
COMPUTING = TRAINING | {"predict", "embed", "recommend", "features", "screen", "study"}
# What else a file can ask too much of.
EXCEEDED = {
    RecursionError: "something in the input is nested too deeply to be read; is it damaged?",
    MemoryError: "memory ran out; take fewer crystals at a time, or a machine with more",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, or 2 for a mistake the user can mend, 130 after Ctrl-C."""
    streams.prepare()
    args = list(sys.argv[1:] if arguments is None else arguments)
    with interruption.noticed() as stopped:
        try:
            return ended(args, stopped)
        except Exception:
            if stopped():
                return fail("stopped", streams.STOPPED)
            raise


def ended(args: Sequence[str], stopped: Callable[[], bool]) -> int:
    """Run a command, and say what is wrong if the user can mend it, who perhaps has ``stopped`` it."""
    try:
        try:
            with once():
                return run(args)
        finally:
            sys.stdout.flush()
    except UserError as error:
        # perhaps an import has taken Ctrl-C for a missing module, and the message speaks of that
        swallowed = stopped() and not str(error).startswith("stopped")
        return fail("stopped", streams.STOPPED) if swallowed else fail(str(error))
    except KeyboardInterrupt:
        return fail("stopped", streams.STOPPED)
    except BrokenPipeError:
        streams.abandon()
        return streams.UNREAD
    except OSError as error:
        return fail(refused(error))
    except (RecursionError, MemoryError) as error:
        return fail(EXCEEDED[type(error)])


def run(args: Sequence[str]) -> int:
    """Dispatch to the module of a command, which is imported only now."""
    if not args or args[0] in {"-h", "--help", "--version"}:
        sys.stdout.write(f"tlzoo {tlzoo.__version__}\n" if "--version" in args[:1] else HELP)
        return 0 if args else 2
    command, *rest = args
    elsewhere = command == "test" and fit_options.on_other_data(rest)
    if command in TRAINING and fit_options.asks_for_help(rest) and not elsewhere:
        sys.stdout.write(fit_options.help_text(command))
        return 0
    if command in COMPUTING and not {"-h", "--help"} & set(rest):
        # a screening runs for hours beside others: its memory stays what it needs
        runtime.configure(keep=command != "screen")
    if command in TRAINING | {"finetune", "recommend", "study"}:
        runtime.speak()
    if elsewhere:
        from tlzoo.commands import on_data

        on_data.main(rest)
        return 0
    if command in TRAINING:
        from tlzoo.commands import fit

        fit.main([command, *fit_options.spelled(rest)])
        return 0
    if command in MODULES:
        # one of them is about all of them
        about = (COMMANDS, run) if command == "completion" else ()
        code: int = importlib.import_module(MODULES[command]).main(rest, *about)
        return code
    raise UserError(no_such("command", command, COMMANDS))


def fail(message: str, code: int = 2) -> int:
    """Say what is wrong and return the exit code, by default that of a user's mistake."""
    with suppress(OSError):  # nobody reads it
        sys.stderr.write(f"tlzoo: {printable(redacted(message))}\n")
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
