"""`tlzoo embed MODEL INPUT… --layer NAME -o FILE`: the numbers that a layer of a model makes of crystals."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlzoo.commands import arguments
from tlzoo.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def main(args: Sequence[str]) -> int:
    """Compute, and write a row per crystal: its id, then the numbers."""
    (code,) = arguments.parse(args, embed, prog="tlzoo embed", about=__doc__)
    return int(code)


def embed(
    model: str, inputs: Sequence[str], *, output: Path, layer: str | None = None, skip_bad: bool = False
) -> int:
    """Compute what a layer makes of everything that the inputs hold.

    Args:
        model: A checkpoint, run directory or ``.safetensors`` file; or descriptors.
        inputs: CIF or POSCAR files, folders, zip archives, tables, extxyz, ASE databases, names of data sets.
        output: File to write: .parquet or .csv.
        layer: Name of the layer; by default the embedding, which the head reads, of descriptors both. A
            wrong name lists those there are.
        skip_bad: Leave out what cannot be read instead of stopping.
    """
    if output.suffix not in {".csv", ".parquet"}:
        raise UserError(f"the output {output} must end in .csv or .parquet")
    from tlzoo.machine.files import write_table

    table = embed_inputs(model, inputs, layer=layer, skip_bad=skip_bad)
    write_table(table, output)
    sys.stdout.write(f"{len(table)} crystals, {table.shape[1] - 1} numbers each → {output}\n")
    return 0


def embed_inputs(name: str, inputs: Sequence[str], *, layer: str | None, skip_bad: bool) -> "pd.DataFrame":
    """Return what a layer says of everything that the inputs hold, in their order.

    Args:
        name: ``descriptors``, or a model as :func:`tlzoo.load` takes it.
        inputs: Paths and names of data.
        layer: One of its layers; None for what the head reads, of descriptors for all of them.
        skip_bad: Leave out what cannot be read.

    Raises:
        UserError: There is no such model or layer, or something cannot be read and ``skip_bad`` is off; the
            message names all of it.
    """
    import numpy as np
    import pandas as pd

    from tlzoo.data.questions import read_inputs
    from tlzoo.transfer.features.layers import source

    features = source(name)
    layer = layer or features.default
    features.check(layer)
    tables = read_inputs(inputs, [features.options(layer)], skip_bad=skip_bad)
    values = np.concatenate([features.activations(table, [layer])[layer] for table in tables])
    ids = np.concatenate([table.ids for table in tables])
    return pd.DataFrame({"id": ids, **dict(zip(features.columns(layer), values.T, strict=True))})
