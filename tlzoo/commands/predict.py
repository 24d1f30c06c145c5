"""`tlzoo predict MODEL INPUT… -o FILE`: answers for crystals that need no labels."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlzoo.commands import arguments
from tlzoo.errors import UserError
from tlzoo.transfer import features

if TYPE_CHECKING:
    # torch, scikit-learn and pandas take seconds to import, and the help needs none of them
    from numpy.typing import NDArray

    from tlzoo.model.answering import Stores
    from tlzoo.model.trained import Model
    from tlzoo.transfer.features.saved import SavedFeatures


def main(args: Sequence[str]) -> int:
    """Predict, and write the answers."""
    (code,) = arguments.parse(args, predict, prog="tlzoo predict", about=__doc__)
    return int(code)


def predict(
    model: str,
    inputs: Sequence[str],
    *,
    output: Path,
    skip_bad: bool = False,
    batch_size: int | None = None,
    max_rows: int | None = None,
) -> int:
    """Predict everything that the inputs hold.

    Args:
        model: A checkpoint, run directory, ``.safetensors`` file with its card beside it, or a folder that
            `tlzoo features --save` wrote.
        inputs: CIF or POSCAR files, folders, zip archives, tables, extxyz, ASE databases, names of data sets.
        output: File to write: .csv or .parquet.
        skip_bad: Leave out what cannot be read instead of stopping.
        batch_size: Crystals at a time (default: 1024).
        max_rows: Bonds at a time, or angles where the network reads them: less needs less memory (default:
            50000).
    """
    if output.suffix not in {".csv", ".parquet"}:
        raise UserError(f"the output {output} must end in .csv or .parquet")
    given = {"batch_size": batch_size, "max_rows": max_rows}
    limits = {name: size for name, size in given.items() if size is not None}
    flags = {name: f"--{name.replace('_', '-')}" for name in limits}
    if wrong := [
        f"{flags[name]} must be at least 1, got {size}" for name, size in limits.items() if size < 1
    ]:
        raise UserError("; ".join(wrong))
    from tlzoo.machine.files import write_columns

    if features.is_saved(model):
        if limits:
            raise UserError(
                f"{model} is a regression on frozen features, which knows no {next(iter(flags.values()))}"
            )
        trained: Model | SavedFeatures = features.load(model)
    else:
        from tlzoo.model.trained import load

        trained = load(model)
    table = predict_inputs(trained, inputs, limits, skip_bad=skip_bad)
    write_columns(table, output)
    told = ", ".join(f"{name} in {unit}" if unit else name for name, unit in trained.units.items())
    sys.stdout.write(f"{len(table['id'])} crystals: {told} → {output}\n")
    return 0


def predict_inputs(
    model: "Model | SavedFeatures", inputs: Sequence[str], limits: dict[str, Any], *, skip_bad: bool
) -> "dict[str, NDArray[Any]]":
    """Predict everything that the inputs hold, in their order; return ids and predictions by column.

    Args:
        model: The network, or regression on frozen features.
        inputs: Paths, and names of data sets.
        limits: ``batch_size`` and ``max_rows`` of :meth:`~tlzoo.model.Model.predict`, if not the usual ones.
        skip_bad: Leave out what cannot be read or predicted.

    Raises:
        UserError: Something cannot be and ``skip_bad`` is off; the message names all of it.
    """
    from tlzoo.model.answering import answer_inputs, joined

    answer: Callable[[Stores], dict[str, NDArray[Any]]] = partial(model.answers, **limits)
    ids, found = answer_inputs(inputs, model.options, answer, skip_bad=skip_bad)
    return {"id": ids, **joined(found, model.columns)}
