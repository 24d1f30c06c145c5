"""`tlzoo data check|list|info`: look at data before learning from them."""

import argparse
import sys
from collections.abc import Sequence


def main(args: Sequence[str]) -> int:
    """Parse the command line and run one of the three commands."""
    parser = argparse.ArgumentParser(prog="tlzoo data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="read everything and report all problems at once")
    checking.add_argument(
        "path", help="folder, zip archive, table, extxyz, ASE database or name of a data set"
    )
    checking.add_argument(
        "--target", action="append", dest="targets", help="a target column; may be repeated"
    )
    checking.add_argument("--id-column", help="column of the ids, where it is not found")
    checking.add_argument("--structure-column", help="column of the structures, where it is not found")
    checking.add_argument(
        "--cutoff", type=float, default=8.0, help="radius of the neighbour search in Å (default: 8)"
    )
    commands.add_parser("list", help="name the data sets that tlzoo knows")
    about = commands.add_parser("info", help="show the card of a data set")
    about.add_argument("name")
    given = parser.parse_args(args)
    if given.command == "check":
        return _check(given)
    return _list() if given.command == "list" else _info(given.name)


def _check(given: argparse.Namespace) -> int:
    from tlzoo.data import named
    from tlzoo.data.check import check
    from tlzoo.graphs.options import GraphOptions

    report = check(
        named.load(given.path) if named.known(given.path) else given.path,
        targets=given.targets,
        id_column=given.id_column,
        structure_column=given.structure_column,
        options=GraphOptions(cutoff=given.cutoff),
    )
    sys.stdout.write(report.text() + "\n")
    return report.exit_code


def _list() -> int:
    from tlzoo.data import named

    for card in named.every():
        targets = ", ".join(f"{name} ({unit})" for name, unit in card.units.items())
        sys.stdout.write(f"{card.name:16}{card.crystals:>9,} crystals  {targets}\n")
    return 0


def _info(name: str) -> int:
    from tlzoo.data import named

    sys.stdout.write(named.find(name).text() + "\n")
    return 0
