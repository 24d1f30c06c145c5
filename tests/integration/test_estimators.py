"""Estimators of scikit-learn: its own checks, its tools, storage; training and results as functions."""

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from pymatgen.io.ase import AseAtomsAdaptor
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tlzoo as package
from tests.integration.encoded_estimators import TINY, EncodedClassifier, EncodedEmbedding, EncodedRegressor
from tlzoo import CrystalEmbedding, TransferClassifier, TransferRegressor
from tlzoo.data import named
from tlzoo.errors import UserError
from tlzoo.training.run import Run

pytestmark = pytest.mark.usefixtures("cache", "few_kernels")

DRAW = Run.draw  # which these tests do without
SHORT = {"backbone": TINY, "epochs": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors")[:24]


@pytest.fixture(scope="module")
def structures(crystals):
    return list(crystals)


@pytest.fixture(scope="module")
def gaps(crystals):
    return crystals.column("band_gap")


@pytest.fixture(scope="module")
def fitted(structures, gaps):
    return TransferRegressor(**SHORT).fit(structures, gaps)


# scikit-learn checks nothing of estimators whose X is no table of numbers: these make crystals of one
@parametrize_with_checks(
    [EncodedEmbedding("cgcnn-fe", "embedding")],
    expected_failed_checks=lambda _: {
        "check_methods_subset_invariance": "seven digits: in single precision a sum depends on the batch"
    },
)
def test_a_transformer_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
# scikit-learn casts NaN itself, and skips what asks for another array library
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@parametrize_with_checks(
    [
        EncodedRegressor(backbone=TINY, epochs=1, patience=None),
        EncodedClassifier(backbone=TINY, epochs=1, patience=None),
    ]
)
def test_networks_pass_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", [TransferRegressor(), TransferClassifier(), CrystalEmbedding()])
def test_parameters_are_kept_as_they_came_and_tags_say_what_x_is(estimator):
    given = estimator.get_params()
    assert clone(estimator).get_params() == given
    assert given["from_"] == "momentnet-u"
    assert estimator.set_params(from_="cgcnn-fe").get_params() == {**given, "from_": "cgcnn-fe"}
    tags = estimator.__sklearn_tags__().input_tags
    assert (tags.one_d_array, tags.two_d_array, tags.string) == (True, False, True)


def test_a_regression_is_fine_tuned_and_says_the_same_again(fitted, structures, gaps):
    said = fitted.predict(structures)
    assert said.shape == (24,)
    assert said.dtype == np.float64
    np.testing.assert_array_equal(TransferRegressor(**SHORT).fit(structures, gaps).predict(structures), said)
    other = TransferRegressor(**SHORT, random_state=1).fit(structures, gaps).predict(structures)
    assert not np.allclose(other, said)
    assert len(fitted.history_) == 2
    assert fitted.embed(structures[:2]).shape == (2, 4)
    assert set(fitted.model_.trust(structures)["trust"]) <= {"in training", "like training"}


def test_it_starts_from_what_a_model_has_learned(structures, gaps):
    one = TransferRegressor("cgcnn-fe", strategy="new-head", epochs=1, pooling="mean").fit(structures, gaps)
    trained = package.load("cgcnn-fe").backbone.state_dict()
    kept = one.model_.backbone.state_dict()
    assert all(np.array_equal(kept[name], value) for name, value in trained.items() if "conv" in name)


@pytest.mark.parametrize("kind", ["atoms", "array", "series", "frame", "column", "files", "crystals"])
def test_x_is_what_holds_a_structure_a_row(kind, fitted, crystals, structures, tmp_path):
    some = structures[:3]
    if kind == "files":
        for row, structure in enumerate(some):
            structure.to(filename=str(tmp_path / f"{row}.cif"))
    array = np.empty(3, dtype=object)
    array[:] = some
    given = {
        "atoms": lambda: [AseAtomsAdaptor.get_atoms(one) for one in some],
        "array": lambda: array,
        "series": lambda: pd.Series(some, index=[7, 7, 9]),
        "frame": lambda: pd.DataFrame({"anything": some}),
        "column": lambda: array[:, None],
        "files": lambda: [str(tmp_path / f"{row}.cif") for row in range(3)],
        "crystals": lambda: crystals[:3],
    }[kind]()
    np.testing.assert_allclose(fitted.predict(given), fitted.predict(some), rtol=1e-5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("semiconductors", r"X is 'semiconductors'; wanted structures: .* tlzoo\.read\('semiconductors'\)"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "X has 2 columns; wanted structures"),
        (np.zeros((2, 3)), r"of a value of type ndarray of ndarray \(number 1 of 2\)"),
        (["nowhere.cif"], "structure 1: 'nowhere.cif' is no file"),
    ],
)
def test_what_is_no_structure_is_told(data, message, fitted):
    with pytest.raises(UserError, match=message):
        fitted.predict(data)


