"""`tlzoo test MODEL --on DATA`: what any model is worth on a labelled set that is not its own.

The whole set is measured on: crystals without a label are left out, those that the model has learned from are
counted, and nothing of the model's own is written over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlzoo.commands import arguments, say


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which model, on what.

    Attributes:
        model: A checkpoint, run directory, directory of `tlzoo finetune` or ``.safetensors`` file.
        on: A folder, archive, table or named data set with known values.
        target: Columns with the known values, where they are not called as the model calls them; of a model
            with several properties PROPERTY=COL.
        unit: Their unit, where the data do not say; it must be that of the model.
        output: Folder to write to; by default on/NAME in the directory of the model, for a checkpoint
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
        told = ", ".join(f"{name} {value:.4g}" for name, value in errors.items())
        say(f"without crystals that were in training ({found['unseen']['crystals']:,} left): {told}")
    for name, each in found.get("intervals", {}).items():
        number, share = f"{each['held']:,} of {each['crystals']:,}", each["held"] / each["crystals"]
        say(f"intervals of {name}, which are to hold 90 %, held {number} ({100 * share:.0f} %)")
    for note in found["notes"]:
        say(note)
    say(f"written to: {found['folder']}")
