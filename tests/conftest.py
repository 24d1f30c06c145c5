"""Fixtures shared by all tests."""

import contextlib
import gc
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

# scripts that other versions of tlzoo run
collect_ignore_glob = ["written_by/*/make.py"]


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Import what is large before any of our packages does.

    While jaxtyping's hook loads a module to check its shapes, Python compiles anew whatever that imports.
    """
    import lightning.pytorch  # noqa: F401 (and torch with it)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported stays: nobody need look at it again for garbage."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the tests cost, with all processes that they started."""
    terminalreporter.write_line(f"{sum(os.times()[:4]):.0f} s of CPU")


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Files are not waited for until they are on the disk: milliseconds each, and hundreds of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real data sets; tests that need it are skipped without it."""
    folder = os.environ.get("TLZOO_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TLZOO_DATA does not name a folder with the real data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own, shared by all of them."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("TLZOO_CACHE", str(folder))
        yield folder


class Answer(NamedTuple):
    """What a command gave: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def tlzoo(cache: Path) -> Callable[..., Answer]:
    """The command, in this process: ``tlzoo("fit", "--config", path)``."""
    import torch

    from tlzoo.__main__ import main

    # For tiny batches threads cost more than they give.
    torch.set_num_threads(1)

    def run(*arguments: object) -> Answer:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
        return Answer(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 24 crystals of the embedded data set, on disk."""
    from tlzoo.data import named

    path = tmp_path_factory.mktemp("few") / "few.parquet"
    named.load("semiconductors").select(np.arange(24)).write_parquet(path)
    return path


@pytest.fixture
def config(tmp_path: Path, few: Path) -> Callable[..., Path]:
    """Write a small configuration; dotted keys change it: ``config({"data.batch_size": 8})``."""

    def write(changes: dict[str, Any] | None = None, name: str = "config.yaml") -> Path:
        tree: dict[str, Any] = {
            "seed_everything": 0,
            "model": {
                "backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}},
                "head": {"class_path": "Regression", "init_args": {"hidden": [8]}},
            },
            "data": {
                "source": str(few),
                "targets": ["band_gap"],
                "split": {
                    "class_path": "Random",
                    "init_args": {"val": 4, "test": 4, "keep_duplicates_together": False},
                },
                "batch_size": 8,
            },
            "trainer": {
                "max_epochs": 2,
                "accelerator": "cpu",
                "enable_progress_bar": False,
                "enable_model_summary": False,
            },
        }
        for key, value in (changes or {}).items():
            *parents, last = key.split(".")
            branch = tree
            for parent in parents:
                branch = branch.setdefault(parent, {})
            branch[last] = value
        path = tmp_path / name
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def few_trees() -> Iterator[None]:
    """Small forests: those of the size that users get are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlzoo.evaluation.baselines.TREES", 10)
        yield


@pytest.fixture(scope="module")
def quick(few_trees: None) -> Iterator[None]:
    """Small forests and no pictures: they are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlzoo.training.run.Run.draw", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def unchecked() -> Iterator[None]:
    """No check of shapes: with it a step of a small network takes nearly twice as long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxtyping.config.jaxtyping_disable", True)
        yield
