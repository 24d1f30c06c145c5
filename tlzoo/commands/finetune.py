"""`tlzoo finetune DATA --target COL [--from NAME,…]`: fine-tune, and see whether the transfer helped.

Trains twice on the same split, from the models named and from scratch, with as many epochs and the same
learning rates and poolings to choose from, and ends with the errors of both on the test part beside
those of trivial baselines.
"""

from collections.abc import Sequence

from tlzoo.commands import arguments
from tlzoo.transfer.finetune.finetune_request import Request


def main(args: Sequence[str]) -> int:
    """Compare, and print the verdict."""
    (request,) = arguments.parse(args, Request, prog="tlzoo finetune", about=__doc__)
    from tlzoo.transfer.finetune.compare import finetune, say

    say(f"\n{finetune(request).text()}\n\nrun directory: {request.run_dir}")
    return 0
