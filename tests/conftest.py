"""Fixtures shared by all tests."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tlzoo.testing.workbench import Answer

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


@pytest.fixture(scope="session")
def tlzoo(cache: Path) -> "Callable[..., Answer]":
    """The command, in this process: ``tlzoo("fit", "--config", path)``."""
    import torch

    from tlzoo.testing import workbench

    # For tiny batches threads cost more than they give.
    torch.set_num_threads(1)
    return workbench.run


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 24 crystals of the embedded data set, on disk."""
    from tlzoo.testing import workbench

    return workbench.write_few(tmp_path_factory.mktemp("few"))


@pytest.fixture
def config(tmp_path: Path, few: Path) -> Callable[..., Path]:
    """Write a small configuration; dotted keys change it: ``config({"data.batch_size": 8})``."""
    from tlzoo.testing import workbench

    def write(changes: dict[str, Any] | None = None, name: str = "config.yaml") -> Path:
        return workbench.write_config(tmp_path / name, few, changes or {})

    return write


@pytest.fixture(scope="module")
def few_trees() -> Iterator[None]:
    """Small forests: those of the size that users get are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("evaluation.baselines", "transfer.features.estimators"):
            patch.setattr(f"tlzoo.{module}.TREES", 10)
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
