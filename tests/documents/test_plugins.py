"""A package of one's own in an environment of its own; classes in a file beside the YAML."""

import json
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tlzoo as package
from tlzoo import plugins
from tlzoo.errors import UserError

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "docs" / "plugin"

pytestmark = pytest.mark.documents


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of a fresh environment with the package; what tlzoo needs it sees in ours."""
    folder = tmp_path_factory.mktemp("plugin")
    venv.create(folder / "env", system_site_packages=True, symlinks=True)
    python = folder / "env" / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())
    ours = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (own / "ours.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in ours))
    source = shutil.copytree(PACKAGE, folder / "source")
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, *install, source],
        check=True,
        env=environment(folder),
    )
    return python


@pytest.fixture(scope="module")
def here(python):
    """A folder with the configuration and a run that was trained with it."""
    folder = python.parents[2] / "work"
    folder.mkdir()
    shutil.copy(PACKAGE / "filternet.yaml", folder)
    fit = ["fit", "--config", "filternet.yaml", "--run_dir", "runs/filternet", "--trainer.max_epochs", "1"]
    assert "run directory" in called(python, folder, "-m", "tlzoo", *fit)
    return folder


def environment(folder):
    return os.environ | {"TLZOO_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}


def called(python, folder, *arguments):
    done = subprocess.run(
        [python, *arguments], cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_page_shows_the_package():
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    files = sorted(path for path in PACKAGE.iterdir() if path.is_file())
    assert len(files) == 4
    for path in files:
        assert f"\n{path.read_text(encoding='utf-8')}```\n" in page, (
            f"{path.name} is not as the page shows it"
        )
    assert len((PACKAGE / "tlzoo_filternet.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_a_model_of_a_package_is_stored_and_loaded(here, python, few):
    card = json.loads((here / "runs/filternet/model.json").read_text())
    assert card["spec"]["backbone"] == {
        "class_path": "tlzoo_filternet.FilterNet",
        "init_args": {"dim": 32, "depth": 2, "cutoff": 6.0},
        "package": {"name": "tlzoo-filternet", "version": "0.1.0"},
    }
    code = f"""
import sys
import numpy as np, pandas as pd
import tlzoo
from tlzoo.commands import predict
from tlzoo.data import named

model = tlzoo.load("runs/filternet")
assert type(model.backbone).__name__ == "FilterNet"
crystals = named.load("semiconductors")
assert tlzoo.embed("runs/filternet", crystals.select(np.arange(3)), layer="filter.0").shape == (3, 32)
sys.exit(predict.main(["runs/filternet", {str(few)!r}, "-o", "out.csv"]))
"""
    called(python, here, "-c", code)
    found = pd.read_csv(here / "out.csv").set_index("id")["band_gap"]
    recorded = pd.read_csv(here / "runs/filternet/predictions.csv").set_index("id")["prediction"]
    both = found.index.intersection(recorded.index)
    assert len(both) > 12
    np.testing.assert_allclose(found[both], recorded[both], rtol=1e-5, atol=1e-6)


def test_without_the_package_the_model_is_refused(here, tlzoo, few, tmp_path):
    wanted = (
        "the model needs the package tlzoo-filternet (version 0.1.0), which is not installed: "
        "pip install tlzoo-filternet"
    )
    with pytest.raises(UserError) as error:
        package.load(here / "runs/filternet")
    assert str(error.value).startswith(wanted)
    answer = tlzoo("predict", here / "runs/filternet", few, "-o", tmp_path / "out.csv")
    assert answer.code == 2
    assert answer.err.startswith(f"tlzoo: {wanted}")
    assert not (tmp_path / "out.csv").exists()


def test_the_tests_of_the_package(python):
    shown = called(python, python.parents[2] / "source", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert " passed" in shown


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
    assert "docs/plugins.md" in answer.err
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


def test_a_module_beside_a_run_is_not_looked_for(beside, tlzoo, tmp_path):
    run, path = tmp_path / "run", beside({"model.freezing": {"class_path": "lab_net.Without"}})
    assert tlzoo("fit", "--config", path, "--run_dir", run).code == 0
    sys.modules.pop("lab_net")
    (run / "lab_net.py").write_text("raise SystemExit('run because it lay there')")
    answer = tlzoo("test", run)
    assert answer.code == 2
    assert "lab_net" in answer.err


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
