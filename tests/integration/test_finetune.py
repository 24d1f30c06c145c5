"""`tlzoo finetune`: both sides trained alike, the test part left alone until the end, all repeatable."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from shutil import copy, copytree

import numpy as np
import pandas as pd
import pytest
import yaml

from tlzoo import fit, load
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.labelled_table import LabelledTable
from tlzoo.machine import children
from tlzoo.model.trained import load as load_network
from tlzoo.training.bundle import Bundle
from tlzoo.training.run import Run
from tlzoo.training.task import Task
from tlzoo.transfer.finetune import finished
from tlzoo.transfer.finetune.decision import decide
from tlzoo.transfer.finetune.finetune_request import Request

FAST = "trainer: {accelerator: cpu}\ndata: {split: {init_args: {keep_duplicates_together: false}}}\n"
FILES = {
    *("answer.json", "comparison.json", "ensemble.json", "frozen", "verdict.json", "verdict.md"),
    *("model.json", "model.safetensors", "model.domain.safetensors", "paces.json"),
    *("scratch", "scratch.yaml", "transfer", "transfer.yaml", "test-predictions.csv"),
}


DONE = ("--learning-rates", "1e-3,1e-2", "--pooling", "mean,max", "--seeds", 2)

pytestmark = pytest.mark.usefixtures("few_kernels")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("finetune")


@pytest.fixture(scope="module")
def start(tlzoo, work):
    """A small network trained on other crystals."""
    named.load("semiconductors").select(np.arange(60, 100)).write_parquet(work / "others.parquet")
    tree = {
        "model": {
            "backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}},
            "head": {"class_path": "Regression", "init_args": {"hidden": [8]}},
        },
        "data": {"source": str(work / "others.parquet"), "targets": ["band_gap"], "batch_size": 8},
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
    }
    (work / "start.yaml").write_text(yaml.safe_dump(tree))
    answer = tlzoo("fit", "--config", work / "start.yaml", "--run_dir", work / "start")
    assert answer.code == 0, answer.err
    return work / "start"


@pytest.fixture(scope="module")
def finetune(tlzoo, start, work):
    (work / "fast.yaml").write_text(FAST)

    def run(source, folder, *further):
        return tlzoo(
            "finetune", source, "--target", "band_gap", "--from", start, "--config", work / "fast.yaml",
            "--epochs", 2, "--batch-size", 8, "--run_dir", folder, *further,
            *([] if "--pooling" in further else ["--pooling", "mean"]),
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def done(finetune, few, work):
    """A finished comparison and what the command said; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "draw", lambda run, *_: (run.path / "drawn").touch())
        answer = finetune(few, work / "done", *DONE)
    assert answer.code == 0, answer.err
    return work / "done", answer


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_directory_holds_everything(done):
    folder, answer = done
    assert {path.name for path in folder.iterdir()} == FILES
    content = json.loads((folder / "verdict.json").read_text())
    assert [row["name"] for row in content["results"]] == [
        *("transfer", "frozen", "both", "scratch", "mean", "median", "ridge", "random forest"),
        *("transfer, 2 together", "scratch, 2 together"),
    ]
    for side in ("transfer", "scratch"):
        tried = content["sides"][side]["tried"]
        choices = [(row["pooling"], row["rate"]) for row in tried]
        assert choices == [("mean", 1e-3), ("mean", 1e-2), ("max", 1e-3), ("max", 1e-2)]
        best = min(tried, key=lambda row: row["val_mae"])
        assert {key: content["sides"][side][key] for key in ("rate", "pooling")} == {
            key: best[key] for key in ("rate", "pooling")
        }
        runs = {path.name for path in (folder / side).iterdir()}
        name = f"lr-{best['rate']:g}-{best['pooling']}"
        assert runs == {*(f"lr-{rate:g}-{pooling}-seed-0" for pooling, rate in choices), f"{name}-seed-1"}
        for run in (folder / side).iterdir():
            metrics = json.loads((run / "metrics.json").read_text())
            chosen = run.name.startswith(f"{name}-")
            assert ("test" in metrics) == chosen, "only what was chosen is tested"
            assert (run / "drawn").exists() == chosen, "only what was chosen is drawn"
    assert content["conclusion"] in answer.out
    assert content["conclusion"] in (folder / "verdict.md").read_text()
    assert answer.out.endswith(f"run directory: {folder}\n")
    assert answer.err == ""


