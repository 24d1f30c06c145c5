"""`--folds K`: every crystal is left out once, and the models of all folds answer together."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

import tlzoo as package
from tlzoo.data import learned_from, named
from tlzoo.data.sources.parse import Document
from tlzoo.errors import UserError
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.model import cross_conformal
from tlzoo.server import oracle
from tlzoo.training import fitting
from tlzoo.training.run import Run

pytestmark = pytest.mark.usefixtures("few_kernels")

NETWORK = {
    "backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}},
    "head": {"class_path": "Regression", "init_args": {"hidden": [8]}},
}
POSCAR = "Si2\n1.0\n0 2.7 2.7\n2.7 0 2.7\n2.7 2.7 0\nSi\n2\nDirect\n0 0 0\n.25 .25 .25\n"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def tree(few):
    return {
        "model": NETWORK,
        "data": {"source": str(few), "targets": ["band_gap"], "batch_size": 8},
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
    }


@pytest.fixture(scope="module")
def fit(tlzoo, tree, work):
    def run(folder, *further, **sections):
        path = work / f"{folder.name}.yaml"
        path.write_text(yaml.safe_dump({**tree, **sections}))
        return tlzoo("fit", "--config", path, "--run-dir", folder, "--jobs", 1, *further)

    return run


@pytest.fixture(scope="module")
def done(fit, work):
    """Three folds and what the command said; not to be changed."""
    answer = fit(work / "done", "--folds", 3)
    assert answer.code == 0, answer.err
    return work / "done", answer


def test_every_crystal_is_left_out_once(done, few):
    folder, _ = done
    table = pd.read_csv(folder / "predictions.csv")
    ids = named.load("semiconductors").ids[:24]
    assert sorted(table["id"]) == sorted(ids)
    splits = [json.loads((folder / f"fold-{k}" / "split.json").read_text()) for k in (1, 2, 3)]
    for number, split in enumerate(splits, start=1):
        assert set(split["test"]) == set(table["id"][table["fold"] == number])
        assert not set(split["test"]) & {*split["train"], *split["val"]}
        assert len({*split["train"], *split["val"], *split["test"]}) == 24


def test_what_is_said_of_a_crystal_is_what_its_model_says(done):
    folder, _ = done
    table = pd.read_csv(folder / "predictions.csv").set_index("id")
    for number in (1, 2, 3):
        own = Run(folder / f"fold-{number}").predicted()
        own = own[own["part"] == "test"].set_index("id")
        # batches of other sizes are rounded otherwise
        np.testing.assert_allclose(table.loc[own.index, "prediction"], own["prediction"], rtol=1e-5)


def test_the_table_has_mean_and_deviation_over_the_folds(done):
    folder, answer = done
    each = [Run(folder / f"fold-{k}").metrics["test"]["mae"] for k in (1, 2, 3)]
    row = next(line for line in answer.out.splitlines() if line.startswith("left out  "))
    assert row.split()[2:5] == [f"{np.mean(each):.4g}", "±", f"{np.std(each, ddof=1):.2g}"]
    assert answer.out.splitlines()[0].startswith("24 crystals of ")
    assert "in 3 folds of 8; of the others 2 validate and 14 train" in answer.out
    assert "next: tlzoo predict " in answer.out
    assert answer.err == ""


def test_all_models_answer_together(tlzoo, done, few, work):
    folder, _ = done
    assert tlzoo("predict", folder, few, "-o", work / "said.csv").code == 0
    said = pd.read_csv(work / "said.csv")
    columns = ["id", "band_gap", "band_gap_spread", "band_gap_q5", "band_gap_q95"]
    assert list(said.columns)[:5] == columns
    each = np.stack([package.load(folder / f"fold-{k}").predict(few)["band_gap"] for k in (1, 2, 3)])
    np.testing.assert_allclose(said["band_gap"], each.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(said["band_gap_spread"], each.std(axis=0, ddof=1), rtol=1e-3)
    record = cross_conformal.read(folder)
    low, high = record.intervals["band_gap"].ends([{"prediction": row} for row in each], 0.9)
    np.testing.assert_allclose(said["band_gap_q5"], np.minimum(low, said["band_gap"]), rtol=1e-5)
    np.testing.assert_allclose(said["band_gap_q95"], np.maximum(high, said["band_gap"]), rtol=1e-5)
    assert (said["trust"] == "in training").all(), "each crystal was in the training of some of them"


def test_batches_are_made_once_for_all_models(done, few, monkeypatch):
    folder, _ = done
    batch, made = GraphStore.batch, []
    monkeypatch.setattr(GraphStore, "batch", lambda store, rows: made.append(len(rows)) or batch(store, rows))
    package.load(folder / "fold-1").predict(few)
    alone = list(made)
    made.clear()
    package.load(folder).predict(few)
    assert made == alone
    assert sum(made) == 24


def test_the_same_command_trains_nothing_again(fit, done, monkeypatch):
    folder, answer = done
    monkeypatch.setattr(fitting, "fit_together", lambda *_, **__: pytest.fail("it was finished"))
    again = fit(folder, "--folds", 3)
    assert again.code == 0, again.err
    assert again.out.splitlines()[-8:] == answer.out.splitlines()[-8:]


def assert_the_same(folder, other):
    """To rounding: networks that are trained together are computed with other sizes."""
    ours, theirs = (pd.read_csv(each / "predictions.csv") for each in (folder, other))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-4)
    records = [cross_conformal.read(each).intervals["band_gap"] for each in (folder, other)]
    for one, another in zip(*(record.scores for record in records), strict=True):
        np.testing.assert_allclose(one, another, rtol=1e-3, atol=1e-4)


def test_a_stopped_one_goes_on_to_the_same(fit, done, work, monkeypatch):
    """Stopped after the first fold and one epoch of the others, then run again."""
    folder = work / "stopped"
    epochs = []

    def stopping(trainings, *, told, **more):
        def tell(number):
            epochs.append(trainings[number].config.run.path.name)
            if epochs.count("fold-2") == 2:
                raise KeyboardInterrupt
            told(number)

        return original(trainings, told=tell, **more)

    original = fitting.fit_together
    monkeypatch.setattr(fitting, "fit_together", stopping)
    answer = fit(folder, "--folds", 3)
    assert answer.code == 2
    assert epochs.count("fold-3") >= 1, "all are one training"
    assert answer.err.startswith(f"tlzoo: stopped. All finished epochs are in {folder}")
    assert not (folder / cross_conformal.FILE).exists()
    monkeypatch.setattr(fitting, "fit_together", original)
    assert fit(folder, "--folds", 3).code == 0
    assert_the_same(folder, done[0])


def test_folds_side_by_side_are_the_same(tlzoo, done, work):
    """In processes of their own."""
    folder = work / "beside"
    answer = tlzoo("fit", "--config", work / "done.yaml", "--run-dir", folder, "--folds=3", "--jobs=2")
    assert answer.code == 0, answer.err
    assert_the_same(folder, done[0])


def test_folds_alone_are_the_same(fit, done, work, monkeypatch):
    """Networks of no shape are trained one by one."""
    monkeypatch.setattr(fitting, "shape", lambda *_: None)
    monkeypatch.setattr(fitting, "_bundled", lambda *_: pytest.fail("as one"))
    folder = work / "alone"
    assert fit(folder, "--folds", 3).code == 0
    assert_the_same(folder, done[0])


def test_a_test_part_is_in_no_fold(fit, work):
    split = {"class_path": "ByComposition", "init_args": {"test": 6, "val": 2}}
    answer = fit(work / "kept", "--folds", 2, "--data.split", json.dumps(split))
    assert answer.code == 0, answer.err
    assert "the 6 of the test part are in no fold" in answer.out
    inside = pd.read_csv(work / "kept" / "predictions.csv")
    tested = pd.read_csv(work / "kept" / "test-predictions.csv")
    assert (len(inside), len(tested)) == (18, 6)
    assert not set(inside["id"]) & set(tested["id"])
    found = cross_conformal.read(work / "kept").facts
    assert found["test"]["mae"] == pytest.approx((tested["target"] - tested["prediction"]).abs().mean())
    held, number = found["held"]["band_gap"]["test"]
    answers = package.load(work / "kept").predict(named.load("semiconductors")).set_index("id")
    some = answers.loc[tested["id"]]
    truth = tested["target"].to_numpy()
    assert held == ((some["band_gap_q5"] <= truth) & (truth <= some["band_gap_q95"])).sum()
    assert number == 6


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("Gaussian", ["band_gap", "band_gap_std", "band_gap_spread", "band_gap_q5", "band_gap_q95"]),
        ("Quantile", ["band_gap", "band_gap_q5", "band_gap_q95", "band_gap_spread"]),
    ],
)
def test_heads_that_state_more(fit, few, work, name, columns):
    answer = fit(work / name, "--folds", 2, model={**NETWORK, "head": {"class_path": name}})
    assert answer.code == 0, answer.err
    said = package.load(work / name).predict(few)
    assert list(said.columns)[1:] == columns
    assert (said["band_gap_q5"] <= said["band_gap"]).all()
    assert (said["band_gap"] <= said["band_gap_q95"]).all()
    each = [package.load(work / name / f"fold-{k}").predict(few) for k in (1, 2)]
    np.testing.assert_allclose(said["band_gap"], (each[0]["band_gap"] + each[1]["band_gap"]) / 2, rtol=1e-5)
    if name == "Gaussian":  # the variance of a mixture: within, and between
        within = np.mean([one["band_gap_std"] ** 2 for one in each], axis=0)
        between = np.var([one["band_gap"] for one in each], axis=0)
        np.testing.assert_allclose(said["band_gap_std"], np.sqrt(within + between), rtol=1e-4)


def test_several_properties_some_of_them_unknown(fit, tree, work):
    crystals = named.load("semiconductors").select(np.arange(24))
    gaps = crystals.column("band_gap")
    half = np.where(np.arange(24) % 2, gaps / 2, np.nan)
    replace(crystals, columns={"gap": gaps, "half": half}).write_parquet(work / "two.parquet")
    head = {"class_path": "MultiProperty", "init_args": {"targets": ["gap", "half"]}}
    data = {**tree["data"], "source": str(work / "two.parquet"), "targets": ["gap", "half"]}
    answer = fit(work / "two", "--folds", 2, model={**NETWORK, "head": head}, data=data)
    assert answer.code == 0, answer.err
    assert [line.split("  ")[0] for line in answer.out.splitlines() if line.startswith("left out")][:2] == [
        "left out, gap",
        "left out, half",
    ]
    record = cross_conformal.read(work / "two")
    assert {name: one.crystals for name, one in record.intervals.items()} == {"gap": 24, "half": 12}
    said = package.load(work / "two").predict(work / "two.parquet")
    ends = [f"{name}_{end}" for name in ("gap", "half") for end in ("q5", "q95")]
    assert list(said.columns)[1:] == ["gap", "half", "gap_spread", "half_spread", *ends]


def test_classes(tlzoo, fit, tree, work):
    crystals = named.load("semiconductors").select(np.arange(24))
    gaps = crystals.column("band_gap")
    wide = (gaps > np.median(gaps)).astype(float)
    replace(crystals, columns={"wide": wide}).write_parquet(work / "wide.parquet")
    data = {**tree["data"], "source": str(work / "wide.parquet"), "targets": ["wide"]}
    model = {**NETWORK, "head": {"class_path": "Classification"}}
    answer = fit(work / "classes", "--folds", 2, model=model, data=data)
    assert answer.code == 0, answer.err
    assert "accuracy" in answer.out
    said = package.load(work / "classes").predict(work / "wide.parquet")
    each = [package.load(work / "classes" / f"fold-{k}").predict(work / "wide.parquet") for k in (1, 2)]
    np.testing.assert_allclose(
        said["wide_probability"], np.mean([one["wide_probability"] for one in each], axis=0), rtol=1e-5
    )
    for model in (work / "classes", work / "classes" / "fold-1"):
        refused = tlzoo("screen", model, work / "wide.parquet", "-o", work / "no.parquet")
        assert refused.code == 2
        assert f"{model} predicts classes of wide, and candidates are ranked by a number" in refused.err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--folds", 1], "--folds must be a whole number from 2 to 50, got 1"),
        (["--folds", "many"], "--folds: a whole number is wanted, got 'many'"),
        (["--folds", 30], "30 folds need at least 30 different crystals with a known target"),
        (["--folds", 3, "--jobs", 0], "--jobs must be at least 1, got 0"),
        (["--jobs", 2], "--jobs is how many folds are trained at a time: it goes with --folds K"),
        (["--folds", 3, "--trainer.devices", 2], "leave trainer.devices out, got 2"),
        (["--folds", 3, "--ckpt-path", "last.ckpt"], "--folds goes on by itself"),
    ],
)
def test_what_cannot_be_is_refused(tlzoo, done, work, options, text):
    answer = tlzoo("fit", "--config", work / "done.yaml", "--run-dir", work / "refused", *options)
    assert answer.code == 2
    assert text in answer.err
    assert answer.err.count("\n") == 1
    assert not (work / "refused").exists()


def test_the_fold_that_diverges_is_named(fit, tree, work):
    rate = {"class_path": "SGD", "init_args": {"lr": 1e30}}
    answer = fit(work / "diverged", "--folds", 2, model={**tree["model"], "optimizer": rate})
    assert answer.code == 2
    assert f"{work / 'diverged' / 'fold-1'}: the training loss became " in answer.err


def test_folds_are_no_checkpoint(tlzoo, done, work):
    answer = tlzoo("zoo", "publish", done[0], "a", "--description", "A model.", "--folder", work / "shelf")
    assert answer.code == 2
    assert f"publish one of them, such as {done[0] / 'fold-1'}" in answer.err


def test_another_number_of_folds_is_another_directory(fit, done, work):
    answer = fit(done[0], "--folds", 2)
    assert answer.code == 2
    assert f"{done[0]} holds a run with other folds (3, wanted 2)" in answer.err


def test_folds_are_not_put_where_a_run_is(fit, done, tlzoo, work):
    answer = tlzoo("fit", "--config", work / "done.yaml", "--run-dir", done[0] / "fold-1", "--folds", 3)
    assert answer.code == 2
    assert "holds another run, without folds" in answer.err


def test_one_training_is_not_put_where_folds_are(tlzoo, done, few, work):
    before = {path.name: path.read_bytes() for path in done[0].iterdir() if path.is_file()}
    fitted = tlzoo("fit", "--config", work / "done.yaml", "--run-dir", done[0])
    compared = tlzoo("finetune", few, "--target", "band_gap", "--from", "cgcnn-fe", "--run-dir", done[0])
    for answer in (fitted, compared):
        assert answer.code == 2
        assert f"{done[0]} holds a run with folds; choose another --run-dir" in answer.err
    assert before == {path.name: path.read_bytes() for path in done[0].iterdir() if path.is_file()}


def test_atoms_are_asked_of_one_fold(tlzoo, done, few):
    answer = tlzoo("predict", done[0], few, "--per-atom")
    assert answer.code == 2
    assert f"--per-atom needs one of them: {done[0] / 'fold-1'}" in answer.err
    assert tlzoo("predict", done[0] / "fold-1", few, "--per-atom").code == 0


def test_commands_take_the_directory(tlzoo, done, few, work):
    folder, _ = done
    tested = tlzoo("test", folder)
    assert tested.code == 0
    assert "has folds, each measured when it was made: nothing was computed" in tested.out
    measured = tlzoo("test", folder, "--on", few, "-o", work / "on")
    assert measured.code == 0, measured.err
    assert "24 of 24 crystals were in training" in measured.out
    assert "90 % intervals of band_gap contain " in measured.out
    screened = tlzoo("screen", folder, few, "-o", work / "ranked.parquet")
    assert screened.code == 0, screened.err
    assert tlzoo("embed", folder, few, "-o", work / "embedded.parquet").code == 0
    ranked = pd.read_parquet(work / "ranked.parquet").set_index("id")
    said = package.load(folder).predict(few).set_index("id")
    np.testing.assert_allclose(ranked["band_gap"], said.loc[ranked.index, "band_gap"], rtol=1e-4)


def test_served_and_started_from(tlzoo, done, few, work):
    folder, _ = done
    assert [each["name"] for each in oracle.described(str(folder))["targets"]] == ["band_gap"]
    (crystal,) = oracle.answer([Document("POSCAR", POSCAR.encode())], [str(folder)])["crystals"]
    (work / "POSCAR").write_text(POSCAR)
    (said,) = package.load(folder).predict(work / "POSCAR").drop(columns="id").to_dict("records")
    assert crystal["predictions"][0]["answers"] == pytest.approx(said, rel=1e-4, abs=1e-5)
    options = ("--data.source", few, "--target", "band_gap", "--model.head", "Regression")
    cpu = ("--trainer.max_epochs", 1, "--trainer.accelerator", "cpu", "--run-dir", work / "started")
    started = tlzoo("fit", "--from", folder, *options, *cpu)
    assert started.code == 0, started.err
    (origin,) = json.loads((work / "started" / "model.json").read_text())["started_from"]
    assert origin["sha256"] == json.loads((folder / "model.json").read_text())["sha256"]


def test_a_split_by_folds_gives_way_to_them(fit, few, tree, work):
    split = {"class_path": "KFold", "init_args": {"folds": 4, "fold": 1, "val": 3, "seed": 5}}
    answer = fit(work / "dealt", "--folds", 2, data={**tree["data"], "split": split})
    assert answer.code == 0, answer.err
    assert "in 2 folds of 12; of the others 3 validate and 9 train" in answer.out
    spec = json.loads((work / "dealt" / "fold-1" / "split.json").read_text())["splitter"]
    assert spec["init_args"]["of"]["init_args"]["seed"] == 5
    found = learned_from._table(str(few), {"split": spec, "targets": ["band_gap"]}).split
    assert found.parts["test"].size == 12


def test_a_missing_fold_is_named(tlzoo, done, few, work):
    shutil.copytree(done[0], work / "broken")
    shutil.rmtree(work / "broken" / "fold-2")
    answer = tlzoo("predict", work / "broken", few)
    assert answer.code == 2
    assert "fold-2" in answer.err


def test_from_python_with_crystals_in_memory(tree, work, monkeypatch):
    monkeypatch.chdir(work)
    crystals = named.load("semiconductors").select(np.arange(24))
    config = {"trainer": {"accelerator": "cpu"}}
    network = NETWORK["backbone"]
    found = package.fit(
        crystals, "band_gap", backbone=network, epochs=1, folds=2, jobs=1, config=config, quiet=True
    )
    assert found.run_dir.parent.name == "runs"
    assert (work / "runs" / "latest").resolve() == found.run_dir.resolve()
    assert len(found.predictions) == 24
    metrics = found.metrics
    assert metrics.loc["left out", "mae"] == pytest.approx(found.by_fold["left out"]["mae"].mean())
    assert repr(found).splitlines()[0] == f"2 folds in {found.run_dir}"
    assert "<table" in found._repr_html_() if list(found.run_dir.glob("*.png")) else found.text()
    again = package.fit(
        crystals, "band_gap", backbone=network, epochs=1, folds=2, jobs=1, config=config, quiet=True
    )
    assert again.run_dir == found.run_dir


def test_compare_over_folds(tlzoo, done, few, work):
    """`tlzoo finetune`: gains over all crystals, and what answers in each fold answers in the end."""
    (work / "fast.yaml").write_text("trainer: {accelerator: cpu}\ndata: {split: {init_args: {test: 4}}}\n")
    asked = (
        "finetune", few, "--target", "band_gap", "--from", done[0] / "fold-1", "--epochs", 1,
        "--batch-size", 8, "--learning-rates", "1e-3", "--pooling", "mean",
        "--config", work / "fast.yaml", "--folds", 2, "--run_dir", work / "compared",
    )  # fmt: skip
    answer = tlzoo(*asked)
    assert answer.code == 0, answer.err
    assert "2 folds of 20 crystals" in answer.out
    assert "the 4 of the test part are in no fold" in answer.out
    tables = [pd.read_csv(work / "compared" / f"fold-{k}" / "test-predictions.csv") for k in (1, 2)]
    errors = [(table["scratch"] - table["known"]).abs().mean() for table in tables]
    row = next(line for line in answer.out.splitlines() if line.startswith("| scratch "))
    assert row.split("|")[2].strip() == f"{np.mean(errors):.4g} ± {np.std(errors, ddof=1):.2g}"
    assert len(pd.concat(tables)["id"].unique()) == 20
    verdicts = [json.loads((work / "compared" / f"fold-{k}" / "verdict.json").read_text()) for k in (1, 2)]
    for table, verdict in zip(tables, verdicts, strict=True):
        said = pd.read_csv(work / "compared" / "predictions.csv").set_index("id").loc[table["id"]]
        np.testing.assert_allclose(said["prediction"], table[verdict["answers"]], rtol=1e-4)
    model = package.load(work / "compared")
    each = [package.load(work / "compared" / f"fold-{k}").predict(few)["band_gap"] for k in (1, 2)]
    np.testing.assert_allclose(model.predict(few)["band_gap"], np.mean(each, axis=0), rtol=1e-5)
    again = tlzoo(*asked)
    assert "\nfold 1 of 2\n" not in again.out, "what is finished is not compared again"
    assert again.out.split("\n\n", 1)[1].endswith(answer.out.split("\n\n| ", 1)[1])


def test_a_comparison_without_folds_stays_one(work):
    (work / "other").mkdir()
    (work / "other" / "verdict.json").write_text("{}")
    with pytest.raises(UserError, match="holds another run, without folds"):
        package.finetune("semiconductors", folds=2, run_dir=work / "other")
