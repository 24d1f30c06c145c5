"""`tlzoo screen MODEL[,MODEL] POOL -o ranked.parquet`: predict a property of many crystals and rank them.

Writes the ranking to ranked.parquet and, as a page, to ranked.html; ranked-problems.csv lists the crystals
that could not be predicted, and why. The pool is processed in shards, which are saved in ranked.shards as
they are finished: after any interruption, the same command continues from there.
"""

from collections.abc import Sequence

from tlzoo.commands import arguments, say
from tlzoo.errors import UserError
from tlzoo.screen.screen_request import Options, Request

SPELLED = {"folder": "--dir DIR", "where": "--where CONDITION"}


EXAMPLE = "tlzoo screen momentnet-all pool.parquet --target band_gap -o ranked.parquet"


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