def test_each_training_says_which_of_how_many_it_is(done, start):
    """Four of each side to choose from, and one more of each with the second seed."""
    lines = done[1].out.splitlines()
    told = f"10 trainings, 2 epochs each: 4 from {start} and 4 from scratch, to choose from; 2 more with what"
    assert lines[2].startswith(told)
    assert lines[3].startswith("frozen: a kernel head on ")
    assert [line.split()[:2] for line in lines[4:14]] == [
        *([f"{number}/10", "transfer"] for number in range(1, 5)),
        *([f"{number}/10", "scratch"] for number in range(5, 9)),
        ["9/10", "transfer"],
        ["10/10", "scratch"],
    ]


def test_too_few_minutes_are_refused_before_anything_is_trained(finetune, few, work):
    (work / "long.yaml").write_text("trainer: {max_epochs: 1000000}")
    answer = finetune(few, work / "hasty", "--minutes", 1, "--config", work / "long.yaml")
    assert answer.code == 2
    assert answer.err.startswith("tlzoo: --minutes 1 are too few: ")
    assert not (work / "hasty" / "transfer").exists()


def test_a_fast_comparison_says_what_scratch_was_not_given(done):
    content = json.loads((done[0] / "verdict.json").read_text())
    assert content["neglected"][0] == "100 epochs (it had 2)"
    assert "WARNING: the gain over scratch may be too large." in done[1].out


def test_the_errors_are_those_of_the_runs(done):
    folder, _ = done
    content = json.loads((folder / "verdict.json").read_text())
    results = {row["name"]: row for row in content["results"]}
    for side in ("transfer", "scratch"):
        name = (folder / content["sides"][side]["run"]).name.removesuffix("0")
        maes = [
            json.loads((folder / side / f"{name}{seed}" / "metrics.json").read_text())["test"]["mae"]
            for seed in (0, 1)
        ]
        assert results[side]["mae"] == pytest.approx(np.mean(maes), rel=1e-5)
        assert results[side]["mae_sd"] == pytest.approx(np.std(maes, ddof=1), rel=1e-3)
    run = folder / content["sides"]["transfer"]["run"]
    baselines = json.loads((run / "metrics.json").read_text())["baselines"]["band_gap"]
    for name, parts in baselines.items():
        assert results[name]["mae"] == pytest.approx(parts["test"]["mae"]), name
        gain = 1 - results["transfer"]["mae"] / results[name]["mae"]
        assert results[name]["gain_percent"]["value"] == pytest.approx(100 * gain)


def test_both_sides_have_the_same_split_and_epochs(done):
    folder, _ = done
    runs = [run for side in ("transfer", "scratch") for run in (folder / side).iterdir()]
    assert len({sha(run / "split.json") for run in runs}) == 1
    assert {len(pd.read_csv(run / "history.csv")) for run in runs} == {2}


@pytest.mark.parametrize("side", ["transfer", "scratch"])
def test_the_configuration_repeats_the_training(side, done, tlzoo, tmp_path):
    folder, _ = done
    answer = tlzoo("fit", "--config", folder / f"{side}.yaml", "--run_dir", tmp_path / "again")
    assert answer.code == 0, answer.err
    run = json.loads((folder / "verdict.json").read_text())["sides"][side]["run"]
    # alone it is not one of several, whose products are rounded otherwise
    again, known = (each.metrics["val"]["mae"] for each in (Run(tmp_path / "again"), Run(folder / run)))
    assert again == pytest.approx(known, rel=1e-2)


