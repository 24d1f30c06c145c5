"""`tlzoo predict MODEL INPUT… -o FILE`: answers for crystals that need no labels."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.check import element_problems, graph_problems
from tlzoo.data.sources import Problem, read_all
from tlzoo.errors import UserError
from tlzoo.files import whole
from tlzoo.inputs import Options
from tlzoo.model import BATCH_SIZE, MAX_ROWS, Model, load


def main(args: Sequence[str]) -> int:
    """Parse the command line and predict."""
    parser = argparse.ArgumentParser(prog="tlzoo predict", description=__doc__)
    parser.add_argument("model", help="run directory, or .safetensors file with its card beside it")
    parser.add_argument(
        "inputs", nargs="+", help="CIF or POSCAR files, folders, zip archives, tables, extxyz, ASE db, names"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, help="file to write: .csv or .parquet")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out what cannot be read instead of stopping"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=BATCH_SIZE,
        help="crystals at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--max-rows",
        type=int,
        default=MAX_ROWS,
        help="bonds at a time, or angles where the network reads them: less needs less memory "
        "(default: %(default)s)",
    )
    given = parser.parse_args(args)
    if given.output.suffix not in {".csv", ".parquet"}:
        raise UserError(f"the output {given.output} must end in .csv or .parquet")
    model = load(given.model)
    if given.batch_size < 1 or given.max_rows < 1:
        raise UserError(
            f"--batch-size and --max-rows must be at least 1, got {given.batch_size} and {given.max_rows}"
        )
    table = predict_inputs(
        model,
        given.inputs,
        skip_bad=given.skip_bad,
        batch_size=given.batch_size,
        max_rows=given.max_rows,
    )
    write_table(table, given.output)
    units = ", ".join(f"{n} in {u}" if u else n for n, u in zip(*_targets(model), strict=True))
    sys.stdout.write(f"{len(table)} crystals: {units} → {given.output}\n")
    return 0


def predict_inputs(
    model: Model, inputs: Sequence[str], *, skip_bad: bool, batch_size: int, max_rows: int
) -> pd.DataFrame:
    """Predict everything that the inputs hold, in their order.

    Raises:
        UserError: Something cannot be read or predicted and ``skip_bad`` is off; the message names all of it.
    """
    tables = read_inputs(inputs, model.backbone.graph, skip_bad=skip_bad)
    return pd.concat(
        [model.predict(table, batch_size=batch_size, max_rows=max_rows) for table in tables],
        ignore_index=True,
    )


def read_inputs(inputs: Sequence[str], options: Options, *, skip_bad: bool) -> list[Crystals]:
    """Read everything that the inputs hold, a table each.

    Args:
        inputs: Paths, and names of data sets.
        options: What a model reads of crystals.
        skip_bad: Leave out what cannot be read, and say so, instead of stopping.

    Raises:
        UserError: Something cannot be read and ``skip_bad`` is off; the message names all of it.
    """
    tables, problems = [], []
    for name in inputs:
        crystals, read_problems = (named.load(name), []) if named.known(name) else read_all(name)
        unfit = [*element_problems(crystals), *graph_problems(crystals, options)]
        problems += [problem for problem in (*read_problems, *unfit) if problem.severity == "error"]
        strange = {problem.file for problem in unfit}
        tables.append(crystals.select([i for i in range(len(crystals)) if crystals.origin(i) not in strange]))
    if problems and not skip_bad:
        raise UserError(listing(problems) + "; correct them, or leave them out with --skip-bad")
    if problems:
        sys.stderr.write(f"tlzoo: left out: {listing(problems)}\n")
    tables = [table for table in tables if len(table)]
    if not tables:
        raise UserError(f"there is no crystal to predict in {', '.join(inputs)}")
    return tables


def listing(problems: Sequence[Problem]) -> str:
    """All problems in one message."""
    return f"{len(problems)} cannot be predicted:\n  " + "\n  ".join(str(problem) for problem in problems)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table, whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        if path.suffix == ".parquet":
            table.to_parquet(partial, index=False)
        else:
            table.to_csv(partial, index=False)


def _targets(model: Model) -> tuple[list[str], list[str]]:
    return model.card["targets"], model.card["units"]
