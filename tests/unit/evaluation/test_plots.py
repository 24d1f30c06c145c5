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


def test_parity_names_what_is_far_off_and_shows_errors_below(tmp_path, axes):
    target = np.arange(20.0)
    prediction = target + np.where(target == 7, -9, 0.5)
    parts = {"train": (target, target + 30), "test": (target, prediction)}
    ids = {part: [f"a$_{i}" for i in range(20)] for part in parts}
    plots.parity(tmp_path / "parity.png", parts, name="gap", unit="eV", ids=ids)
    assert [text.get_text() for text in axes[0].texts] == [r"a\$_7"]
    assert axes[0].texts[0].xy == (7.0, -2.0)
    _, errors = axes[0].figure.axes
    assert errors.get_ylabel() == "error (eV)"
    np.testing.assert_allclose(
        errors.collections[1].get_offsets(), np.stack([target, prediction - target], 1)
    )
    assert errors.get_xlim() == axes[0].get_xlim()


def test_calibration_is_the_diagonal_for_a_normal_distribution(tmp_path, axes):
    """And below it where the standard deviations are half of what the errors are."""
    truth, doubt = np.zeros(4000), np.ones(4000)
    said = np.random.default_rng(1).normal(size=4000)
    parts = {
        "val": (truth, said, doubt),
        "test": (truth, said, doubt / 2),
        "none": (truth * np.nan, said, doubt),
    }
    plots.calibration(tmp_path / "calibration.png", parts, name="gap")
    assert legend(axes[0]) == ["as it should be", "validation (n = 4,000)", "test (n = 4,000)"]
    _, good, narrow = axes[0].lines
    np.testing.assert_allclose(good.get_xdata(), good.get_ydata(), atol=0.03)
    promised = np.searchsorted(narrow.get_xdata(), 0.683)
    assert narrow.get_ydata()[promised] == pytest.approx(0.383, abs=0.02)
    with pytest.raises(UserError, match="no value of gap with an interval is known in any part"):
        plots.calibration(tmp_path / "none.png", {"none": parts["none"]}, name="gap")


def test_reliability_counts_what_is_right_in_groups(tmp_path, axes):
    said = np.repeat([0.1, 0.9], 50)
    truth = np.r_[np.arange(50) < 5, np.arange(50) < 45].astype(float)
    two = {"test": (truth, np.stack([1 - said, said], axis=1))}
    plots.reliability(tmp_path / "two.png", two, name="metal")
    line = axes[0].lines[1]
    np.testing.assert_allclose(np.sort(line.get_xdata()), np.repeat([0.1, 0.9], 5))
    assert line.get_ydata().mean() == pytest.approx(0.5)
    three = {"test": (np.array([0.0, 1.0, 2.0]), np.array([[0.8, 0.1, 0.1]] * 3))}
    plots.reliability(tmp_path / "three.png", three, name="phase")
    # of fewer than ten crystals a group says nothing
    np.testing.assert_allclose(axes[1].lines[1].get_xydata(), [[0.8, 1 / 3]])
    low, high = axes[1].collections[0].get_segments()[0][:, 1]
    # Wilson's interval: where the share would be one standard error away
    for end in (low, high):
        assert abs(end - 1 / 3) == pytest.approx((end * (1 - end) / 3) ** 0.5)


def test_an_embedding_map_shows_two_components(tmp_path, axes):
    """Of what lies on a line in many dimensions the second one is nothing."""
    labels = np.r_[np.linspace(0, 1, 30), np.nan]
    line = np.outer(np.r_[np.linspace(0, 1, 30), 2.0], [1.0, -2.0, 3.0, 0.0])
    plots.embedding_map(tmp_path / "map.png", line, labels, name="band_gap", unit="eV")
    unknown, known = axes[0].collections
    spots = known.get_offsets()
    assert abs(np.corrcoef(spots[:, 0], labels[:-1])[0, 1]) == pytest.approx(1)
    np.testing.assert_allclose(spots[:, 1], 0, atol=1e-9)
    assert len(unknown.get_offsets()) == 1
    assert axes[0].get_xlabel() == "first principal component (100% of the variance)"
    parts = ["test", "train", "val"] * 10 + ["test"]
    plots.embedding_map(tmp_path / "parts.png", line, labels, name="gap", unit="eV", parts=parts)
    drawn = [len(each.get_offsets()) for each in axes[1].collections]
    assert drawn == [1, 10, 10, 10]
    told = [text.get_text() for text in axes[1].figure.legends[0].get_texts()]
    assert told == ["training (n = 10)", "validation (n = 10)", "test (n = 11)"]
    kinds = np.r_[np.arange(30) % 3, np.nan]
    plots.embedding_map(tmp_path / "kinds.png", line, kinds, name="phase", unit="1", classes=True)
    told = [text.get_text() for text in axes[2].figure.legends[0].get_texts()]
    assert told == ["phase 0", "phase 1", "phase 2"]
    assert len(np.unique(axes[2].collections[1].get_facecolors(), axis=0)) == 3
    plots.embedding_map(tmp_path / "single.png", line[:, :1], labels, name="gap", unit="eV")
    np.testing.assert_allclose(axes[3].collections[1].get_offsets()[:, 1], 0, atol=1e-9)
    with pytest.raises(UserError, match="got 2 crystals and 31 labels"):
        plots.embedding_map(tmp_path / "none.png", line[:2], labels, name="band_gap", unit="eV")