def test_the_directory_is_a_model(done, tlzoo, few, tmp_path):
    folder, _ = done
    content = json.loads((folder / "verdict.json").read_text())
    runs = {side: seeds(folder, content, side) for side in content["sides"]}
    vals = {
        side: np.mean([json.loads((run / "metrics.json").read_text())["val"]["mae"] for run in several])
        for side, several in runs.items()
    }
    assert content["model"] == min(vals, key=vals.get)
    several = runs[content["model"]]
    assert sha(folder / "model.safetensors") == sha(several[0] / "model.safetensors")
    each = []
    for seed, run in enumerate(several):
        assert tlzoo("predict", run, few, "-o", tmp_path / f"{seed}.csv").code == 0
        each.append(pd.read_csv(tmp_path / f"{seed}.csv")["band_gap"])
    network, crystals = np.mean(each, axis=0), Crystals.read_parquet(few)
    found = load_network(folder).predict(crystals)
    np.testing.assert_allclose(found["band_gap"], network, rtol=1e-5)
    np.testing.assert_allclose(found["band_gap_spread"], np.std(each, axis=0, ddof=1), rtol=1e-3, atol=1e-6)
    frozen = load(folder / "frozen").predict(crystals)["band_gap"]
    share = content["decision"]["weights"]
    both = share[content["model"]] * network + share["frozen"] * frozen
    said = {content["model"]: network, "frozen": frozen, "both": both}
    split = json.loads((several[0] / "split.json").read_text())
    truth, test = np.array(crystals.column("band_gap"), dtype=float), np.isin(crystals.ids, split["test"])
    results = {row["name"]: row for row in content["results"]}
    for name, values in said.items():
        row = results[f"{name}, 2 together" if name == content["model"] else name]
        assert row["mae"] == pytest.approx(np.abs(values - truth)[test].mean(), rel=1e-4), name


@pytest.mark.parametrize("parts", [{"network": 1.0}, {"frozen": 1.0}, {"network": 0.5, "frozen": 0.5}])
def test_whatever_answers_is_a_model_with_intervals(parts, done, tlzoo, few, tmp_path):
    """Predicted, measured and screened with, from the command line and in Python."""
    folder = shutil.copytree(done[0], tmp_path / "done")
    record = json.loads((folder / "answer.json").read_text())
    (folder / "answer.json").write_text(json.dumps({**record, "parts": parts}))
    crystals = Crystals.read_parquet(few)
    each = {"network": load_network(folder), "frozen": load(folder / "frozen")}
    wanted = sum(weight * each[name].predict(crystals)["band_gap"] for name, weight in parts.items())
    found = load(folder).predict(crystals)
    np.testing.assert_allclose(found["band_gap"], wanted, rtol=1e-4, atol=1e-5)
    half = record["half_widths"]["0.9"]
    for end, sign in (("q5", -1), ("q95", 1)):
        np.testing.assert_allclose(found[f"band_gap_{end}"], wanted + sign * half, rtol=1e-4, atol=1e-5)

    assert tlzoo("predict", folder, few, "-o", tmp_path / "out.csv").code == 0
    table = pd.read_csv(tmp_path / "out.csv")
    spread = ["band_gap_spread"] if "network" in parts else []
    known = ["trust", "unseen_elements", "distance"]
    assert list(table.columns) == ["id", "band_gap", *spread, "band_gap_q5", "band_gap_q95", *known]
    np.testing.assert_allclose(table["band_gap"], wanted, rtol=1e-4, atol=1e-5)
    split = json.loads(next(folder.glob("transfer/*/split.json")).read_text())
    assert (table.set_index("id").loc[split["train"], "trust"] == "in training").all()

    answer = tlzoo("test", folder, "--on", few, "-o", tmp_path / "on")
    assert answer.code == 0, answer.err
    mae = json.loads((tmp_path / "on" / "metrics.json").read_text())["test"]["mae"]
    truth = np.array(crystals.column("band_gap"), dtype=float)
    assert mae == pytest.approx(np.abs(wanted - truth).mean(), rel=1e-4)

    answer = tlzoo("screen", folder, few, "-o", tmp_path / "ranked.parquet", "--jobs", 1)
    assert answer.code == 0, answer.err
    ranked = pd.read_parquet(tmp_path / "ranked.parquet").set_index("id")["band_gap"]
    np.testing.assert_allclose(ranked.loc[list(crystals.ids)], wanted, rtol=1e-4, atol=1e-4)


