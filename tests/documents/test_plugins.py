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
    page = (ROOT / "docs" / "how-to" / "plugins.md").read_text(encoding="utf-8")
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
    assert wanted in str(error.value)
    answer = tlzoo("predict", here / "runs/filternet", few, "-o", tmp_path / "out.csv")
    assert answer.code == 2
    assert answer.err.startswith("tlzoo: ")
    assert wanted in answer.err
    assert not (tmp_path / "out.csv").exists()


def test_the_tests_of_the_package(python):
    shown = called(python, python.parents[2] / "source", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert " passed" in shown
