"""`tlzoo embed MODEL INPUT… --layer NAME -o FILE`: what a layer of a model says of crystals."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError
from tlzoo.machine.files import write_columns
from tlzoo.model.activations import EMBEDDING
from tlzoo.model.answering import answer_inputs
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
    table = embed_inputs(given.model, given.inputs, layer=given.layer, skip_bad=given.skip_bad)
    write_columns(table, given.output)
    sys.stdout.write(f"{len(table['id'])} crystals, {len(table) - 1} numbers each → {given.output}\n")
    return 0


def embed_inputs(
    name: str, inputs: Sequence[str], *, layer: str | None, skip_bad: bool
) -> dict[str, NDArray[Any]]:
    """Return ids and what a layer says of everything that the inputs hold, in their order, by column.

    Args:
        name: ``descriptors``, or a model as :func:`tlzoo.load` takes it.
        inputs: Paths and names of data.
        layer: One of its layers; None for what the head reads, of descriptors for all of them.
        skip_bad: Leave out what cannot be read.

    Raises:
        UserError: There is no such model or layer, or something cannot be read and ``skip_bad`` is off; the
            message names all of it.
    """
    features = source(name)
    layer = layer or features.default
    features.check(layer)
    needs = features.needs([layer])
    ids, found = answer_inputs(
        inputs, needs, lambda stores: features.read(stores, [layer])[layer], skip_bad=skip_bad
    )
    return {"id": ids, **dict(zip(features.columns(layer), np.concatenate(found).T, strict=True))}