@pytest.mark.parametrize(
    ("options", "rows", "message"),
    [
        ({}, 2, "wanted 3 crystals or more, .* got n_samples = 2"),
        ({"validation": 0}, 24, "validation must be above 0"),
        ({"validation": "half"}, 24, "validation must be above 0: it chooses the epoch, got 'half'"),
        ({"learning_rate": -1}, 24, "learning_rate must be a number above 0, got -1"),
        ({"learning_rate": "fast"}, 24, "learning_rate must be a number above 0, got 'fast'"),
        ({"pooling": "maen"}, 24, "there is no pooling 'maen'; there are: mean, .*did you mean 'mean'"),
        ({"epochs": 0}, 24, "epochs must be a whole number, 1 or more, got 0"),
        ({"backbone": None, "from_": None}, 24, "name the model to start from as from_"),
        ({"strategy": "halves", "backbone": None}, 24, "there is no strategy 'halves'"),
    ],
)
def test_what_cannot_be_trained_is_told(options, rows, message, structures, gaps):
    with pytest.raises(UserError, match=message):
        TransferRegressor(**{**SHORT, **options}).fit(structures[:rows], gaps[:rows])


def test_crystals_of_which_all_are_equal_are_divided_all_the_same(structures):
    one = TransferRegressor(**SHORT).fit([structures[0]] * 8, np.arange(8.0))
    assert one.model_.card["split"].startswith("7 train, 1 val")


def test_training_stops_early_and_keeps_the_best_epoch(structures, gaps):
    options = {**SHORT, "epochs": 40, "patience": 2, "learning_rate": 0.3}
    course = TransferRegressor(**options).fit(structures, gaps).history_["val/mae"]
    assert len(course) < 40
    assert course.idxmin() == len(course) - 3


def test_cross_validation_grid_search_and_pipelines(structures, gaps):
    from tlzoo.transfer.features.frozen import FrozenFeatures

    pipeline = make_pipeline(CrystalEmbedding("cgcnn-fe"), StandardScaler(), Ridge())
    scores = cross_val_score(pipeline, structures, gaps, cv=3, scoring="neg_mean_absolute_error")
    states = make_pipeline(FrozenFeatures("cgcnn-fe", "states"), StandardScaler(), Ridge())
    expected = cross_val_score(states, structures, gaps, cv=3, scoring="neg_mean_absolute_error")
    np.testing.assert_allclose(scores, expected)
    found = GridSearchCV(TransferRegressor(**SHORT), {"learning_rate": [1e-4, 1e-2]}, cv=2)
    found.fit(structures, gaps)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    assert found.best_estimator_.predict(structures[:2]).shape == (2,)


@pytest.mark.slow
def test_grid_search_with_processes(structures, gaps):
    """What workers fit is sent there and back pickled; the scores are those of one process."""
    grid = {"learning_rate": [1e-4, 1e-2]}
    one, two = (
        GridSearchCV(TransferRegressor(**SHORT), grid, cv=2, n_jobs=jobs).fit(structures, gaps)
        for jobs in (None, 2)
    )
    name = "mean_test_score"
    np.testing.assert_allclose(one.cv_results_[name], two.cv_results_[name], rtol=1e-5)


