"""`tlzoo predict MODEL INPUT… -o FILE`: answers for crystals that need no labels."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlzoo.errors import UserError
from tlzoo.machine.files import write_columns
from tlzoo.model.answering import Columns, Stores, answer_inputs
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
    limits: dict[str, Any] = {name: getattr(given, name) for name in ("batch_size", "max_rows")}
    limits = {name: size for name, size in limits.items() if size is not None}
    if wrong := [
        f"{_flag(name)} must be at least 1, got {size}" for name, size in limits.items() if size < 1
    ]:
        raise UserError("; ".join(wrong))
    if features.is_saved(given.model):
        if limits:
            flag = _flag(next(iter(limits)))
            raise UserError(f"{given.model} is a regression on frozen features, which knows no {flag}")
        model: Model | SavedFeatures = features.load(given.model)
    else:
        model = load(given.model)
    answer: Callable[[Stores], Columns] = partial(model.answers, **limits)
    table = answer_inputs(given.inputs, model.options, answer, skip_bad=given.skip_bad)
    write_columns(table, given.output)
    told = ", ".join(f"{name} in {unit}" if unit else name for name, unit in model.units.items())
    sys.stdout.write(f"{len(table['id'])} crystals: {told} → {given.output}\n")
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


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
