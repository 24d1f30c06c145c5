"""`tlzoo zoo list|info|verify|pull|path|publish|table`: the published checkpoints."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tlzoo.cards import Card, library, listing
from tlzoo.errors import UserError


def main(args: Sequence[str]) -> int:
    """Parse the command line and run one of the commands."""
    parser = argparse.ArgumentParser(prog="tlzoo zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name the checkpoints, with their test errors")
    about = commands.add_parser("info", help="show the card of a checkpoint")
    about.add_argument("name")
    checking = commands.add_parser("verify", help="compute SHA-256 and golden predictions again")
    checking.add_argument("name", nargs="?", help="one checkpoint instead of all")
    checking.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    checking.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    for command, text in (
        ("pull", "fetch a model, so that it is there without a network"),
        ("path", "say where the weights are"),
    ):
        where = commands.add_parser(command, help=text)
        where.add_argument("name", help="a checkpoint, https://….safetensors#sha256=…, or wandb:…")
    publishing = commands.add_parser("publish", help="make a checkpoint of a run that was tested")
    publishing.add_argument("run", help="the run directory")
    publishing.add_argument("name", help="name of the checkpoint")
    publishing.add_argument("--description", required=True, help="what it is good for, in a sentence")
    publishing.add_argument("--citation", default="", help="work to cite, for data that have no card")
    publishing.add_argument("--licence", default="", help="licence of the data, where they have no card")
    publishing.add_argument(
        "--control", action="store_true", help="also a run on shuffled labels (data.shuffle_labels)"
    )
    publishing.add_argument(
        "--folder", type=Path, help="where to put it (default: the first of the zoo's folders)"
    )
    writing = commands.add_parser("table", help="write the tables of the repository from the cards")
    writing.add_argument("--check", action="store_true", help="only say whether they are current")
    given = parser.parse_args(args)
    run: Callable[[argparse.Namespace], int] = {
        "list": _list,
        "info": _info,
        "verify": _verify,
        "pull": _where,
        "path": _where,
        "publish": _publish,
        "table": _table,
    }[given.command]
    return run(given)


def _list(_: argparse.Namespace) -> int:
    names = library.names()
    for card in (library.find(name).card for name in names):
        for i, (target, unit) in enumerate(zip(card.targets, card.units, strict=True)):
            name = card.name if i == 0 else ""
            size = f"{card.bytes / 1e6:.1f} MB" if i == 0 else ""
            say(f"{name:24}{size:>8}  {target} ({unit}): {card.score(target)}")
    if not names:
        say(library.there_are())
    return 0


def _info(given: argparse.Namespace) -> int:
    found = library.find(given.name)
    say(f"{found.card.text()}\n  {'weights':<9} {found.path}")
    return 0


def _verify(given: argparse.Namespace) -> int:
    names = [given.name] if given.name else library.names()
    if not names:
        say(library.there_are())
        return 0
    from tlzoo.zoo.golden import verify

    failed = 0
    for name in names:
        try:
            verdict = verify(name, device=given.device, precision=given.precision)
        except UserError as error:
            say(f"{name}: FAILS, {error}")
            failed += 1
        else:
            say(verdict.text())
            failed += not verdict.passed
    return 1 if failed else 0


def _where(given: argparse.Namespace) -> int:
    say(str(library.locate(given.name)))
    return 0


def _publish(given: argparse.Namespace) -> int:
    from tlzoo.zoo.publish import publish

    folders = [given.folder] if given.folder else library.folders()
    if not folders:
        raise UserError("there is no folder for checkpoints; name one: --folder")
    card = publish(
        given.run,
        given.name,
        description=given.description,
        folder=folders[0],
        citation=given.citation,
        licence=given.licence,
        control=given.control,
    )
    say(f"{card.text()}\n{folders[0] / card.name}.safetensors")
    return 0


def _table(given: argparse.Namespace) -> int:
    root = library.repository()
    if root is None:
        raise UserError("the tables are part of the repository, and tlzoo does not run from one")
    folder = root / "checkpoints"
    cards = [Card.read(folder / f"{name}.json") for name in library.names(folder)]
    changed = listing.stale(root, cards) if given.check else listing.write(root, cards)
    for path in changed:
        say(f"{path.relative_to(root)} {'is not current: tlzoo zoo table' if given.check else 'written'}")
    return 1 if given.check and changed else 0


def say(text: str) -> None:
    """Write to standard output."""
    sys.stdout.write(text + "\n")
