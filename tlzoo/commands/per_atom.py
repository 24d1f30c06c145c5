"""`tlzoo predict MODEL INPUT… --per-atom`: what the atoms of crystals contribute to predictions."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlzoo.commands import say
from tlzoo.commands.answer_requests import Inputs, Predicted
from tlzoo.commands.answer_table import blocks
from tlzoo.errors import UserError
from tlzoo.evaluation import plots
from tlzoo.machine.device import device
from tlzoo.machine.files import write_csv, write_table
from tlzoo.model.answering import answer_inputs
from tlzoo.model.contributions import columns, pool_of
from tlzoo.model.trained import Model
from tlzoo.transfer.finetune.chosen import load
from tlzoo.transfer.finetune.folded import Folded

# Kinds of atoms that are shown on the screen, and digits behind the point of the largest number.
ROWS: Final = 20
DIGITS: Final = 4


def show(asked: Predicted, given: Inputs, output: Path | None) -> int:
    """Show contributions on the screen or in a pipe, or write them, with a picture of each property.

    Raises:
        UserError: The model is no network that pools atoms.
    """
    model = load(asked.model)
    if isinstance(model, Folded):
        raise UserError(
            f"{asked.model} predicts with the models of {len(model.members)} folds together; --per-atom "
            f"needs one of them: {Path(asked.model) / 'fold-1'}"
        )
    if not isinstance(model, Model):
        raise UserError(
            f"{asked.model} predicts from frozen features, of which nothing is known by atom; --per-atom "
            "needs a network alone, as `tlzoo fit` and `tlzoo finetune --no-frozen` make it"
        )
    pooling = pool_of(model.backbone).pooling
    model.to(device(asked.device))
    found = answer_inputs(
        given.inputs,
        model.options,
        lambda crystals, stores: model.contributed(crystals, stores, **asked.limits),
        skip_bad=given.skip_bad,
        reading=given.reading,
    )
    atoms = pd.DataFrame(found).astype({"atom": int})
    atoms.attrs["pooling"] = pooling
    units = {name: model.units.get(name, "1") for name in columns(model.head, model.card["targets"])}
    if output is not None:
        write_table(atoms, output)
        say(f"{len(atoms):,} atoms → {output}")
        for name, unit in units.items():
            picture = output.with_name(f"{output.stem}{'' if len(units) == 1 else f'-{name}'}.png")
            plots.contributions(picture, atoms, name=name, unit=unit)
            say(f"picture: {picture}")
    elif sys.stdout.isatty():
        say("\n".join(lines(atoms, units, pooling)))
    else:
        write_csv({str(name): atoms[name].to_numpy() for name in atoms}, sys.stdout)
    return 0


def lines(atoms: pd.DataFrame, units: Mapping[str, str], pooling: str) -> Iterator[str]:
    """Yield a table of the kinds of atoms of the first crystals; equal ones are one row."""
    names = list(units)
    digits = atoms[names].round(DIGITS)
    keys = [atoms["id"], atoms["element"], *(digits[name] for name in names)]
    kinds = atoms.groupby(keys, sort=False).size().reset_index(name="number")
    some = kinds.head(ROWS)
    labels = [
        f"{crystal}: {element}{f' ({number})' * (number > 1)}"
        for crystal, element, number in zip(some["id"], some["element"], some["number"], strict=True)
    ]
    columns = []
    for name, unit in units.items():
        decimals = _decimals(digits[name].to_numpy())
        columns.append(
            [name, "" if unit == "1" else unit, *(f"{value:.{decimals}f}" for value in some[name])]
        )
    yield from list(blocks(["", "crystal: element (atoms)", *labels], columns, lambda _: ">"))[1:]
    if len(kinds) > ROWS:
        yield f"… and {len(kinds) - ROWS:,} more: -o FILE writes all"
    yield ""
    whole = "sum" if pooling == "sum" else "mean"
    yield f"The {whole} of the contributions of a crystal's atoms is its prediction. Atoms are seen with"
    yield "their neighbours; unless the head is linear, contributions are first-order estimates."


def _decimals(values: NDArray[np.floating[Any]]) -> int:
    largest = float(np.abs(values).max())
    return int(np.clip(DIGITS - 1 - np.floor(np.log10(largest)), 0, DIGITS)) if largest else DIGITS