def test_structures_beside_columns_of_numbers(structures, gaps):
    table = pd.DataFrame({"structure": structures, "pressure": np.arange(24.0), "gap": gaps})
    embedding = CrystalEmbedding("cgcnn-fe", "embedding")
    columns = ColumnTransformer([("crystal", embedding, "structure"), ("rest", "passthrough", ["pressure"])])
    columns.set_output(transform="pandas")
    found = columns.fit_transform(table)
    assert list(found.columns[[0, -1]]) == ["crystal__embedding.0", "rest__pressure"]
    wanted = package.embed("cgcnn-fe", structures)
    np.testing.assert_allclose(found.to_numpy()[:, :-1], wanted, rtol=1e-5)
    model = make_pipeline(columns, Ridge()).fit(table, table["gap"])
    assert model.predict(table).shape == (24,)


@pytest.mark.parametrize(
    ("of", "default"), [("momentnet-u", "states+teacher"), ("cgcnn-fe", "states"), ("descriptors", "both")]
)
def test_an_embedding_reads_by_default_what_few_labels_are_best_served_by(of, default, structures):
    one, other = CrystalEmbedding(of), CrystalEmbedding(of, default)
    np.testing.assert_array_equal(one.fit_transform(structures), other.fit_transform(structures))
    assert list(one.get_feature_names_out()) == list(other.get_feature_names_out())


def test_labels_of_a_column_keep_their_name(structures, gaps):
    table = pd.DataFrame({"structure": structures, "gap": gaps})
    one = TransferRegressor(**SHORT).fit(table["structure"], table["gap"])
    assert one.model_.card["targets"] == ["gap"]


@pytest.mark.parametrize("names", [["metal", "wide"], ["metal", "narrow", "wide"], [3, 5]])
def test_classes_have_any_labels(names, structures, gaps):
    labels = np.array(names)[np.digitize(gaps, np.quantile(gaps, np.linspace(0, 1, len(names) + 1)[1:-1]))]
    one = TransferClassifier(**SHORT).fit(structures, labels)
    assert one.classes_.tolist() == sorted(names)
    probability = one.predict_proba(structures)
    assert probability.shape == (24, len(names))
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert (one.predict(structures) == one.classes_[probability.argmax(axis=1)]).all()
    # the network knows numbers alone
    told = ", ".join(f"{number} for {name!r}" for number, name in enumerate(sorted(names)))
    assert f"24 crystals, given to TransferClassifier, of class {told}: " in repr(one.model_)
    with pytest.raises(UserError, match="two classes or more, got one class"):
        TransferClassifier(**SHORT).fit(structures, [names[0]] * 24)


def test_estimators_are_stored_as_data(fitted, structures, gaps, tmp_path):
    classes = TransferClassifier(**SHORT).fit(structures, np.where(gaps > 2, "wide", "narrow"))
    for number, one in enumerate([fitted, classes, CrystalEmbedding("momentnet-u").fit([])]):
        folder = one.save(tmp_path / str(number))
        assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".csv", ".teacher"}
        joblib.dump(one, tmp_path / "pickled")
        for other in (package.load(folder), package.load(str(folder)), joblib.load(tmp_path / "pickled")):
            assert other.get_params() == one.get_params()
            answer = "transform" if hasattr(one, "transform") else "predict"
            said, again = (getattr(each, answer)(structures) for each in (one, other))
            np.testing.assert_array_equal(again, said)
    assert package.load(tmp_path / "1").classes_.tolist() == ["narrow", "wide"]
    pd.testing.assert_frame_equal(package.load(tmp_path / "0").history_, fitted.history_)


