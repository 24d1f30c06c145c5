"""`tlzoo screen MODEL[,MODEL] POOL -o ranked.parquet`: predict and rank a pool of crystals.

Writes ranked.parquet, the same as a page ranked.html, and ranked-problems.csv: what could not be predicted,
and why. The pool is read, and answered for, in shards; what is done is kept in ranked.shards, so that the
same command goes on where it was stopped, however that was.
"""

from collections.abc import Sequence

from tlzoo.commands import arguments, say
from tlzoo.errors import UserError
from tlzoo.screen.screen_request import Options, Request

SPELLED = {"folder": "--dir DIR", "where": "--where CONDITION"}


EXAMPLE = "tlzoo screen momentnet-u pool.parquet --target band_gap -o ranked.parquet"


def main(args: Sequence[str]) -> int:
    """Screen, and write the results."""
    request, options = arguments.parse(
        args, Request, Options, prog="tlzoo screen", about=__doc__, example=EXAMPLE, spelled=SPELLED
    )
    if options.output.suffix != ".parquet":
        raise UserError(f"the output {options.output} must end in .parquet")
    if options.top is not None and options.top < 1:
        raise UserError(f"--top must be at least 1, got {options.top}")
    from tlzoo.screen.pipeline import screen

    say(screen(request, options))
    return 0
