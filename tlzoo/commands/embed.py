"""`tlzoo embed MODEL INPUT… --layer NAME -o FILE`: the numbers that a layer of a model makes of crystals."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlzoo.commands import arguments
from tlzoo.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    from tlzoo.machine.files import write_columns

    table = embed_inputs(model, inputs, layer=layer, skip_bad=skip_bad)
    write_columns(table, output)
    sys.stdout.write(f"{len(table['id'])} crystals, {len(table) - 1} numbers each → {output}\n")
    return 0


def embed_inputs(
    name: str, inputs: Sequence[str], *, layer: str | None, skip_bad: bool
) -> "dict[str, NDArray[Any]]":
    """Return ids and what a layer makes of everything that the inputs hold, in their order, by column.

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

    from tlzoo.model.answering import answer_inputs
    from tlzoo.transfer.features.layers import source

    features = source(name)
    layer = layer or features.default
    features.check(layer)
    needs = features.needs([layer])
    ids, found = answer_inputs(
        inputs, needs, lambda stores: features.read(stores, [layer])[layer], skip_bad=skip_bad
    )
    return {"id": ids, **dict(zip(features.columns(layer), np.concatenate(found).T, strict=True))}
