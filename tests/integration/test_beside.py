"""Classes in a file beside the YAML, and commands that need no plug-ins."""

import json
import sys

import pytest

from tlzoo import plugins

NET = """
from dataclasses import dataclass

from tlzoo.backbones import CGCNN
from tlzoo.data.splits import Random
from tlzoo.freezing import Freezing

class MyNet(CGCNN):
    def __init__(self, *, dim: int = 8):
        super().__init__(dim=dim, depth=1)

class Secret(CGCNN):
    def __init__(self, *, width: int = 8):
        super().__init__(dim=width, depth=1)

@dataclass(frozen=True)
class Without(Freezing):
    group: str = "embed"

    def trainable(self, groups, epoch):
        return set(groups) - {self.group}

@dataclass(frozen=True)
class Mine(Random):
    pass
"""


@pytest.fixture
def beside(config, tmp_path, monkeypatch):
    """A configuration with a module of its own beside it."""
    (tmp_path / "lab_net.py").write_text(NET)
    yield config
    sys.modules.pop("lab_net", None)


def test_a_strategy_and_a_splitter_beside_the_yaml(beside, tlzoo, tmp_path, few):
    split = {"class_path": "lab_net.Mine", "init_args": {"val": 4, "test": 4}}
    path = beside({"model.freezing": {"class_path": "lab_net.Without"}, "data.split": split})
    run = tmp_path / "run"
    answer = tlzoo("fit", "--config", path, "--run_dir", run)
    assert answer.code == 0, answer.err
    assert json.loads((run / "split.json").read_text())["splitter"]["class_path"] == "lab_net.Mine"
    sys.modules.pop("lab_net")
    assert tlzoo("predict", run, few, "-o", tmp_path / "out.csv").code == 0
    assert str(tmp_path) not in sys.path


def test_a_network_beside_the_yaml_is_refused_before_it_trains(beside, tlzoo, tmp_path):
    run = tmp_path / "run"
    answer = tlzoo(
        "fit", "--config", beside({"model.backbone": {"class_path": "lab_net.MyNet"}}), "--run_dir", run
    )
    assert answer.code == 2
    assert answer.err.startswith(
        "tlzoo: lab_net.MyNet cannot be stored: only classes of tlzoo and of registered"
    )
    assert "docs/how-to/plugins.md" in answer.err
    assert "--model.export false" in answer.err
    assert not run.exists()


def test_a_network_beside_the_yaml_trains_without_a_model_file(beside, tlzoo, tmp_path, monkeypatch):
    run, path = tmp_path / "run", beside({"model.backbone": {"class_path": "lab_net.MyNet"}})
    command = ("fit", "--config", path, "--run_dir", run, "--model.export", "false")
    assert tlzoo(*command).code == 0
    assert {"best.ckpt", "last.ckpt", "metrics.json", "predictions.csv"} <= {p.name for p in run.iterdir()}
    assert not list(run.glob("model.*"))
    assert tlzoo(*command).code == 0, "a finished run is shown again"
    monkeypatch.syspath_prepend(tmp_path)
    assert tlzoo("test", run).code == 0
    assert "test" in json.loads((run / "metrics.json").read_text())
    assert not list(run.glob("model.*"))


def test_arguments_that_are_not_kept_are_refused_before_it_trains(beside, tlzoo, tmp_path):
    path = beside({"model.backbone": {"class_path": "lab_net.Secret"}, "model.export": False})
    answer = tlzoo("fit", "--config", path, "--run_dir", tmp_path / "run")
    assert answer.code == 2
    assert (
        "Secret does not keep its argument 'width' as attribute 'width'; a model is stored as" in answer.err
    )
    assert not (tmp_path / "run").exists()


def test_a_strategy_and_a_splitter_are_not_needed_to_measure(beside, tlzoo, tmp_path):
    split = {"class_path": "lab_net.Mine", "init_args": {"val": 4, "test": 4}}
    run, path = (
        tmp_path / "run",
        beside({"model.freezing": {"class_path": "lab_net.Without"}, "data.split": split}),
    )
    assert tlzoo("fit", "--config", path, "--run_dir", run).code == 0
    sys.modules.pop("lab_net")
    (run / "lab_net.py").write_text("raise SystemExit('run because it lay there')")
    answer = tlzoo("test", run)
    assert answer.code == 0, answer.err
    assert "lab_net" not in sys.modules


def test_a_network_beside_a_run_is_built_where_that_is_asked(beside, tlzoo, tmp_path, monkeypatch):
    run, path = tmp_path / "run", beside({"model.backbone": {"class_path": "lab_net.MyNet"}})
    assert tlzoo("fit", "--config", path, "--run_dir", run, "--model.export", "false").code == 0
    sys.modules.pop("lab_net")
    (run / "lab_net.py").write_text("raise SystemExit('run because it lay there')")
    answer = tlzoo("test", run)
    assert answer.code == 2
    assert answer.err.startswith(
        "tlzoo: 'lab_net.MyNet' is no class of tlzoo; for safety nothing else is built"
    )
    assert f"If {run} is your own, or you trust who made it, --trust builds all" in answer.err
    assert "lab_net" not in sys.modules
    # the configuration that a user types is the user's own
    assert tlzoo("test", "--config", path, "--run_dir", run, "--model.export", "false").code == 0
    sys.modules.pop("lab_net")
    (run / "lab_net.py").write_text(NET)
    answer = tlzoo("test", run, "--trust")
    assert answer.code == 0, answer.err
    assert sys.modules.pop("lab_net").__file__ == str(run / "lab_net.py")


def test_resume_of_a_run_that_knew_no_export(config, tlzoo, tmp_path):
    run, path = tmp_path / "run", config()
    assert tlzoo("fit", "--config", path, "--run_dir", run).code == 0
    text = (run / "config.yaml").read_text()
    assert "  export: true\n" in text
    (run / "config.yaml").write_text(text.replace("  export: true\n", ""))
    assert tlzoo("fit", "--config", path, "--run_dir", run).code == 0


def test_no_command_looks_for_plugins_but_those_that_need_them(tlzoo, tmp_path, few, monkeypatch):
    def refuse(**_):
        raise AssertionError("looked for plug-ins")

    plugins.registered.cache_clear()
    monkeypatch.setattr("importlib.metadata.entry_points", refuse)
    assert tlzoo("predict", "cgcnn-fe", few, "-o", tmp_path / "out.csv").code == 0
    plugins.registered.cache_clear()