def test_a_stored_estimator_is_a_model_for_the_commands(fitted, crystals, structures, tlzoo, tmp_path):
    fitted.save(tmp_path / "kept")
    crystals.write_parquet(tmp_path / "some.parquet")
    answer = tlzoo("predict", tmp_path / "kept", tmp_path / "some.parquet", "-o", tmp_path / "said.csv")
    assert answer.code == 0, answer.err
    said = pd.read_csv(tmp_path / "said.csv")
    np.testing.assert_allclose(said["target"], fitted.predict(structures), rtol=1e-5)
    assert set(said["trust"]) <= {"in training", "like training"}
    options = {"on": tmp_path / "some.parquet", "targets": ["band_gap"], "unit": "eV"}
    measured = package.test(tmp_path / "kept", **options, output=tmp_path / "measured")
    assert measured["test"]["crystals"] == 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": "Forest"}, "there is no estimator 'Forest'; there are: TransferRegressor"),
        ({"format": 9}, "has format 9, this tlzoo reads 1: upgrade tlzoo"),
        ({"parameters": {"trees": 3}}, r"estimator\.json is damaged .*'trees'.*: save the estimator again"),
        ({"parameters": 3}, r"estimator\.json is damaged \(parameters is 3\)"),
    ],
)
def test_a_damaged_estimator_is_told(change, message, fitted, tmp_path):
    folder = fitted.save(tmp_path / "kept")
    path = folder / "estimator.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        package.load(folder)


@pytest.mark.parametrize("nothing", [None, 3, ["cgcnn-bg"]])
def test_what_names_no_model_is_told(nothing, structures, gaps):
    with pytest.raises(UserError, match=r"wanted the name of a checkpoint .* type (NoneType|int|list)$"):
        package.load(nothing)
    message = "wanted the name of a checkpoint"
    if nothing is not None:  # which asks TransferRegressor to train a new network
        with pytest.raises(UserError, match=message):
            TransferRegressor(nothing).fit(structures, gaps)
    with pytest.raises(UserError, match=message):
        CrystalEmbedding(nothing).fit(structures)
    with pytest.raises(UserError, match=message):
        package.finetune("semiconductors", from_=[3] if isinstance(nothing, list) else nothing)


