"""`tlzoo recommend DATA --target COL`: which checkpoint to start from, and how.

Embeds the crystals with each model and fits a ridge regression to the embeddings: the more of the property
can be read off them, the better a start the model should be. Seconds per model, without any training.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

# More crystals rank no better and take longer.
MOST = 2000


def main(args: Sequence[str]) -> int:
    """Parse the command line, score, and print the ranking."""
    given = parser().parse_args(args)
    from tlzoo.transfer.recommend.choosing import recommend

    report = recommend(
        given.source,
        models=given.models,
        target=given.target,
        unit=given.unit,
        configs=given.configs,
        everything=given.all,
        repeats=given.repeats,
        most=given.max_crystals,
        seed=given.seed,
    )
    content = json.dumps(report.content(), indent=1, ensure_ascii=False, allow_nan=False)
    sys.stdout.write((content if given.json else report.text()) + "\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    more = (__doc__ or "").partition("\n\n")[2]
    parser = argparse.ArgumentParser(
        prog="tlzoo recommend", usage="tlzoo recommend DATA --target COL [--models A B …]", description=more
    )
    add = parser.add_argument
    add("source", metavar="DATA", help="a folder, archive, table or name, as data.source of `tlzoo fit`")
    add("--target", metavar="COL", help="column to learn (default: the only one)")
    add("--unit", help="its unit, where the data do not say")
    add("--models", nargs="+", metavar="NAME", help="models to score (default: all checkpoints of the zoo)")
    add(
        "--config",
        dest="configs",
        action="append",
        type=Path,
        default=[],
        help="YAML with the split and the columns, as for `tlzoo finetune`; may be repeated",
    )
    add(
        "--all",
        action="store_true",
        help="score on all crystals (default: on the training part of the split that `tlzoo finetune` makes)",
    )
    add("--repeats", type=int, default=5, help="cross-validations (default: 5)")
    add(
        "--max-crystals",
        type=int,
        default=MOST,
        help="score on so many at most, drawn at random (default: 2000)",
    )
    add("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    add("--json", action="store_true", help="print JSON")
    return parser
