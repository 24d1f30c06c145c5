"""`tlzoo screen MODEL[,MODEL] POOL -o ranked.parquet`: predict and rank a pool of crystals.

Writes ranked.parquet, the same as a page ranked.html, and ranked-problems.csv: what could not be predicted,
and why. The pool is read, and answered for, in shards; what is done is kept in ranked.shards, so that the
same command goes on where it was stopped, however that was.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tlzoo.errors import UserError


def main(args: Sequence[str]) -> int:
    """Parse the command line, screen, and write the results."""
    given = parser().parse_args(args)
    if given.output.suffix != ".parquet":
        raise UserError(f"the output {given.output} must end in .parquet")
    if given.top is not None and given.top < 1:
        raise UserError(f"--top must be at least 1, got {given.top}")
    from tlzoo.screen.pipeline import Options, screen
    from tlzoo.screen.screening import Request

    request = Request(
        models=[part for part in given.models.split(",") if part],
        pool=given.pool,
        target=given.target,
        where=given.where,
        shard=given.shard,
    )
    options = Options(
        output=given.output,
        folder=given.dir,
        top=given.top,
        ascending=given.ascending,
        jobs=given.jobs,
        engine=given.engine,
    )
    sys.stdout.write(screen(request, options) + "\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    usage = "tlzoo screen MODEL[,MODEL] POOL -o ranked.parquet [--top 1000] [--where CONDITION]"
    more = (__doc__ or "").partition("\n\n")[2]
    parser = argparse.ArgumentParser(prog="tlzoo screen", usage=usage, description=more)
    add = parser.add_argument
    add("models", metavar="MODEL[,MODEL]", help="checkpoints, runs, files; several are an ensemble")
    add("pool", metavar="POOL", help="a named data set, table, folder or archive, as for tlzoo predict")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="the ranking: .parquet")
    add("--target", metavar="COL", help="which property of models that predict several")
    add("--top", type=int, metavar="N", help="keep the first N (default: all)")
    add("--ascending", action="store_true", help="the smallest first")
    add(
        "--where",
        metavar="CONDITION",
        help="screen only what meets it: 'nelements <= 3 and not has(O, F) and diamond_like'; a wrong name "
        "lists those there are",
    )
    add("--jobs", type=int, metavar="N", help="processes and threads (default: one per core)")
    add("--engine", choices=["local", "ray"], default="local", help="ray: on a cluster, see docs/cluster.md")
    add("--shard", type=int, default=4096, metavar="N", help="crystals in a shard (default: %(default)s)")
    add("--dir", type=Path, metavar="DIR", help="where shards are kept (default: beside the output)")
    return parser
