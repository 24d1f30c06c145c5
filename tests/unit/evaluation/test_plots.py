"""Plots: what is drawn is what was given; no global state; nothing half-written."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from tlzoo.errors import UserError
from tlzoo.evaluation import plots

RNG = np.random.default_rng(0)
TARGET = RNG.uniform(1, 100, 40)
PARTS = {"train": (TARGET, TARGET + 1), "test": (TARGET[:9], TARGET[:9] - 4)}


@pytest.fixture
def axes(monkeypatch):
    """The axes of the figures that are saved."""
    saved = []
    save = plots._save
    monkeypatch.setattr(
        plots, "_save", lambda figure, path: (saved.append(figure.axes[0]), save(figure, path))
    )
    return saved


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_parity_shows_every_part_with_its_errors(tmp_path, axes):
    plots.parity(tmp_path / "plots" / "parity.png", PARTS, name="band_gap", unit="eV")
    assert legend(axes[0])[0].startswith("training: MAE 1 eV, R² 0.99")
    assert legend(axes[0])[1].startswith("test: MAE 4 eV, R² 0.9")
    assert legend(axes[0])[1].endswith("(n = 9)")
    assert axes[0].get_xlabel() == "known band gap (eV)"
    assert axes[0].get_xlim() == axes[0].get_ylim()
    np.testing.assert_allclose(axes[0].collections[1].get_offsets(), np.stack(PARTS["test"], axis=1))
    assert min(imread(tmp_path / "plots" / "parity.png").shape[:2]) > 800
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["parity.png"]


CLASSES = {
    "val": (np.array([0.0, 0.0, 1.0, np.nan]), np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]])),
    "test": (np.array([1.0, 1.0]), np.array([[0.3, 0.7], [0.6, 0.4]])),
}


def test_confusion_counts_each_class(tmp_path, axes):
    plots.confusion(tmp_path / "confusion.png", CLASSES, name="metal")
    validation, test = axes[0].figure.axes
    assert [text.get_text() for text in validation.texts] == ["1", "1", "0", "1"]
    assert [text.get_text() for text in test.texts] == ["0", "0", "1", "1"]
    assert validation.get_title() == "validation: balanced accuracy 0.750"
    assert test.get_title() == "test: balanced accuracy 0.500"
    assert (validation.get_xlabel(), validation.get_ylabel()) == ("predicted metal", "known metal")
    with pytest.raises(UserError, match="no class of metal is known"):
        plots.confusion(tmp_path / "none.png", {"test": (np.array([np.nan]), np.ones((1, 2)))}, name="metal")


def test_roc_of_two_and_of_three_classes(tmp_path, axes):
    plots.roc(tmp_path / "roc.png", CLASSES, name="metal")
    assert legend(axes[0]) == ["validation: area 1.000 (n = 3)", "test: one class alone"]
    three = np.eye(3)[[0, 1, 2, 0]]
    plots.roc(tmp_path / "three.png", {"test": (np.array([0.0, 1.0, 2.0, 2.0]), three)}, name="phase")
    assert legend(axes[1]) == [
        "test, class 0: area 0.833 (n = 4)",
        "test, class 1: area 1.000 (n = 4)",
        "test, class 2: area 0.750 (n = 4)",
    ]


def test_parity_leaves_out_what_is_unknown(tmp_path, axes):
    target = np.array([1.0, np.nan, 3.0])
    parts = {"val": (target, np.ones(3)), "test": (np.full(2, np.nan), np.ones(2)), "new": (target, target)}
    plots.parity(tmp_path / "parity.png", parts, name="n", unit="1")
    assert legend(axes[0]) == ["validation: MAE 1, R² -1.000 (n = 2)", "new: MAE 0, R² 1.000 (n = 2)"]
    assert axes[0].get_xlabel() == "known n"
    with pytest.raises(UserError, match="no value of n is known in any part"):
        plots.parity(tmp_path / "none.png", {"test": parts["test"]}, name="n", unit="")


def test_parity_of_one_crystal_has_no_r2(tmp_path, axes):
    plots.parity(tmp_path / "parity.png", {"test": (np.zeros(1), np.zeros(1))}, name="gap", unit="eV")
    assert legend(axes[0]) == ["test: MAE 0 eV (n = 1)"]
    assert axes[0].get_xlim()[0] < 0 < axes[0].get_xlim()[1]


def test_parity_can_show_uncertainty_and_orders_of_magnitude(tmp_path, axes):
    plots.parity(tmp_path / "a.png", PARTS, name="kappa", unit="W/(m K)", uncertainty={"test": np.ones(9)})
    assert len(axes[0].containers) == 1
    positive = {"test": (10 ** RNG.normal(size=30), 10 ** RNG.normal(size=30))}
    plots.parity(tmp_path / "b.png", positive, name="kappa", unit="W/(m K)", log=True)
    plots.parity(tmp_path / "c.png", {"test": (TARGET, -TARGET)}, name="kappa", unit="W/(m K)", log=True)
    assert [a.get_xscale() for a in axes] == ["linear", "log", "linear"]
    assert axes[1].get_xlim() == axes[1].get_ylim()


def history(epochs=50):
    epoch = np.arange(epochs)
    val = 5 + 0.1 * np.abs(epoch - 30) + 1000 * (epoch == 0)
    return pd.DataFrame({"epoch": epoch, "train/mae": 4 + val / 10, "val/mae": val})


def test_the_learning_curve_marks_the_best_epoch(tmp_path, axes):
    plots.learning_curve(tmp_path / "curve.png", history(), metric="mae", unit="eV")
    assert legend(axes[0]) == ["training", "validation", "best: 5 eV in epoch 30"]
    assert axes[0].get_ylabel() == "MAE (eV)"
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), history()["train/mae"])
    assert imread(tmp_path / "curve.png").ndim == 3


def test_a_first_bad_epoch_does_not_flatten_the_curve(tmp_path, axes):
    plots.learning_curve(tmp_path / "curve.png", history(), metric="mae", unit="eV")
    low, high = axes[0].get_ylim()
    assert high < 20
    assert low < 4.5


def test_a_curve_of_one_part_or_one_epoch_or_with_gaps(tmp_path, axes):
    plots.learning_curve(tmp_path / "a.png", history(1), metric="mae", unit="eV")
    gaps = history(6)
    gaps.loc[[0, 3], "val/mae"] = np.nan
    plots.learning_curve(tmp_path / "b.png", gaps, metric="mae", unit="1")
    assert legend(axes[1])[-1] == "best: 7.5 in epoch 5"
    plots.learning_curve(tmp_path / "c.png", history().drop(columns="val/mae"), metric="mae", unit="eV")
    assert legend(axes[2]) == ["training"]
    diverged = history().assign(**{"val/mae": np.inf})
    plots.learning_curve(tmp_path / "d.png", diverged, metric="mae", unit="eV")
    assert legend(axes[3]) == ["training", "validation"]


def test_a_history_without_the_metric_is_named(tmp_path):
    with pytest.raises(UserError, match="no numbers of 'rmse'; its columns: epoch, train/mae, val/mae"):
        plots.learning_curve(tmp_path / "curve.png", history(), metric="rmse", unit="eV")


def test_drawing_leaves_pyplot_alone(tmp_path):
    """A fresh process, because other tests may have loaded pyplot."""
    code = (
        "import sys, numpy as np; from tlzoo.evaluation import plots; "
        "part = {'test': (np.arange(3.0), np.ones(3))}; "
        f"plots.parity({str(tmp_path / 'a.png')!r}, part, name='y', unit='eV'); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