def test_an_estimator_is_not_written_over_something_else(fitted, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else; choose another folder"):
        fitted.save(tmp_path)
    again = fitted.save(fitted.save(tmp_path / "kept"))
    assert package.load(again).get_params() == fitted.get_params()


def test_fit_takes_plain_arguments_and_gives_what_it_found(crystals, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = package.fit(crystals, "band_gap", backbone=TINY, epochs=2, validation=4, test=4, quiet=True)
    assert Path("runs/latest").resolve() == found.run_dir.resolve()
    assert found.metrics.index.tolist() == ["train", "val"]
    assert found.metrics.attrs["units"] == {"band_gap": "eV"}
    assert found.metrics.loc["val", "crystals"] == 4
    assert len(found.history) == 2
    measured = found.test()
    assert {"train", "val", "test", "random forest"} <= set(measured.index)
    assert set(found.predictions["part"]) == {"train", "val", "test"}
    said = found.model.predict(crystals).set_index("id")["band_gap"]
    rows = found.predictions.set_index("id")
    np.testing.assert_allclose(said[rows.index], rows["prediction"], rtol=1e-4, atol=1e-5)
    assert len(repr(found).splitlines()) == 5
    assert package.load(found).card == found.model.card
    assert package.test(found)["test"]["mae"] == pytest.approx(measured.loc["test", "mae"])


def test_fit_reads_a_path_once_and_goes_on_as_the_command_would(few, tmp_path, monkeypatch, tlzoo):
    options = {"backbone": TINY, "epochs": 1, "unit": None, "quiet": True, "run_dir": tmp_path / "run"}
    found = package.fit(few, "band_gap", **options)
    again = package.fit(str(few), ["band_gap"], **options)
    assert again.metrics.equals(found.metrics)
    assert tlzoo("test", tmp_path / "run").code == 0
    assert "test" in found.metrics.index


def test_fit_learns_classes_where_labels_are_0_and_1(crystals, tmp_path):
    from dataclasses import replace

    table = replace(crystals, columns={"wide": (crystals.column("band_gap") > 2).astype(float)})
    found = package.fit(table, backbone=TINY, epochs=1, patience=1, run_dir=tmp_path / "run", quiet=True)
    assert "accuracy" in found.metrics
    assert list(found.model.predict(crystals[:2]).columns) == ["id", "wide_probability"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "Halves"}, "there is no split 'Halves'; there are: Random, ByComposition"),
        ({"unit": "eV"}, "unit eV needs the name of the target"),
        ({"data": "semiconductors"}, "data goes with an experiment"),
        ({"target": "gap"}, "there is no column 'gap'"),
        ({"target": "band_gap", "patience": 0}, "patience must be a whole number"),
        ({"target": 3}, "target must be the name of a column or a list of names, got 3"),
        ({"target": ["band_gap", 3]}, "target must be the name of a column or a list of names"),
        (
            {"target": "band_gap", "test": "few"},
            "test must be a fraction from 0 to 1 .* got 'few'",
        ),
        ({"target": "band_gap", "seed": "x"}, "seed must be a whole number, got 'x'"),
        ({"target": "band_gap", "pooling": "maen"}, "there is no pooling 'maen'"),
        ({"target": "band_gap", "learning_rate": 0}, "learning_rate must be a number above 0"),
    ],
)
def test_wrong_arguments_of_fit_are_told(arguments, message, crystals, tmp_path):
    with pytest.raises(UserError, match=message):
        package.fit(crystals, **arguments, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_experiment_says_itself_what_is_learned(tmp_path):
    with pytest.raises(UserError, match="an experiment says itself what is learned"):
        package.fit({"model": {}}, "band_gap", run_dir=tmp_path / "run")


def test_finetune_gives_what_it_found(crystals, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    structures = list(crystals)  # their properties are the labels
    found = package.finetune(
        structures, "band_gap", unit="eV", from_="cgcnn-fe", epochs=1, poolings="mean", rates=1e-3
    )
    assert Path("runs/finetune").resolve() == found.run_dir.resolve()
    assert found.gain == found.verdict.gain
    assert {"transfer", "scratch", "random forest"} <= set(found.metrics.index)
    row = found.metrics.loc[found.metrics.attrs["answers"], "mae"]
    said = found.predictions
    assert (said["known"] - said["band_gap"]).abs().mean() == pytest.approx(row, rel=1e-4)
    assert found.metrics.attrs["unit"] == "eV"
    assert len(repr(found).splitlines()) == 4
    assert found.plot().path.read_bytes().startswith(b"\x89PNG")
    assert "data:image/png" in found._repr_html_()
    assert package.load(found).predict(structures[0]).columns[1] == "band_gap"
    assert len(repr(found.model).splitlines()) == 5


def test_a_regression_on_frozen_features_answers_as_other_models_do(few, structures, tlzoo, tmp_path):
    names = ("--target", "band_gap", "--from", "cgcnn-fe", "--layer", "embedding", "--estimator", "ridge")
    answer = tlzoo("features", few, *names, "--save", tmp_path / "kept", "-o", tmp_path / "out")
    assert answer.code == 0, answer.err
    model = package.load(tmp_path / "kept")
    assert repr(model).splitlines()[:3] == [
        str(tmp_path / "kept"),
        "  predicts  band_gap (eV)",
        "  network   ridge on frozen cgcnn-fe (embedding)",
    ]
    assert repr(model).endswith("of crystals left out")
    several = model.predict(structures)["band_gap"]
    assert model.predict(structures[1])["band_gap"][0] == pytest.approx(several[1], rel=1e-4)
    assert model.embed(structures[1]).shape == (1, model.known.shape[1])
    trust = model.trust(structures)
    assert list(trust.columns) == ["id", "trust", "unseen_elements", "distance"]
    assert set(trust["trust"]) == {"like training"}


def test_results_draw_themselves(crystals, tmp_path, monkeypatch):
    options = {"backbone": TINY, "epochs": 2, "run_dir": tmp_path / "run", "quiet": True}
    found = package.fit(crystals, "band_gap", **options)
    monkeypatch.setattr(Run, "draw", DRAW)
    for kind, name in ((None, "parity"), ("parity", "parity"), ("learning-curve", "learning-curve")):
        picture = found.plot(kind)
        assert Path(picture) == picture.path == tmp_path / f"run/{name}.png"
        assert picture._repr_png_().startswith(b"\x89PNG")
    assert all(text in found._repr_html_() for text in ("<table", "<img", "validation crystals"))
    with pytest.raises(UserError, match="there is no picture 'roc'; there are: learning-curve, parity"):
        found.plot("roc")
