"""`tlzoo test MODEL --on DATA`: measure the errors of any model on other labelled crystals.

All crystals that have a label are used. The result says how many of them the model was trained on. No file of
the model itself is changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from tlzoo.commands import arguments, say


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which model, on what.

    Attributes:
        model: A checkpoint, run directory, directory of `tlzoo finetune` or ``.safetensors`` file.
        on: Labelled crystals: a folder, archive, table or named data set.
        target: Column with the labels, if its name is not that of the model's property. For a model with
            several properties: PROPERTY=COL, separated by commas.
        unit: Unit of the labels, if the data do not state it; it must be the unit of the model.
        output: Folder to write to. By default on/NAME in the directory of the model; for a checkpoint,
            runs/on/MODEL-NAME.
    """

    model: str
    on: str
    target: Sequence[str] = ()
    unit: str | None = None
    output: Path | None = None


SPELLED = {"on": "--on DATA", "target": "--target COL,…", "output": "-o --out DIR"}


def main(args: Sequence[str]) -> None:
    """Measure, and say what was found."""
    (asked,) = arguments.parse(
        args,
        Asked,
        prog="tlzoo test",
        about=__doc__,
        example="tlzoo test cgcnn-bg --on mine.csv --target gap",
        spelled=SPELLED,
    )
    from tlzoo.evaluation.results import results_table
    from tlzoo.training.external import measured

    found = measured(asked.model, asked.on, targets=tuple(asked.target), unit=asked.unit, output=asked.output)
    say(results_table(found))
    if "unseen" in found:
        errors = {name: value for name, value in found["unseen"].items() if name != "crystals"}
        told = ", ".join(f"{name} {value:.4g}" for name, value in errors.items() if not isnan(value))
        say(f"without crystals that were in training ({found['unseen']['crystals']:,} left): {told}")
    for name, each in found.get("intervals", {}).items():
        number, share = f"{each['held']:,} of {each['crystals']:,}", each["held"] / each["crystals"]
        say(f"90 % intervals of {name} contain {number} ({100 * share:.0f} %)")
    for note in found["notes"]:
        say(note)
    say(f"written to: {found['folder']}")
