"""`tlzoo zoo list|info|verify|pull|path|publish`: the published checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from tlzoo.cards import library
from tlzoo.commands import arguments, say
from tlzoo.errors import UserError

SPELLED: Final = {"folds": "--folds RUN,…"}


def main(args: Sequence[str]) -> int:
    """Run one of the commands."""
    functions = (list_all, info, verify, pull, path, publish)
    return arguments.dispatch(args, functions, prog="tlzoo zoo", about=__doc__, spelled=SPELLED)


def list_all() -> int:
    """Name the checkpoints, with their test errors."""
    from tlzoo.crystals import with_unit

    names, damaged = library.names(), 0
    for each in names:
        try:
            card = library.find(each).card
        except UserError as error:
            say(f"{each:24}{'damaged':>8}  {error}")
            damaged += 1
            continue
        for i, (target, unit) in enumerate(zip(card.targets, card.units, strict=True)):
            name = card.name if i == 0 else ""
            size = f"{card.bytes / 1e6:.1f} MB" if i == 0 else ""
            line = f"{name:24}{size:>8}  {with_unit(target, unit, '{} ({})')}: {card.score(target)}"
            line += f"; {lacking}" if card.package and (lacking := card.package.lacking) else ""
            say(line.replace("\n", " "))
    if not names:
        say(library.there_are())
    return 1 if damaged else 0


def info(name: str) -> int:
    """Show the card of a checkpoint.

    Args:
        name: Of the checkpoint.
    """
    found = library.find(name)
    say(found.card.text() + ("" if found.card.package else f"\n  {'weights':<9} {found.path}"))
    return 0


def verify(
    name: str | None = None,
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
) -> int:
    """Compute SHA-256 and golden predictions again.

    Args:
        name: One checkpoint instead of all.
        device: Where to compute.
        precision: In which precision.
    """
    names = [name] if name else library.names()
    if not names:
        say(library.there_are())
        return 0
    from tlzoo.zoo import golden

    failed = 0
    for each in names:
        try:
            package = library.find(each).card.package
            if package and (lacking := package.lacking):
                say(f"{each}: skipped, it {lacking}")
                continue
            verdict = golden.verify(each, device=device, precision=precision)
        except UserError as error:
            say(f"{each}: FAILS, {error}")
            failed += 1
        else:
            say(verdict.text())
            failed += not verdict.passed
    return 1 if failed else 0


def pull(name: str) -> int:
    """Fetch a model, so that it is there without a network.

    Args:
        name: A checkpoint, https://….safetensors#sha256=…, or wandb:….
    """
    say(str(library.locate(name)))
    return 0


def path(name: str) -> int:
    """Say where the weights are.

    Args:
        name: A checkpoint, https://….safetensors#sha256=…, or wandb:….
    """
    return pull(name)


def publish(
    run: str,
    name: str,
    *,
    description: str,
    citation: str = "",
    licence: str = "",
    control: bool = False,
    folder: Path | None = None,
    folds: Sequence[str] = (),
) -> int:
    """Make a checkpoint of a run that was tested.

    Args:
        run: The run directory.
        name: Name of the checkpoint.
        description: What it is good for, in a sentence.
        citation: Work to cite, for data that have no card.
        licence: Licence of the data, where they have no card.
        control: Publish also a run on shuffled labels (data.shuffle_labels).
        folder: Where to put it; by default the first of the zoo's folders.
        folds: Of a run that has learned from every crystal: tested runs on the folds of a cross-validation.
    """
    from tlzoo.zoo import publish as publishing

    folders = [folder] if folder else library.folders()
    if not folders:
        raise UserError("there is no folder for checkpoints; name one: --folder")
    about = {"description": description, "citation": citation, "licence": licence}
    card = publishing.publish(run, name, **about, folder=folders[0], control=control, folds=folds)
    say(f"{card.text()}\n{folders[0] / card.name}.safetensors")
    return 0
