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

The transfer-learning model zoo for crystals.

Train and use networks:
  fit        train or fine-tune a network     tlzoo fit --config FILE --run-dir runs/NAME
  validate   its errors on validation data    tlzoo validate runs/NAME
  test       its errors on test data          tlzoo test runs/NAME
  predict    properties of new crystals       tlzoo predict MODEL crystals/ -o predictions.csv
  embed      what a network computes on the   tlzoo embed MODEL crystals/ -o features.parquet
             way, as features of crystals
  screen     predict and rank many crystals   tlzoo screen MODEL POOL -o ranked.parquet
  serve      a page in the browser that       tlzoo serve
             predicts, and an HTTP API

Transfer to data of your own:
  recommend  which model to start from        tlzoo recommend DATA --target COL
  finetune   fine-tune, and train from        tlzoo finetune DATA --target COL --from MODEL
             scratch to compare
  features   fit a regression to features of  tlzoo features DATA --target COL --from MODEL -o NAME
             a network, for few crystals

Look around:
  data       check and list data sets         tlzoo data check DATA | list | info NAME
  zoo        trained networks                 tlzoo zoo list | info NAME | pull NAME
  study      many trainings, compared         tlzoo study run FILE | status FILE | table FILE
  completion names and options by the tab key tlzoo completion bash | zsh | fish

MODEL is a checkpoint of the zoo, a run directory or a .safetensors file; DATA a folder, table, archive or the
name of a data set.  tlzoo COMMAND --help says more, tlzoo --version prints the version.
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
