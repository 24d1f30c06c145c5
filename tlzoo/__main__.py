"""The command `tlzoo`: a light dispatcher, so that `tlzoo --help` imports no torch."""

import importlib
import sys
from collections.abc import Sequence

import tlzoo
from tlzoo.errors import UserError
from tlzoo.machine import runtime
from tlzoo.machine.files import FULL

HELP = """\
usage: tlzoo COMMAND ...

The transfer-learning model zoo for crystals.

  fit       train or fine-tune:      tlzoo fit --config configs/experiments/NAME.yaml --run_dir runs/NAME
  validate  measure on validation:   tlzoo validate runs/NAME
  test      measure on the test set: tlzoo test runs/NAME
  predict   answer for new crystals: tlzoo predict runs/NAME crystals/ -o predictions.csv
  embed     what a layer says:       tlzoo embed runs/NAME crystals/ --layer conv.0 -o features.parquet
  data      check or list data sets: tlzoo data check PATH | list | info NAME
  finetune  fit, against scratch:    tlzoo finetune DATA --target COL --from NAME
  recommend rank what to start from: tlzoo recommend DATA --target COL
  features  learn from few labels:   tlzoo features DATA --target COL --from NAME,descriptors -o figures
  screen    rank a large pool:       tlzoo screen NAME[,NAME] POOL -o ranked.parquet --where CONDITION
  study     a grid of trainings:     tlzoo study run | status | table FILE
  zoo       trained networks:        tlzoo zoo list | info NAME | verify [NAME] | pull NAME | path NAME

tlzoo COMMAND --help says more.  tlzoo --version prints the version.
"""

# Where the commands are that have a module of their own, with a function ``main``.
MODULES = {
    "predict": "tlzoo.commands.predict",
    "embed": "tlzoo.commands.embed",
    "data": "tlzoo.commands.data",
    "finetune": "tlzoo.commands.finetune",
    "recommend": "tlzoo.commands.recommend",
    "features": "tlzoo.commands.features",
    "screen": "tlzoo.commands.screen",
    "study": "tlzoo.commands.study",
    "zoo": "tlzoo.commands.zoo",
}
COMMANDS = ("fit", "validate", "test", *MODULES)
TRAINING = {"fit", "validate", "test"}
COMPUTING = TRAINING | {"predict", "embed", "finetune", "recommend", "features", "screen", "study"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, or 2 for a mistake the user can mend."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    if not args or args[0] in {"-h", "--help"}:
        sys.stdout.write(HELP)
        return 0 if args else 2
    if args[0] == "--version":
        sys.stdout.write(f"tlzoo {tlzoo.__version__}\n")
        return 0
    try:
        return run(args)
    except UserError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return fail("stopped")
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        return fail(
            f"the disk is full{where}; make room and run the same command again, nothing finished is lost"
        )


def run(args: Sequence[str]) -> int:
    """Dispatch to the module of a command, which is imported only now."""
    command, *rest = args
    if command in COMPUTING:
        runtime.configure()
    if command in TRAINING | {"finetune", "recommend", "study"}:
        runtime.speak()
    if command in TRAINING:
        from tlzoo.commands import fit

        fit.main(args)
        return 0
    if command in MODULES:
        code: int = importlib.import_module(MODULES[command]).main(rest)
        return code
    raise UserError(f"there is no command {command!r}; there are: {', '.join(COMMANDS)}")


def fail(message: str) -> int:
    """Say what is wrong and return the exit code of a user's mistake."""
    sys.stderr.write(f"tlzoo: {message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
