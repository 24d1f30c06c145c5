"""`tlzoo predict MODEL INPUT… -o FILE`: answers for crystals that need no labels."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tlzoo.data.questions import read_inputs
from tlzoo.errors import UserError
from tlzoo.machine.files import write_table
from tlzoo.model.trained import BATCH_SIZE, MAX_ROWS, Model, load
from tlzoo.transfer import features

if TYPE_CHECKING:
    # scikit-learn takes seconds to import, and a network does not need it
    from tlzoo.transfer.features.saved import SavedFeatures


def main(args: Sequence[str]) -> int:
    """Parse the command line and predict."""
    given = parser().parse_args(args)
    if given.output.suffix not in {".csv", ".parquet"}:
        raise UserError(f"the output {given.output} must end in .csv or .parquet")
    limits = {name: getattr(given, name) for name in ("batch_size", "max_rows")}
    limits = {name: size for name, size in limits.items() if size is not None}
    if wrong := [
        f"{_flag(name)} must be at least 1, got {size}" for name, size in limits.items() if size < 1
    ]:
        raise UserError("; ".join(wrong))
    if features.is_saved(given.model):
        if limits:
            flag = _flag(next(iter(limits)))
            raise UserError(f"{given.model} is a regression on frozen features, which knows no {flag}")
        table, units = predict_by_features(features.load(given.model), given.inputs, skip_bad=given.skip_bad)
    else:
        table, units = predict_by_network(load(given.model), given.inputs, limits, skip_bad=given.skip_bad)
    write_table(table, given.output)
    told = ", ".join(f"{name} in {unit}" if unit else name for name, unit in units.items())
    sys.stdout.write(f"{len(table)} crystals: {told} → {given.output}\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="tlzoo predict", description=__doc__)
    add = parser.add_argument
    add(
        "model",
        help="checkpoint, run directory, .safetensors file with its card beside it, or a folder that "
        "`tlzoo features --save` wrote",
    )
    add("inputs", nargs="+", help="CIF or POSCAR files, folders, zip archives, tables, extxyz, ASE db, names")
    add("-o", "--output", required=True, type=Path, help="file to write: .csv or .parquet")
    add("--skip-bad", action="store_true", help="leave out what cannot be read instead of stopping")
    add("--batch-size", type=int, help=f"crystals at a time (default: {BATCH_SIZE})")
    add(
        "--max-rows",
        type=int,
        help="bonds at a time, or angles where the network reads them: less needs less memory "
        f"(default: {MAX_ROWS})",
    )
    return parser


def predict_by_network(
    model: Model, inputs: Sequence[str], limits: dict[str, int], *, skip_bad: bool
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Predict everything that the inputs hold, in their order; return the units of the targets, too.

    Args:
        model: The network.
        inputs: Paths, and names of data sets.
        limits: ``batch_size`` and ``max_rows`` of :meth:`~tlzoo.model.Model.predict`, if not the usual ones.
        skip_bad: Leave out what cannot be read or predicted.

    Raises:
        UserError: Something cannot be and ``skip_bad`` is off; the message names all of it.
    """
    tables = read_inputs(inputs, [model.backbone.graph], skip_bad=skip_bad)
    found = pd.concat([model.predict(table, **limits) for table in tables], ignore_index=True)
    return found, dict(zip(model.card["targets"], model.card["units"], strict=True))


def predict_by_features(
    model: "SavedFeatures", inputs: Sequence[str], *, skip_bad: bool
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Predict by a regression on frozen features; as :func:`predict_by_network`."""
    tables = read_inputs(inputs, model.options, skip_bad=skip_bad)
    found = pd.concat([model.predict(table) for table in tables], ignore_index=True)
    return found, {model.card["target"]: model.card["unit"]}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
