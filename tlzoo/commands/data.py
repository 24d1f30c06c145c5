"""`tlzoo data check|overlap|list|info`: look at data before learning from them."""

import argparse
import sys
from collections.abc import Sequence


def main(args: Sequence[str]) -> int:
    """Parse the command line and run one of the commands."""
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
    comparing = commands.add_parser("overlap", help="count the crystals of data sets that are in another one")
    comparing.add_argument(
        "within", metavar="IN", help="name or path: where to look, for example what a network learned from"
    )
    comparing.add_argument("names", metavar="OF", nargs="+", help="names or paths: what to look for")
    comparing.add_argument("--test", action="store_true", help="of OF the paper's test sets alone")
    commands.add_parser("list", help="name the data sets that tlzoo knows")
    about = commands.add_parser("info", help="show the card of a data set")
    about.add_argument("name")
    given = parser.parse_args(args)
    if given.command == "check":
        return _check(given)
    if given.command == "overlap":
        return _overlap(given)
    return _list() if given.command == "list" else _info(given.name)


def _check(given: argparse.Namespace) -> int:
    from tlzoo.data import named
    from tlzoo.data.check import check
    from tlzoo.graphs.graph_options import GraphOptions

    report = check(
        named.load(given.path) if named.known(given.path) else given.path,
        targets=given.targets,
        id_column=given.id_column,
        structure_column=given.structure_column,
        options=GraphOptions(cutoff=given.cutoff),
    )
    sys.stdout.write(report.text() + "\n")
    return report.exit_code


def _overlap(given: argparse.Namespace) -> int:
    from tlzoo.data import overlap

    other = overlap.load(given.within)
    tables = ((name, overlap.load(name, test=given.test)) for name in given.names)
    found = (overlap.overlap(name, crystals, other) for name, crystals in tables)
    sys.stdout.write(f"of these, in {given.within} ({len(other):,} crystals)\n")
    for line in overlap.table(found):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return 0


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
