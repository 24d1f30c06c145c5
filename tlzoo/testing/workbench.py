"""The command line in this process, with small data and configurations of a test's own."""

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from tlzoo.crystals import SYMBOLS, Crystals
from tlzoo.data import atom_table

SMALL = """
seed_everything: 0
model:
  backbone: {class_path: CGCNN, init_args: {dim: 8, depth: 1}}
  head: {class_path: Regression, init_args: {hidden: [8]}}
data:
  targets: [band_gap]
  split: {class_path: Random, init_args: {val: 4, test: 4, keep_duplicates_together: false}}
  batch_size: 8
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""


class Answer(NamedTuple):
    """What a command gave: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def run(*arguments: object) -> Answer:
    """Run ``tlzoo`` with these arguments: ``run("fit", "--config", path)``."""
    from tlzoo.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Answer(code, out.getvalue(), err.getvalue())


def write_few(folder: Path) -> Path:
    """Write a table of 24 crystals of the embedded data set."""
    from tlzoo.data import named

    path = folder / "few.parquet"
    named.load("semiconductors").select(np.arange(24)).write_parquet(path)
    return path


def write_teacher(folder: Path, crystals: Crystals, *, dim: int = 5, seed: int = 0) -> Path:
    """Write what a teacher says of the atoms of crystals: of unit variance, mostly by the element."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(len(SYMBOLS), dim))[crystals.numbers]
    numbers = 0.95 * numbers + 0.3 * rng.normal(size=numbers.shape)
    shard = folder / atom_table.SHARDS / "00000.parquet"
    atom_table.write_shard(
        shard, crystals.ids, atom_table.hashes(crystals), crystals.num_atoms, numbers, np.zeros(len(crystals))
    )
    manifest = {"format": 1, "model": {"name": "teacher", "sha256": "0" * 64}}
    (folder / atom_table.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    atom_table.finish(folder, dim)
    return folder


def write_config(path: Path, source: Path, changes: Mapping[str, Any]) -> Path:
    """Write a small configuration; dotted keys change it: ``{"data.batch_size": 8}``."""
    tree: dict[str, Any] = yaml.safe_load(SMALL)
    tree["data"]["source"] = str(source)
    for key, value in changes.items():
        *parents, last = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def fit(config: Path, folder: Path, *more: object) -> Path:
    """Train into a run directory, which is returned."""
    answer = run("fit", "--config", config, "--run_dir", folder, *more)
    assert answer.code == 0, answer.err
    return folder
