"""An interrupted and resumed run ends bit-identical to a straight one; so do two runs of the same seed."""

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from tlzoo.testing import workbench
from tlzoo.training.history import History

RESULTS = ("history.csv", "predictions.csv", "metrics.json", "model.safetensors", "split.json")


class ResumeContract:
    """Tests of runs.

    Attributes:
        runs: What is changed in a small configuration, by dotted keys: ``{"model.backbone": {...}}``.
    """

    runs: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Resume each run; the seed is changed for the first."""
        if "config" in metafunc.fixturenames:
            names = list(self.runs)
            metafunc.parametrize(
                "config", names[:1] if "seed" in metafunc.function.__name__ else names, indirect=True
            )

    @pytest.fixture
    def config(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The configuration of a run of four epochs."""
        monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "cache"))
        changes = {**self.runs[request.param], "trainer.max_epochs": 4}
        return workbench.write_config(tmp_path / "config.yaml", workbench.write_few(tmp_path), changes)

    def test_resumed_equals_straight(self, config: Path, tmp_path: Path) -> None:
        straight = workbench.fit(config, tmp_path / "straight")

        def interrupt(self: History, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401, ARG001
            if trainer.current_epoch == 2 and batch_idx == 1:
                signal.raise_signal(signal.SIGINT)

        broken = tmp_path / "broken"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(History, "on_train_batch_start", interrupt)
            answer = workbench.run("fit", "--config", config, "--run_dir", broken)
        assert answer.code == 2
        assert answer.err.endswith("the same command goes on from there\n")
        assert len((broken / "history.csv").read_text().splitlines()) == 1 + 2

        # a resumed run may lie elsewhere, and what the process did meanwhile must not matter
        resumed = broken.rename(tmp_path / "resumed")
        torch.rand(7)
        assert_identical(straight, workbench.fit(config, resumed))

    def test_the_seed_decides(self, config: Path, tmp_path: Path) -> None:
        one, same, other = (tmp_path / name for name in ("one", "same", "other"))
        assert_identical(workbench.fit(config, one), workbench.fit(config, same))
        workbench.fit(config, other, "--seed_everything", 1)
        assert (one / "history.csv").read_bytes() != (other / "history.csv").read_bytes()


def assert_identical(run: Path, other: Path) -> None:
    """All that was learned and all results are equal to the bit."""
    one, two = dict(state(run)), dict(state(other))
    assert one.keys() == two.keys()
    assert any("exp_avg" in name for name in one)
    differing = [
        name
        for name, value in one.items()
        if not (torch.equal(value, two[name]) if isinstance(value, torch.Tensor) else value == two[name])
    ]
    assert not differing
    for name in RESULTS:
        assert (run / name).read_bytes() == (other / name).read_bytes(), name


def state(run: Path) -> Iterator[tuple[str, Any]]:
    """All tensors and numbers of the resume files that say what was learned."""
    for name in ("best.ckpt", "last.ckpt"):
        content = torch.load(run / name, weights_only=True)  # noqa: TID251 (our own resume file)
        for key in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers"):
            yield from leaves(content[key], f"{name}:{key}")


def leaves(tree: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 (anything)
    """The values of nested dictionaries and lists, by dotted name."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{name}.{key}")
    elif isinstance(tree, list | tuple):
        for i, value in enumerate(tree):
            yield from leaves(value, f"{name}.{i}")
    else:
        yield name, tree