def test_a_part_that_is_missing_is_told(done, tlzoo, few, tmp_path):
    folder = shutil.copytree(done[0], tmp_path / "done")
    record = json.loads((folder / "answer.json").read_text())
    (folder / "answer.json").write_text(json.dumps({**record, "parts": {"frozen": 1.0}}))
    shutil.rmtree(folder / "frozen")
    answer = tlzoo("predict", folder, few, "-o", tmp_path / "out.csv")
    assert answer.code == 2
    assert "lets the head in" in answer.err
    assert "run `tlzoo finetune` again" in answer.err
    (folder / "answer.json").write_text(json.dumps({**record, "parts": {"frozen": 0.7}}))
    answer = tlzoo("predict", folder, few, "-o", tmp_path / "out.csv")
    assert answer.code == 2
    assert "answer.json is damaged or of another version" in answer.err


def test_the_verdict_says_what_answers_and_why(done):
    """The three errors on validation are those of the parts, and the rule was applied to them."""
    folder, answer = done
    content = json.loads((folder / "verdict.json").read_text())
    model = content["model"]
    tables = [pd.read_csv(run / "predictions.csv") for run in seeds(folder, content, model)]
    runs = [table[table["part"] == "val"] for table in tables]
    frozen = pd.read_csv(folder / "frozen" / "predictions.csv")
    frozen = frozen[frozen["part"] == "val"]
    assert list(runs[0]["id"]) == list(frozen["id"])
    errors = np.mean([run["prediction"] - run["target"] for run in runs], axis=0)
    head = (frozen["prediction"] - frozen["target"]).to_numpy()
    decision = decide(errors, head)
    wanted = {model: errors, "frozen": head, "both": decision.both(errors, head)}
    told = content["decision"]["val_mae"]
    assert told == pytest.approx({name: np.abs(values).mean() for name, values in wanted.items()}, rel=1e-4)
    assert content["answers"] == (model if decision.answers == "network" else decision.answers)
    for sentence in content["choice"]:
        assert sentence in answer.out
    assert content["choice"][0].startswith(f"What answers: {content['answers']}")
    assert sum(content["frozen"]["weights"].values()) == pytest.approx(1)
    assert set(content["intervals"]) == set(wanted)
    record = json.loads((folder / "answer.json").read_text())
    assert record["half_widths"] == content["intervals"][content["answers"]]["half_widths"]


def test_without_the_head_a_network_answers(finetune, few, work):
    folder = work / "networks"
    options = ("--learning-rates", "1e-2", "--no-frozen")
    answer = finetune(few, folder, *options)
    assert answer.code == 0, answer.err
    assert "frozen" not in answer.out
    content = json.loads((folder / "verdict.json").read_text())
    assert content["answers"] == content["model"]
    assert json.loads((folder / "answer.json").read_text())["parts"] == {"network": 1.0}
    assert {"frozen", "both"}.isdisjoint(row["name"] for row in content["results"])
    assert not (folder / "frozen").exists()


def seeds(folder, content, side):
    """Return the run directories of both seeds of a side."""
    first = folder / content["sides"][side]["run"]
    return [first, first.with_name(first.name.removesuffix("0") + "1")]


def test_of_several_models_validation_chooses(tlzoo, start, few, work):
    """Each is fine-tuned with each choice; of equal networks one is trained from scratch."""
    folder = work / "several"
    shutil.copytree(start, work / "other")
    arguments = (
        *("finetune", few, "--target", "band_gap", "--from", f"{start},{work / 'other'}"),
        *("--config", work / "fast.yaml", "--epochs", 1, "--batch-size", 8, "--pooling", "mean"),
        *("--learning-rates", "1e-3,1e-2", "--run_dir", folder),
    )
    (work / "fast.yaml").write_text(FAST)
    answer = tlzoo(*arguments)
    assert answer.code == 0, answer.err
    rates = ("0.001", "0.01")
    runs = {side: {path.name for path in (folder / side).iterdir()} for side in ("transfer", "scratch")}
    assert runs["transfer"] == {
        f"{name}-lr-{rate}-mean-seed-0" for name in ("start", "other") for rate in rates
    }
    assert runs["scratch"] == {f"start-lr-{rate}-mean-seed-0" for rate in rates}
    content = json.loads((folder / "verdict.json").read_text())
    tried = content["sides"]["transfer"]["tried"]
    # the same weights under two names: both do equally well, and the first is taken
    assert [row["val_mae"] for row in tried[:2]] == pytest.approx(
        [row["val_mae"] for row in tried[2:]], rel=1e-3
    )
    assert list(content["starts"]) == [content["sides"]["transfer"]["start"]] == [str(start)]
    assert str(start) in (folder / "transfer.yaml").read_text()
    assert f"transfer all, 1 epochs, {work / 'other'}, learning rate 0.01, mean pooling: " in " ".join(
        answer.out.split()
    )
    assert not (folder / "ensemble.json").exists()


