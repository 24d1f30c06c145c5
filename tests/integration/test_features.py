"""`tlzoo embed` and `tlzoo features`, from a trained model to files."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import tlzoo as package
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.evaluation.baselines import errors
from tlzoo.transfer.features import load
from tlzoo.transfer.features.layers import Descriptors

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def run(tlzoo, few, tmp_path_factory):
    """A network of two epochs on the first 24 crystals."""
    folder = tmp_path_factory.mktemp("features")
    tree = {
        "model": {
            "backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}},
            "head": {"class_path": "Regression", "init_args": {"hidden": [6]}},
        },
        "data": {"source": str(few), "targets": ["band_gap"], "batch_size": 8},
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
    }
    (folder / "fit.yaml").write_text(json.dumps(tree))
    answer = tlzoo("fit", "--config", folder / "fit.yaml", "--run_dir", folder / "run")
    assert answer.code == 0, answer.err
    return folder / "run"


def test_an_embedding_is_what_the_head_reads(run, few, tlzoo, tmp_path):
    """A regression reads more by default, but whoever asks for no layer gets what they always got."""
    for place in (run, f"{run}+descriptors"):
        assert tlzoo("embed", place, few, "-o", tmp_path / "out.parquet").code == 0
        table = pd.read_parquet(tmp_path / "out.parquet").set_index("id")
        wanted = package.embed(run, Crystals.read_parquet(few))
        assert table.columns[0].endswith("embedding.0")
        assert table.shape[1] == wanted.shape[1] + (352 if place != run else 0)
        np.testing.assert_allclose(table.to_numpy()[:, : wanted.shape[1]], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", ["embed", "conv.0", "states", "embedding", "head.hidden.0"])
def test_embed_writes_what_python_gives(run, few, tlzoo, tmp_path, layer):
    answer = tlzoo("embed", run, few, "--layer", layer, "-o", tmp_path / "out.parquet")
    assert answer.code == 0, answer.err
    table = pd.read_parquet(tmp_path / "out.parquet").set_index("id")
    wanted = package.embed(run, Crystals.read_parquet(few), layer=layer)
    assert answer.out == f"24 crystals, {wanted.shape[1]} numbers each → {tmp_path / 'out.parquet'}\n"
    assert list(table.columns) == [f"{layer}.{i}" for i in range(wanted.shape[1])]
    np.testing.assert_allclose(table.to_numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_descriptors_come_with_their_names(few, tlzoo, tmp_path):
    assert tlzoo("embed", "descriptors", few, "-o", tmp_path / "out.csv").code == 0
    table = pd.read_csv(tmp_path / "out.csv").set_index("id")
    assert table.shape == (24, 352)
    crystals = Crystals.read_parquet(few)
    volume = np.abs(np.linalg.det(crystals.lattice)) / crystals.num_atoms
    np.testing.assert_allclose(table["volume_per_atom"], volume, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["{run}", "{few}", "--layer", "conv.3", "-o", "x.csv"],
            "there is no layer 'conv.3'; there are: embed, conv.0, states, embedding, head.hidden.0",
        ),
        (
            ["descriptors", "{few}", "--layer", "conv.3", "-o", "x.csv"],
            "there is no layer 'conv.3'; there are: composition, structure, both",
        ),
        (["{run}", "{few}", "-o", "x.txt"], "the output x.txt must end in .csv or .parquet"),
        (["{run}", "nowhere", "-o", "x.csv"], "nowhere does not exist"),
        (["nix", "{few}", "-o", "x.csv"], "nix is no model"),
    ],
)
def test_mistakes_of_embed(run, few, tlzoo, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = tlzoo("embed", *(str(part).format(run=run, few=few) for part in arguments))
    assert answer.code == 2
    assert answer.err.startswith("tlzoo: ")
    assert message in answer.err
    assert not list(tmp_path.iterdir())


def features(tlzoo, out, *arguments):
    answer = tlzoo("features", *arguments, "-o", out)
    assert answer.code == 0, answer.err
    content = json.loads(out.with_suffix(".json").read_text())
    return answer.out, content, pd.read_parquet(out.with_suffix(".parquet"))


def test_features_of_a_model_and_descriptors(run, tlzoo, few, tmp_path):
    said, content, table = features(
        tlzoo,
        tmp_path / "gap",
        *(few, "--target", "band_gap", "--from", f"{run},descriptors", "--cv", "3-fold", "--repeats", 2),
    )
    names = [str(run), "descriptors", "any of these", "mean of these", "stack of these"]
    assert [row["features"] for row in content["results"]] == names
    assert said.splitlines()[0].endswith("3-fold, 2 times:")
    # the figures are those of the predictions, each crystal once a repeat
    for row in content["results"]:
        mine = table[table["features"] == row["features"]]
        assert mine.groupby("repeat")["id"].nunique().tolist() == [24, 24]
        each = [errors(part["target"], part["prediction"])["mae"] for _, part in mine.groupby("repeat")]
        assert row["figures"]["unit"]["mae"] == pytest.approx(np.mean(each))
        assert sum(row["layers"].values()) == 6
    wide = table.pivot(index=["repeat", "id"], columns="features", values="prediction")
    np.testing.assert_allclose(wide["mean of these"], wide[names[:2]].mean(axis=1))
    for _, part in table.groupby(["features", "repeat", "composition"]):
        assert part["fold"].nunique() == 1
    # the run has learned from most of these crystals, and the report says so
    learned = len(json.loads((run / "split.json").read_text())["train"])
    assert f"WARNING: {run} has learned from {learned + 2} of these 24 crystals" in said


def test_the_same_again_and_another_seed(tlzoo, few, tmp_path):
    arguments = (
        few,
        "--target",
        "band_gap",
        "--cv",
        "3-fold",
        "--layer",
        "structure",
        "--estimator",
        "ridge",
    )
    tables = [
        features(tlzoo, tmp_path / str(i), *arguments, "--seed", seed)[2] for i, seed in enumerate((0, 0, 1))
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])


def test_logarithms_and_groups(tlzoo, few, tmp_path):
    _, content, table = features(
        tlzoo,
        tmp_path / "ln",
        *(
            few,
            "--target",
            "band_gap",
            "--log",
            "--group",
            "composition,none",
            "--layer",
            "composition",
            "--cv",
            "4-fold",
        ),
    )
    assert [row["group"] for row in content["results"]] == ["composition", "none"]
    assert (table["prediction"] > 0).all()
    first = table[table["group"] == "composition"]
    ln = errors(np.log(first["target"]), np.log(first["prediction"]))
    assert content["results"][0]["figures"]["ln"]["r2"] == pytest.approx(ln["r2"])
    assert content["unit"] == "eV"


def test_a_learning_curve_and_a_model_to_keep(run, tlzoo, few, tmp_path):
    arguments = (few, "--target", "band_gap", "--from", f"{run}+descriptors,descriptors", "--cv", "3-fold")
    said, content, table = features(
        tlzoo, tmp_path / "gap", *arguments, "--curve", "12,6", "--save", tmp_path / "kept"
    )
    assert [row["crystals"] for row in content["results"]] == [6] * 5 + [12] * 5 + [None] * 5
    assert table["crystals"].isna().sum() == len(table) / 3
    assert said.splitlines()[-1] == f"fitted to all 24 crystals: {tmp_path / 'kept'}"
    kept = load(tmp_path / "kept")
    assert kept.card["judged"]["features"] == "stack of these"
    answers = kept.predict(Crystals.read_parquet(few))
    # the descriptors know these crystals: they were fitted to them
    truth = Crystals.read_parquet(few).columns["band_gap"]
    assert errors(truth, answers["band_gap"])["mae"] < content["results"][-1]["figures"]["unit"]["mae"]


def test_two_tables_and_what_intervals_hold(tlzoo, few, tmp_path):
    crystals = Crystals.read_parquet(few)
    other = named.load("semiconductors").select(np.arange(20, 60))
    other = replace(other, columns={"Eg": other.columns["band_gap"] + 0.1}, units={"Eg": "eV"})
    other.write_parquet(tmp_path / "other.parquet")
    arguments = (few, tmp_path / "other.parquet", "--target", "band_gap,Eg", "--layer", "structure")
    kept = ("--cv", "4-fold", "--save", tmp_path / "kept", "--coverage")
    said, content, table = features(tlzoo, tmp_path / "gap", *arguments, *kept)
    lines = said.splitlines()
    assert lines[0].startswith(
        f"4 of 40 crystals of {tmp_path / 'other.parquet'} are in an earlier table, which"
    )
    assert "Eg differs by 0.1 (median)" in lines[0]
    assert f"band_gap of {few} + {tmp_path / 'other.parquet'}, 60 crystals" in lines[1]
    assert lines[-2].startswith("of crystals left out lie in intervals for 68%: ")
    assert [part["crystals"] for part in content["tables"]] == [24, 36]
    assert table["source"].value_counts().to_dict() == {str(few): 24, str(tmp_path / "other.parquet"): 36}
    model = load(tmp_path / "kept")
    assert [part["target"] for part in model.card["tables"]] == ["band_gap", "Eg"]
    assert model.card["calibration"]["coverage"]["calibrated"]["0.9"] > 0.75
    # what is screened with it knows both tables
    pool = tmp_path / "pool.parquet"
    named.load("semiconductors").select(np.arange(0, 90, 3)).write_parquet(pool)
    answer = tlzoo("screen", tmp_path / "kept", pool, "-o", tmp_path / "ranked.parquet", "--jobs", 1)
    assert answer.code == 0, answer.err
    ranked = pd.read_parquet(tmp_path / "ranked.parquet").set_index("id")
    assert ranked.loc[crystals.ids[0], "in_training"]
    assert ranked.loc[other.ids[-3], "in_training"]
    assert "calibrated on 60 crystals left out in turn; of others" in (tmp_path / "ranked.html").read_text()


def test_learning_starts_from_a_column(tlzoo, few, tmp_path):
    """The density from the volume per atom, which alone says it to within the mean mass of the atoms."""
    crystals = named.load("semiconductors").select(np.arange(0, 200, 3))
    table = Descriptors().activations(crystals, ["structure"])["structure"]
    names = Descriptors().columns("structure")
    density = table[:, names.index("density")].astype(float)
    near = 60 / table[:, names.index("volume_per_atom")].astype(float)
    columns = {"density": density, "light": near}
    replace(crystals, columns=columns, units=dict.fromkeys(columns, "g/cm3")).write_parquet(
        tmp_path / "mine.parquet"
    )
    arguments = (tmp_path / "mine.parquet", "--target", "density", "--layer", "composition", "--cv", "4-fold")
    given = ("--estimator", "kernel-ridge")
    errors = {}
    for base in ((), ("--base", "light")):
        _, content, _ = features(
            tlzoo, tmp_path / "out", *arguments, *given, *base, "--save", tmp_path / "kept"
        )
        errors[base] = content["results"][0]["figures"]["unit"]["mae"]
    assert errors["--base", "light"] < 0.8 * errors[()]
    answer = tlzoo("predict", tmp_path / "kept", tmp_path / "mine.parquet", "-o", tmp_path / "answers.csv")
    assert answer.code == 0, answer.err
    assert pd.read_csv(tmp_path / "answers.csv")["density_std"].gt(0).all()
    answer = tlzoo("predict", tmp_path / "kept", few, "-o", tmp_path / "answers.csv")
    assert (answer.code, "there is no column 'light'" in answer.err) == (2, True)
    answer = tlzoo("screen", tmp_path / "kept", "semiconductors", "-o", tmp_path / "ranked.parquet")
    assert (answer.code, "predicts from the column light, which is not read" in answer.err) == (2, True)


@pytest.fixture(scope="module")
def kept(run, tlzoo, few, tmp_path_factory):
    """A regression on a layer of the network and one on descriptors, which need graphs and descriptors."""
    folder = tmp_path_factory.mktemp("kept")
    arguments = ("--target", "band_gap", "--log", "--from", f"{run},descriptors", "--cv", "3-fold")
    answer = tlzoo("features", few, *arguments, "-o", folder / "gap", "--save", folder / "kept")
    assert answer.code == 0, answer.err
    return folder / "kept"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_predict_takes_what_was_kept(kept, few, tlzoo, tmp_path, suffix):
    out = tmp_path / f"out.{suffix}"
    answer = tlzoo("predict", kept, few, "semiconductors", "-o", out)
    assert answer.code == 0, answer.err
    assert answer.out == f"227 crystals: band_gap in eV → {out}\n"
    table = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    model = load(kept)
    wanted = [
        model.predict(crystals) for crystals in (Crystals.read_parquet(few), named.load("semiconductors"))
    ]
    wanted = pd.concat(wanted, ignore_index=True)
    assert list(table.columns) == [*wanted.columns, "trust", "unseen_elements", "distance"]
    pd.testing.assert_frame_equal(table[list(wanted.columns)], wanted)
    assert set(table["trust"]) <= {"like training", "far from training", "unknown elements"}
    assert (table["distance"][:24] <= model.domain.limit).mean() > 0.9, "it has learned from these"


def test_predict_by_what_was_kept_names_what_cannot_be(kept, few, tlzoo, tmp_path):
    pool = Crystals.read_parquet(few)
    pool.lattice[3] *= 30
    pool.numbers[pool.offsets[5]] = 118
    pool.write_parquet(tmp_path / "pool.parquet")
    answer = tlzoo("predict", kept, tmp_path / "pool.parquet", "-o", tmp_path / "out.csv")
    assert answer.code == 2
    assert answer.err.startswith("tlzoo: 2 crystals cannot be predicted:\n")
    assert "pool.parquet, row 4: " in answer.err
    assert "pool.parquet, row 6: the model has no features for Og" in answer.err
    assert not (tmp_path / "out.csv").exists()
    answer = tlzoo("predict", kept, tmp_path / "pool.parquet", "-o", tmp_path / "out.csv", "--skip-bad")
    assert answer.code == 0, answer.err
    assert pd.read_csv(tmp_path / "out.csv")["id"].tolist() == np.delete(pool.ids, [3, 5]).tolist()


def test_mistakes_of_predict_by_what_was_kept(kept, few, tlzoo, tmp_path):
    def refused(*arguments):
        answer = tlzoo("predict", *arguments, few, "-o", tmp_path / "out.csv")
        assert (answer.code, answer.out) == (2, "")
        assert not (tmp_path / "out.csv").exists()
        return answer.err

    assert "is a regression on frozen features, which knows no --max-rows" in refused("--max-rows", 9, kept)
    assert "--batch-size must be at least 1, got 0" in refused("--batch-size", 0, kept)
    damaged = tmp_path / "damaged"
    shutil.copytree(kept, damaged)
    (damaged / "features.safetensors").write_bytes(b"")
    assert "features.safetensors is damaged or was changed: save it again" in refused(damaged)
    card = json.loads((kept / "features.json").read_text())
    shutil.copy(kept / "features.safetensors", damaged)
    for wrong in ({"target": []}, {"unit": {}}, {"elements": 5}, {"calibration": None}, {"parts": []}):
        (damaged / "features.json").write_text(json.dumps({**card, **wrong}))
        assert f"{damaged} is damaged (" in refused(damaged), wrong
    (damaged / "features.json").unlink()
    assert str(damaged) in refused(damaged)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--coverage"], "--coverage is of the intervals of what --save FOLDER keeps"),
        (["--curve", "24"], "a learning curve over 24 crystals goes from 5 to 23, got 24"),
        (
            ["--estimator", "forest", "--save", "kept"],
            "one estimator can be saved, of bayesian-ridge, ridge, kernel-ridge, svr, kernel, gp; got forest",
        ),
        (["--target", "nix"], "there is no column 'nix'"),
        (["--base", "nix"], "there is no column 'nix'"),
        (
            ["--base", "band_gap", "--importance"],
            "--importance is that of descriptors alone: leave out --base",
        ),
        (["--from", ""], "name at least one source of features"),
        (["--from", "descriptors+"], "a source of features has no name: give one before and after each +"),
        (["--from", "phonon:chgnet"], "there is no kind of physics 'phonon'; there are: phonons, elastic"),
        (
            ["--from", "{run}", "--layer", "conv.3"],
            "there is no layer 'conv.3'; there are: embed, conv.0, states, emb",
        ),
        (
            ["--estimator", "svm"],
            "there is no estimator 'svm'; there are: bayesian-ridge, ridge, kernel-ridge, ",
        ),
        (["--cv", "none"], "cv is leave-one-out, or 5-fold with any number from 2, got 'none'"),
        (["--group", "element"], "crystals are grouped by composition or none, got 'element'"),
        (["--repeats", "0"], "repeats must be at least 1, got 0"),
        (["--log"], "is -1, which has no logarithm (1 of 24 are not positive); leave out --log"),
    ],
)
def test_mistakes_of_features(run, few, tlzoo, arguments, message, tmp_path):
    crystals = Crystals.read_parquet(few)
    if "--log" in arguments:
        crystals.columns["band_gap"][4] = -1
    crystals.write_parquet(tmp_path / "mine.parquet")
    target = [] if "--target" in arguments else ["--target", "band_gap"]
    given = [*target, *(part.format(run=run) for part in arguments)]
    answer = tlzoo("features", tmp_path / "mine.parquet", *given, "-o", tmp_path / "out")
    assert answer.code == 2
    assert message in answer.err
    assert not list(tmp_path.glob("out*"))


def test_a_target_that_is_hardly_known(tlzoo, few, tmp_path):
    crystals = Crystals.read_parquet(few)
    crystals.columns["band_gap"][2:] = np.nan
    crystals.write_parquet(tmp_path / "mine.parquet")
    answer = tlzoo("features", tmp_path / "mine.parquet", "--target", "band_gap", "-o", tmp_path / "out")
    assert answer.code == 2
    assert "band_gap has 2 known value(s)" in answer.err


def test_the_published_figure_on_real_data(data_dir, tlzoo, tmp_path):
    """45 conductivities, 290 raw descriptors, Bayesian ridge, leave-one-out: published R² 0.853, MAE 0.528.

    The element data differ in part, and two of the 45 are polymorphs of others.
    """
    assert named.known("ju2021_sps_kappa")
    arguments = ("ju2021_sps_kappa", "--target", "kappa", "--log", "--layer", "composition")
    _, content, _ = features(tlzoo, tmp_path / "ju", *arguments, "--group", "none,composition")
    plain, grouped = (row["figures"]["ln"] for row in content["results"])
    assert plain["r2"] == pytest.approx(0.853, abs=0.02)
    assert plain["mae"] == pytest.approx(0.528, abs=0.03)
    assert grouped["mae"] > plain["mae"]
