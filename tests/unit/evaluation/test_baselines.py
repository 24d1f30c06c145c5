"""Trivial baselines: compositions only, fitted on training only, equal to a plain reference."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from tlzoo.crystals import SYMBOLS, Crystals
from tlzoo.data.splits import PaperTrial, Split
from tlzoo.errors import UserError
from tlzoo.evaluation import baselines as module
from tlzoo.evaluation.baselines import (
    PROPERTIES,
    STATISTICS,
    baselines,
    composition_features,
    errors,
    random_forest,
    ridge,
)
from tlzoo.nn.elements import properties


def crystals(*formulas):
    """Crystals of the given lists of symbols, atoms anywhere."""
    sizes = [len(symbols) for symbols in formulas]
    return Crystals(
        ids=np.array([str(i) for i in range(len(formulas))], dtype=object),
        lattice=np.tile(np.eye(3), (len(formulas), 1, 1)),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        numbers=np.array([SYMBOLS.index(s) for symbols in formulas for s in symbols], dtype=np.uint8),
        frac_coords=np.zeros((sum(sizes), 3)),
    )


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(module, "TREES", 20)


@pytest.fixture
def binaries():
    """200 binary compounds with a property that is linear in their fractions, and a split of them."""
    rng = np.random.default_rng(0)
    table = crystals(
        *(
            [SYMBOLS[a]] * rng.integers(1, 4) + [SYMBOLS[b]] * rng.integers(1, 4)
            for a, b in rng.integers(3, 60, (200, 2))
        )
    )
    mean_z = np.array([n.mean() for n in np.split(table.numbers.astype(float), table.offsets[1:-1])])
    return table, 10.0 + 0.5 * mean_z, Split(np.arange(140), np.arange(140, 170), np.arange(170, 200))


def test_features_are_fractions_and_statistics_over_atoms():
    features = composition_features(crystals(["Ti", "O", "O"], ["Na"]))
    elements = len(properties())
    assert features.shape == (2, elements + len(PROPERTIES) * len(STATISTICS))
    assert features[0, SYMBOLS.index("O") - 1] == pytest.approx(2 / 3)
    assert features[:, :elements].sum(axis=1) == pytest.approx([1, 1])
    for i, name in enumerate(PROPERTIES):
        ti, o, na = (float(properties()[SYMBOLS.index(s)][name]) for s in ("Ti", "O", "Na"))
        atoms = np.array([ti, o, o])
        block = features[:, elements + 5 * i : elements + 5 * i + 5]
        wanted = [atoms.mean(), atoms.std(), atoms.min(), atoms.max(), atoms.max() - atoms.min()]
        np.testing.assert_allclose(block[0], wanted, rtol=1e-9)
        np.testing.assert_allclose(block[1], [na, 0, na, na, 0], rtol=1e-9, atol=1e-9)


def test_a_property_nobody_measured_is_left_out_or_missing():
    assert properties()[SYMBOLS.index("He")]["electronegativity"] == ""
    features = composition_features(crystals(["He", "Na"], ["He"]))
    start = len(properties()) + 5 * PROPERTIES.index("electronegativity")
    np.testing.assert_allclose(features[0, start : start + 5], [0.93, 0, 0.93, 0.93, 0], atol=1e-9)
    assert np.isnan(features[1, start : start + 5]).all()
    assert np.isfinite(np.delete(features[1], np.arange(start, start + 5))).all()


def test_supercells_have_the_features_of_their_cell():
    cell, supercell = composition_features(crystals(["Ti", "O", "O"], ["O", "Ti", "O", "O", "Ti", "O"]))
    np.testing.assert_allclose(cell, supercell, rtol=1e-12)


def test_an_element_without_properties_is_named():
    with pytest.raises(UserError, match="ends at Z = 103, but a crystal contains Z = 118"):
        composition_features(crystals(["Og"]))


def test_a_linear_property_is_learned(binaries):
    table, y, split = binaries
    result = baselines(table, y, split)
    assert list(result) == ["mean", "median", "ridge", "random forest"]
    assert all(set(parts) == {"val", "test"} for parts in result.values())
    assert result["ridge"]["test"]["r2"] > 0.99
    assert result["random forest"]["test"]["mae"] < 0.5 * result["mean"]["test"]["mae"]
    assert result["mean"]["test"]["mae"] == pytest.approx(np.abs(y[170:] - y[:140].mean()).mean())
    assert result["median"]["val"]["mae"] == pytest.approx(np.abs(y[140:170] - np.median(y[:140])).mean())


def test_only_training_labels_are_fitted(binaries):
    table, y, split = binaries
    features = composition_features(table)
    changed = y.copy()
    changed[140:] = 1e6
    for predict in (ridge, random_forest):
        before = predict(features, y, split.train, split.test)
        np.testing.assert_array_equal(before, predict(features, changed, split.train, split.test))


def test_the_seed_decides_the_forest(binaries):
    table, y, split = binaries
    forests = [baselines(table, y, split, seed=s)["random forest"]["test"]["mae"] for s in (0, 0, 1)]
    assert forests[0] == forests[1] != forests[2]


def test_what_was_asked_last_is_not_computed_again(binaries, monkeypatch):
    table, y, split = binaries
    fitted, forest = [], module.random_forest
    monkeypatch.setattr(
        module, "random_forest", lambda *given, **more: fitted.append(1) or forest(*given, **more)
    )
    first = baselines(table, y, split)
    assert baselines(table, y.copy(), split) == first
    assert len(fitted) == 1
    y[0] += 1.0
    assert baselines(table, y, split) != first
    other = Split(split.train, split.test, split.val)
    assert baselines(table, y, other)["mean"]["val"] == baselines(table, y, split)["mean"]["test"]
    assert len(fitted) == 4


def test_unknown_targets_and_empty_parts_are_passed_over(binaries):
    table, y, split = binaries
    y[:10] = np.nan
    y[140:150] = np.nan
    result = baselines(table, y.astype(np.float32), split)
    assert result["mean"]["val"]["mae"] == pytest.approx(
        np.abs(y[150:170] - y[10:140].mean()).mean(), rel=1e-5
    )
    y[140:170] = np.nan
    assert set(baselines(table, y, split)["mean"]) == {"test"}
    y[170:] = np.nan
    assert baselines(table, y, split) == {}
    with pytest.raises(UserError, match="no target of the training part is known"):
        baselines(table, np.full(200, np.nan), split)


def test_a_property_unknown_in_training_is_no_trouble():
    table = crystals(["He"], ["He"], ["Ne"], ["Na", "Cl"], ["K", "Cl"])
    result = baselines(table, np.arange(5.0), Split([0, 1, 2], [3], [4]))
    assert all(np.isfinite(parts["test"]["mae"]) for parts in result.values())


def test_a_large_training_part_gets_a_smaller_forest(binaries, monkeypatch):
    table, y, split = binaries
    features = composition_features(table)
    monkeypatch.setattr(module, "TREES", 3)
    three = random_forest(features, y, split.train, split.test)
    monkeypatch.setattr(module, "MANY", 139)
    one = random_forest(features, y, split.train, split.test)
    assert len(set(one)) < len(set(three))
    assert np.isin(one, y[split.train]).mean() > 0.5


def test_errors_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    y, p = rng.normal(size=50), rng.normal(size=50)
    got = errors(y, p)
    assert got["mae"] == pytest.approx(mean_absolute_error(y, p))
    assert got["rmse"] == pytest.approx(root_mean_squared_error(y, p))
    assert got["r2"] == pytest.approx(r2_score(y, p))
    assert np.isnan(errors(y[:1], p[:1])["r2"])


def test_two_classes(binaries):
    table, y, split = binaries
    labels = np.where(np.arange(200) == 3, np.nan, y > np.quantile(y, 0.3))
    result = baselines(table, labels, split, classification=True)
    assert result["majority"]["test"]["accuracy"] == pytest.approx(labels[170:].mean())
    assert result["majority"]["test"]["auroc"] == 0.5
    forest = result["random forest"]["test"]
    assert forest["auroc"] > 0.9
    assert forest["accuracy"] > result["majority"]["test"]["accuracy"]


def test_several_classes_of_which_one_is_missing_in_training(binaries):
    table, y, split = binaries
    labels = np.digitize(y, np.quantile(y, [0.4, 0.8])).astype(float)
    assert baselines(table, labels, split, classification=True)["random forest"]["test"]["auroc"] > 0.8
    labels[:140] = np.minimum(labels[:140], 1)
    result = baselines(table, labels, split, classification=True)
    assert 0 < result["random forest"]["test"]["f1"] < 1
    labels[:] = 0
    alone = baselines(table, labels, split, classification=True)["majority"]["val"]
    assert alone["accuracy"] == 1
    assert np.isnan(alone["auroc"])


def test_compositions_say_much_of_phonons(data_dir):
    table = Crystals.read_parquet(data_dir / "phonons.parquet")
    split = PaperTrial(path=str(data_dir / "splits/devi2024.json")).split(table)
    result = baselines(table, table.column("last_phdos_peak"), split)
    assert result["mean"]["test"]["mae"] == pytest.approx(410.6, abs=0.1)
    assert 95 < result["random forest"]["test"]["mae"] < 125
