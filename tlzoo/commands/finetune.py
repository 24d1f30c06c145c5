"""`tlzoo finetune DATA --target COL [--from NAME,…]`: fine-tune, and check that the transfer helps.

Trains networks on one split of the data: from the pretrained models given by --from and, to compare, from
scratch, both with the same number of epochs and the same choice of learning rates and poolings. Besides, a
head for small data is fitted within seconds to frozen features of the models and to descriptors. The
validation part decides whether the network, this head or both together make the predictions. The result is a
table of the errors of all of them on the test part, next to trivial baselines.
"""

from collections.abc import Sequence
from pathlib import Path

from tlzoo.commands import arguments, say
from tlzoo.machine import latest, runtime
from tlzoo.transfer.finetune import finished
from tlzoo.transfer.finetune.finetune_request import Request

EXAMPLE = "tlzoo finetune mine.csv --target gap --unit eV --from momentnet-u"


def main(args: Sequence[str]) -> int:
    """Compare, and print the verdict; show again what is finished."""
    (request,) = arguments.parse(args, Request, prog="tlzoo finetune", about=__doc__, example=EXAMPLE)
    if (said := finished.shown(request)) is not None:
        say("\n".join(said))
        point(request.run_dir)
        return 0
    runtime.configure()
    if request.folds is not None:
        from tlzoo.transfer.folds.fold_comparisons import compare_folds

        compare_folds(request, say)
    else:
        from tlzoo.transfer.finetune.compare import compare

        compare(request, say)
    point(request.run_dir)
    return 0


def point(directory: Path) -> None:
    """Let ``runs/latest`` lead to a comparison, as to the run of a `tlzoo fit`."""
    latest.point(Path("runs/latest"), directory)