ATOMS = pd.DataFrame(
    {"id": "a$b", "atom": range(4), "element": ["Ti", "O", "O", "O"], "gap": [3.0, 1.0, 1.0, 2.0]}
)


def test_contributions_show_kinds_of_atoms_of_a_crystal(tmp_path, axes):
    plots.contributions(tmp_path / "one.png", ATOMS, name="gap", unit="eV")
    assert [text.get_text() for text in axes[0].get_yticklabels()] == [
        "O (atom 3)", "O (2 atoms: 1, 2)", "Ti (atom 0)",
    ]  # fmt: skip
    assert [bar.get_width() for bar in axes[0].patches] == [2, 1, 3]
    assert axes[0].get_title() == r"gap: contributions of the atoms of a\$b"
    (said,) = axes[0].figure.legends[0].get_texts()
    assert said.get_text() == "mean: the prediction, 1.75 eV"
    added = ATOMS.copy()
    added.attrs["pooling"] = "sum"
    plots.contributions(tmp_path / "added.png", added, name="gap", unit="eV")
    assert not axes[1].get_legend_handles_labels()[1]
    with pytest.raises(UserError, match="no contributions to k are known; the columns are id, atom"):
        plots.contributions(tmp_path / "none.png", ATOMS, name="k", unit="GPa")


def test_contributions_show_elements_of_many_crystals(tmp_path, axes):
    many = pd.concat([ATOMS, ATOMS.assign(id="c", gap=ATOMS["gap"] + 1)])
    plots.contributions(tmp_path / "many.png", many, name="gap", unit="eV")
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["O (6)", "Ti (2)"]
    atoms, medians = axes[0].collections
    assert len(atoms.get_offsets()) == 8
    np.testing.assert_allclose(medians.get_offsets(), [[2, 0], [3.5, 1]])
    assert axes[0].get_xlabel() == "contribution to gap (eV)"


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
    assert [text.get_text() for a in axes for text in a.texts] == []
    assert [a.get_xscale() for a in axes] == ["linear", "log", "linear"]
    assert axes[1].get_xlim() == axes[1].get_ylim()


def history(epochs=50):
    epoch = np.arange(epochs)
    val = 5 + 0.1 * np.abs(epoch - 30) + 1000 * (epoch == 0)
    return pd.DataFrame({"epoch": epoch, "train/mae": 4 + val / 10, "val/mae": val})


def test_the_learning_curve_marks_the_best_epoch(tmp_path, axes):
    plots.learning_curve(tmp_path / "curve.png", history(), metric="mae", unit="eV")
    assert legend(axes[0]) == ["training", "validation", "best: 5 eV in epoch 31"]
    assert axes[0].get_ylabel() == "MAE (eV)"
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), history()["train/mae"])
    assert imread(tmp_path / "curve.png").ndim == 3


def test_epochs_are_counted_from_1_also_of_older_runs(tmp_path, axes):
    plots.learning_curve(tmp_path / "older.png", history(3), metric="mae", unit="eV")
    newer = history(3).assign(epoch=[1, 2, 3])
    plots.learning_curve(tmp_path / "newer.png", newer, metric="mae", unit="eV")
    assert [a.lines[0].get_xdata().tolist() for a in axes] == [[1, 2, 3], [1, 2, 3]]


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
    assert legend(axes[1])[-1] == "best: 7.5 in epoch 6"
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
