"""`tlzoo finetune DATA --target COL [--from NAME,…]`: fine-tune, and see whether the transfer helped.

Trains twice on the same split, from the models named and from scratch, with as many epochs and the same
learning rates and poolings to choose from, and ends with the errors of both on the test part beside
those of trivial baselines.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tlzoo.transfer.finetune.recipes import STRATEGIES

DEFAULT_START = "cgcnn-mpt"


def main(args: Sequence[str]) -> int:
    """Parse the command line, compare, and print the verdict."""
    given = vars(parser().parse_args(args))
    from tlzoo.transfer.finetune import finished
    from tlzoo.transfer.finetune.experiment import Request

    request = Request(**given)
    if (said := finished.shown(request)) is not None:
        say("\n".join(said))
        return 0
    from tlzoo.transfer.finetune.compare import compare

    compare(request, say)
    return 0


def say(text: str) -> None:
    """Write to standard output at once: the next line may take minutes."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def parser() -> argparse.ArgumentParser:
    """Describe the command line; each argument is a field of the request."""
    more = (__doc__ or "").partition("\n\n")[2]
    parser = argparse.ArgumentParser(
        prog="tlzoo finetune", usage="tlzoo finetune DATA --target COL [--from NAME,…] …", description=more
    )
    add = parser.add_argument
    add("source", metavar="DATA", help="a folder, archive, table or name, as data.source of `tlzoo fit`")
    add("--target", metavar="COL", help="column to learn (default: the only one)")
    add("--unit", help="its unit, where the data do not say")
    add(
        "--from",
        dest="starts",
        type=_names,
        default=(DEFAULT_START,),
        metavar="NAME,…",
        help="checkpoint (`tlzoo zoo list`), run directory or .safetensors file; of several, validation "
        f"chooses (default: {DEFAULT_START})",
    )
    add("--strategy", choices=STRATEGIES, help="what trains (default: by the number of crystals)")
    add(
        "--head",
        metavar="TARGET",
        help="start from what the model predicts for this target of its own, instead of a new head: for "
        "nearly the same property",
    )
    add("--epochs", type=int, help="on both sides (default: by the number of crystals)")
    add("--batch-size", type=int, help="crystals per batch (default: by the number of crystals)")
    add(
        "--learning-rates",
        dest="rates",
        type=_rates,
        metavar="A,B…",
        help="to try on both sides; validation chooses (default: by the number of crystals; "
        "smaller ones with --head)",
    )
    add(
        "--pooling",
        dest="poolings",
        type=_names,
        metavar="A,B…",
        help="mean, max, sum, attention: to try on both sides; validation chooses (default: mean,max; "
        "with --head what it was trained with)",
    )
    add(
        "--seeds",
        type=int,
        default=1,
        help="trainings with what was chosen, which answer together in the end (default: 1)",
    )
    add(
        "--together",
        action="store_true",
        help="let the best training from each of several models answer, instead of the best of all",
    )
    add("--seed", type=int, default=0, help="seed of the first (default: 0)")
    add(
        "--config",
        dest="configs",
        action="append",
        type=Path,
        default=[],
        help="YAML to put on top of both experiments: split, columns, precision, logger …; may be repeated",
    )
    add("--run_dir", type=Path, default=Path("runs/finetune"), help="directory (default: %(default)s)")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _rates(text: str) -> tuple[float, ...]:
    return tuple(float(rate) for rate in text.split(","))