def test_the_best_from_each_model_may_answer_together(tlzoo, start, few, work):
    """What was trained to choose is there already; scratch is given as many seeds."""
    folder, other = work / "together", work / "first"
    shutil.copytree(start, other)
    (work / "fast.yaml").write_text(FAST)
    answer = tlzoo(
        "finetune", few, "--target", "band_gap", "--from", f"{start},{other}", "--together",
        "--config", work / "fast.yaml", "--epochs", 1, "--batch-size", 8, "--pooling", "mean",
        "--learning-rates", "1e-3,1e-2", "--run_dir", folder,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    content = json.loads((folder / "verdict.json").read_text())
    rate = content["sides"]["transfer"]["rate"]
    tested = {
        side: {
            path.parent.name
            for path in (folder / side).glob("*/metrics.json")
            if "test" in json.loads(path.read_text())
        }
        for side in ("transfer", "scratch")
    }
    assert tested["transfer"] == {f"{name}-lr-{rate:g}-mean-seed-0" for name in ("start", "first")}
    first = content["sides"]["scratch"]["run"].removeprefix("scratch/")
    assert tested["scratch"] == {first, first.removesuffix("0") + "1"}
    assert set(content["starts"]) == {str(start), str(other)}
    assert content["trainings"] == 2
    results = {row["name"]: row for row in content["results"]}
    # the same weights under two names
    assert results["transfer, 2 together"]["mae"] == pytest.approx(results["transfer"]["mae"], rel=1e-6)
    assert results["scratch, 2 together"]["mae"] <= results["scratch"]["mae"] * (1 + 1e-6)
    assert len(json.loads((folder / "ensemble.json").read_text())["others"]) == 1
    assert "band_gap_spread" in load_network(folder).columns


def test_running_again_trains_nothing_and_says_the_same(done, finetune, few, monkeypatch):
    folder, before = done
    files = {
        path: sha(path)
        for path in folder.rglob("*")
        if path.name in {"best.ckpt", "last.ckpt", "history.csv", "verdict.md"}
    }
    for trains in (Task, Bundle):
        monkeypatch.setattr(trains, "training_step", lambda *_: pytest.fail("trained again"))
    answer = finetune(few, folder, *DONE)
    assert answer == before
    assert {path: sha(path) for path in files} == files
    # without the record of what was said all is measured again, and comes out the same
    (folder / "comparison.json").unlink()
    assert finetune(few, folder, *DONE) == before
    assert {path: sha(path) for path in files} == files
    assert (folder / "comparison.json").is_file()


@pytest.mark.parametrize("changed", ["data", "configuration", "model", "result", "epochs"])
def test_what_has_changed_is_not_shown_again(changed, finetune, few, start, work, tmp_path):
    """A record answers for exactly what it was made of."""
    source, folder = tmp_path / "few.parquet", tmp_path / "run"
    copy(few, source)
    request = Request(
        source=str(source),
        target="band_gap",
        starts=(str(tmp_path / "start"),),
        run_dir=folder,
        configs=(tmp_path / "fast.yaml",),
        epochs=2,
    )
    copytree(start, tmp_path / "start")
    copy(work / "fast.yaml", tmp_path / "fast.yaml")
    folder.mkdir()
    for name in finished.RESULTS:
        (folder / name).write_text(name)
    # the head has the name of a data set that nobody has here
    tree = {"data": {"source": str(source), "targets": ["band_gap"]}, "model": {"head": "expt_gap"}}
    finished.keep(request, LabelledTable(str(source), ["band_gap"]), [tree], ["said"])
    assert finished.shown(request) == ["said"]
    match changed:
        case "data":
            named.load("semiconductors").select(np.arange(20)).write_parquet(source)
        case "configuration":
            (tmp_path / "fast.yaml").write_text("trainer: {accelerator: cpu}\n")
        case "model":
            copy(start / "model.json", tmp_path / "start" / "model.safetensors")
        case "result":
            (folder / "verdict.md").unlink()
        case "epochs":
            request = replace(request, epochs=3)
    assert finished.shown(request) is None


def test_a_file_that_a_table_names_is_part_of_the_data(finetune, start, tmp_path, work):
    crystals = named.load("semiconductors").select(np.arange(3))
    lines = ["file,band_gap"]
    for row in range(3):
        crystals.structure(row).to(filename=str(tmp_path / f"{row}.cif"))
        lines.append(f"{row}.cif,{row}")
    table, folder = tmp_path / "table.csv", tmp_path / "run"
    table.write_text("\n".join(lines))
    request = Request(source=str(table), target="band_gap", starts=(str(start),), run_dir=folder)
    folder.mkdir()
    for name in finished.RESULTS:
        (folder / name).write_text(name)
    tree = {"data": {"source": str(table), "targets": ["band_gap"]}}
    finished.keep(request, LabelledTable(str(table), ["band_gap"]), [tree], ["said"])
    assert finished.shown(request) == ["said"]
    named.load("semiconductors").structure(7).to(filename=str(tmp_path / "1.cif"))
    assert finished.shown(request) is None


def test_showing_again_needs_no_torch(done, few, start, work):
    folder, before = done
    code = (
        "import sys; from tlzoo.__main__ import main; code = main(['finetune', *sys.argv[1:]]); "
        "assert not {'torch', 'lightning', 'sklearn'} & set(sys.modules); sys.exit(code)"
    )
    options = ["--epochs", "2", "--batch-size", "8", *map(str, DONE)]
    again = subprocess.run(
        [sys.executable, "-c", code, str(few), "--target", "band_gap", "--from", str(start), "--config",
         str(work / "fast.yaml"), *options, "--run_dir", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (again.returncode, again.stdout) == (0, before.out), again.stderr


def test_another_comparison_needs_another_directory(done, finetune, few):
    answer = finetune(few, done[0], *DONE, "--strategy", "new-head")
    assert answer.code == 2
    assert "holds a run with another configuration: model.freezing.class_path" in answer.err


def test_a_model_that_knows_the_unit_offers_its_head(done, start):
    hint = f"{start} has learned band_gap in eV: if your property is nearly the same, --head band_gap"
    assert hint in done[1].out


@pytest.mark.usefixtures("finetune")
def test_a_kept_head_keeps_its_pooling_and_moves_in_smaller_steps(tlzoo, start, few, work):
    answer = tlzoo(
        "finetune", few, "--target", "band_gap", "--from", start, "--head", "band_gap",
        "--config", work / "fast.yaml", "--epochs", 1, "--batch-size", 8, "--run_dir", work / "kept",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "--head band_gap" not in answer.out
    content = json.loads((work / "kept" / "verdict.json").read_text())
    tried = {
        side: {(row["pooling"], row["rate"]) for row in found["tried"]}
        for side, found in content["sides"].items()
    }
    assert tried["transfer"] == {("mean", 3e-4), ("mean", 1e-3)}
    assert {pooling for pooling, _ in tried["scratch"]} == {"mean", "max"}
    assert min(rate for _, rate in tried["scratch"]) > 1e-3
    trees = {side: yaml.safe_load((work / "kept" / f"{side}.yaml").read_text())["model"] for side in tried}
    assert trees["transfer"]["head"]["init_args"] == {"name": str(start), "target": "band_gap", "loss": "l1"}
    assert trees["scratch"]["head"]["init_args"]["loss"] == "l1"
    results = {row["name"]: row["mae"] for row in content["results"]}
    split = json.loads((next((work / "kept" / "scratch").iterdir()) / "split.json").read_text())
    crystals = Crystals.read_parquet(few)
    test = crystals.select(np.flatnonzero(np.isin(crystals.ids, split["test"])))
    errors = load(start).predict(test)["band_gap"] - test.column("band_gap").astype(np.float64)
    assert results["as it is"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)


@pytest.mark.parametrize("head", [(), ("--head", "band_gap")], ids=["new", "kept"])
def test_a_property_that_ends_at_0_is_never_less(head, finetune, few, work):
    crystals = Crystals.read_parquet(few)
    gaps = crystals.column("band_gap").astype(np.float64)
    metals = gaps < np.quantile(gaps, 0.8)  # the mean of all is near 0, and an untrained network around it
    replace(crystals, columns={"band_gap": np.where(metals, 0.0, gaps)}).write_parquet(
        work / "metals.parquet"
    )
    folder = work / f"metals-{len(head)}"
    frozen = ["--no-frozen"] if head else []
    answer = finetune(work / "metals.parquet", folder, *head, "--learning-rates", 1e-2, *frozen)
    assert answer.code == 0, answer.err
    assert "no label is below 0" in answer.out
    said = pd.read_csv(folder / "test-predictions.csv")
    for side in ("transfer", "scratch"):
        assert (
            yaml.safe_load((folder / f"{side}.yaml").read_text())["model"]["head"]["init_args"]["minimum"]
            == 0
        )
        assert said[side].min() >= 0
        card = json.loads(next((folder / side).glob("*/model.json")).read_text())
        assert card["spec"]["head"]["init_args"]["minimum"] == 0
    if not head:
        assert said["frozen"].min() >= 0
        assert pd.read_csv(folder / "frozen" / "predictions.csv")["prediction"].min() == 0
        kept = load(folder / "frozen").predict(crystals)["band_gap"]
        assert kept.min() == 0


def test_a_new_head_is_nothing_as_it_is(done):
    content = json.loads((done[0] / "verdict.json").read_text())
    assert "as it is" not in [row["name"] for row in content["results"]]


def test_labels_of_the_test_part_change_nothing_but_the_verdict(done, finetune, few, work):
    """The same trainings, the same choice, the same models; only what is measured at the end differs."""
    folder, _ = done
    split = json.loads((next((folder / "scratch").iterdir()) / "split.json").read_text())
    crystals = Crystals.read_parquet(few)
    labels = np.array(crystals.column("band_gap"), dtype=np.float64)
    labels[np.isin(crystals.ids, split["test"])] += 100
    crystals.columns["band_gap"][:] = labels
    crystals.write_parquet(work / "changed.parquet")
    answer = finetune(work / "changed.parquet", work / "changed", *DONE)
    assert answer.code == 0, answer.err
    one, other = (json.loads((path / "verdict.json").read_text()) for path in (folder, work / "changed"))
    assert one["sides"] == other["sides"]
    assert sha(folder / "model.safetensors") == sha(work / "changed" / "model.safetensors")
    assert other["results"][0]["mae"] > 90


def test_an_interrupted_comparison_goes_on_and_a_rate_that_diverges_loses(finetune, few, work, monkeypatch):
    folder = work / "stopped"
    jobs, wanted = (1, children.FORKS + 1), ("--learning-rates", "1e-3,1e30")
    step = Bundle.training_step

    def stop(bundle, batch, index):
        if bundle.current_epoch == 1 and "scratch" in str(bundle.trainer.default_root_dir):
            raise KeyboardInterrupt
        return step(bundle, batch, index)

    monkeypatch.setattr(Bundle, "training_step", stop)
    answer = finetune(few, folder, *wanted, "--jobs", jobs[1])
    kept = folder / ("scratch" if children.FORKS else "transfer") / "lr-0.001-mean-seed-0" / "last.ckpt"
    assert (
        answer.err
        == f"tlzoo: stopped. All finished epochs are in {kept}; the same command goes on from there\n"
    )
    assert not (folder / "verdict.json").exists()
    monkeypatch.undo()
    answer = finetune(few, folder, *wanted, "--jobs", jobs[0])
    assert answer.code == 0, answer.err
    trained = folder / "transfer" / "lr-0.001-mean-seed-0" / "last.ckpt"
    before = sha(trained)
    (folder / "comparison.json").unlink()
    assert finetune(few, folder, *wanted).code == 0
    assert sha(trained) == before, "what is finished is not computed again"
    assert "learning rate 1e+30, mean pooling: diverged" in answer.out
    content = json.loads((folder / "verdict.json").read_text())
    for side in content["sides"].values():
        assert side["rate"] == 1e-3
        assert side["tried"][1] == {"rate": 1e30, "pooling": "mean", "start": None, "val_mae": None}


@pytest.mark.skipif(not children.FORKS, reason="nothing is forked here")
def test_jobs_change_no_number(finetune, few, work):
    """Each as one by one to the bit: where there are as many processes as trainings, each is alone."""
    wanted = ("--learning-rates", "1e-3", "--no-frozen")
    alone, beside = work / "alone", work / "beside"
    answer = finetune(few, beside, *wanted, "--jobs", 2)
    assert answer.code == 0, answer.err
    for side in ("transfer", "scratch"):
        tree = yaml.safe_load((beside / side / "lr-0.001-mean-seed-0" / "config.yaml").read_text())
        fit(tree, run_dir=alone / side, quiet=True)
        for name in ("model.safetensors", "history.csv"):
            assert sha(beside / side / "lr-0.001-mean-seed-0" / name) == sha(alone / side / name)


def test_trainings_as_one_give_what_each_gives_alone(finetune, few, work):
    """In fp64, to rounding: both sides, with two rates, and further seeds with other batches."""
    exact = work / "exact.yaml"
    exact.write_text(FAST.replace("accelerator: cpu", "accelerator: cpu, precision: 64-true"))
    folder = work / "as-one"
    wanted = ("--learning-rates", "1e-3,1e-2", "--seeds", 3, "--no-frozen", "--config", exact)
    answer = finetune(few, folder, *wanted, "--jobs", 1)
    assert answer.code == 0, answer.err
    runs = sorted(folder.glob("*/lr-*"))
    assert len(runs) == 8
    for run in runs:
        alone = fit(
            yaml.safe_load((run / "config.yaml").read_text()), run_dir=work / "one" / run.name, quiet=True
        ).run
        np.testing.assert_allclose(Run(run).curves, alone.curves, rtol=1e-5)
        found, known = (each.predicted() for each in (Run(run), alone))
        rows = found["part"] != "test"
        np.testing.assert_allclose(found[rows]["prediction"], known["prediction"], rtol=1e-5)
        shutil.rmtree(alone.path)


def test_rates_that_all_diverge_are_an_error(finetune, few, tmp_path):
    answer = finetune(few, tmp_path / "wild", "--learning-rates", "1e30")
    assert answer.code == 2
    assert not list((tmp_path / "wild").glob("*/*/metrics.json"))
    assert answer.err == (
        "tlzoo: transfer diverged with the learning rate(s) 1e+30; give lower --learning-rates\n"
    )


def test_a_model_that_saw_the_test_part_is_told(done, tlzoo, few, work, tmp_path):
    shutil.copytree(done[0], tmp_path / "done")
    split = tmp_path / "split.yaml"
    split.write_text(FAST.replace("init_args: {", "init_args: {seed: 1, "))
    start = tmp_path / "done" / "scratch" / "lr-0.001-mean-seed-0"
    answer = tlzoo(
        "finetune", few, "--target", "band_gap", "--from", start, "--config", split,
        "--epochs", 1, "--learning-rates", "1e-3", "--run_dir", tmp_path / "seen",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    seen = json.loads((tmp_path / "seen" / "verdict.json").read_text())["seen"]
    assert seen > 0
    assert f"has learned from {seen} of the 5 test crystals" in answer.out


def test_an_unknown_model_is_told_with_those_there_are(tlzoo, few, tmp_path):
    answer = tlzoo(
        "finetune", few, "--target", "band_gap", "--from", "cgcnn-xyz", "--run_dir", tmp_path / "x"
    )
    assert answer.code == 2
    assert answer.err.startswith("tlzoo: cgcnn-xyz is no model: give a checkpoint")
    assert "there are" in answer.err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {split: {init_args: {test: 0}}}", "the split has no test part to compare on"),
        ("model: {head: {class_path: Classification}}", "but the labels of band_gap are not 0 and 1"),
        (
            "model: {head: {class_path: Classification, init_args: {classes: 3}}}",
            "wanted one number per crystal to learn, or one of two classes",
        ),
        ("data: {pseudo_labels: said.csv}", "a comparison learns from known labels alone"),
        ("data: {teacher: said}", "data.teacher is for `tlzoo fit`: a comparison learns from known labels"),
        ("data: {colour: red}", "colour"),
    ],
)
def test_what_cannot_be_compared_is_refused(text, message, finetune, few, tmp_path):
    (tmp_path / "top.yaml").write_text(text)
    answer = finetune(few, tmp_path / "x", "--config", tmp_path / "top.yaml")
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "x").exists()
