"""`tlzoo embed MODEL INPUT… --layer NAME -o FILE`: what a layer of a model says of crystals."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tlzoo.errors import UserError
from tlzoo.machine.files import write_columns
from tlzoo.model.activations import EMBEDDING
from tlzoo.model.answering import Columns, Stores, answer_inputs
from tlzoo.transfer.features.layers import source


def main(args: Sequence[str]) -> int:
    """Parse the command line, compute, and write a row per crystal: its id, then the numbers."""
    parser = argparse.ArgumentParser(prog="tlzoo embed", description=__doc__)
    add = parser.add_argument
    add("model", help="a checkpoint, run directory or .safetensors file; or descriptors")
    add("inputs", nargs="+", help="CIF or POSCAR files, folders, zip archives, tables, extxyz, ASE db, names")
    add(
        "--layer",
        help=f"layer by name (default: {EMBEDDING}, what the head reads; of descriptors: both); a wrong name "
        "lists those there are",
    )
    add("-o", "--output", required=True, type=Path, help="file to write: .parquet or .csv")
    add("--skip-bad", action="store_true", help="leave out what cannot be read instead of stopping")
    given = parser.parse_args(args)
    if given.output.suffix not in {".csv", ".parquet"}:
        raise UserError(f"the output {given.output} must end in .csv or .parquet")
    features = source(given.model)
    layer = given.layer or features.default
    features.check(layer)

    def answer(stores: Stores) -> Columns:
        return dict(zip(features.columns(layer), features.read(stores, [layer])[layer].T, strict=True))

    table = answer_inputs(given.inputs, features.needs([layer]), answer, skip_bad=given.skip_bad)
    write_columns(table, given.output)
    sys.stdout.write(f"{len(table['id'])} crystals, {len(table) - 1} numbers each → {given.output}\n")
    return 0
