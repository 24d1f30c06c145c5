"""A run is measured on its own crystals, one process at a time, and anything else beside it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import tlzoo as package
from tlzoo.crystals import Crystals
from tlzoo.errors import UserError
from tlzoo.training.run import Run

pytestmark = pytest.mark.usefixtures("quick")

WRITTEN = Path(__file__).parents[1] / "written_by" / "846dd3e"


@pytest.fixture(scope="module")
def crystals(few):
    return Crystals.read_parquet(few)


@pytest.fixture(scope="module")
def trained(tlzoo, few, tmp_path_factory):
    """A finished run and its data; not to be changed."""
    from tlzoo.testing import workbench

    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(few, folder / "data.parquet")
    path = workbench.write_config(folder / "config.yaml", folder / "data.parquet", {})
    return workbench.fit(path, folder / "run")


@pytest.fixture(scope="module")
def tested(tlzoo, trained, tmp_path_factory):
    """The same after `tlzoo test`; not to be changed."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("tested") / "run")
    answer = tlzoo("test", run)
    assert answer.code == 0, answer.err
    return run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def split(run):
    return json.loads((run / "split.json").read_text())


def forget(run):
    """Leave of a run what version 846dd3e kept of its data."""
    path = run / "environment.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({key: v for key, v in kept.items() if key not in ("parts", "labels_sha256")}))


def row_of(crystals, name):
    return list(crystals.ids).index(name)


# --- its own crystals


@pytest.mark.parametrize("command", ["test", "validate"])
def test_rows_in_another_order_are_the_same_crystals(command, tlzoo, run, tested, crystals, tmp_path):
    order = np.random.default_rng(0).permutation(len(crystals))
    crystals.select(order).write_parquet(tmp_path / "data.parquet")
    answer = tlzoo(command, run, "--data.source", tmp_path / "data.parquet")
    assert answer.code == 0, answer.err
    wanted = tested if command == "test" else run
    part = {"test": "test", "validate": "val"}[command]
    table = pd.read_csv(run / "predictions.csv", dtype={"id": str})
    rows = table[table["part"] == part]
    assert rows["id"].tolist() == split(run)[part]
    truth = dict(zip(crystals.ids, crystals.column("band_gap"), strict=True))
    np.testing.assert_allclose(rows["target"], [truth[name] for name in rows["id"]], rtol=1e-6)
    found, before = (json.loads((each / "metrics.json").read_text()) for each in (run, wanted))
    assert found[part] == before[part]


def test_further_crystals_are_nobodys(tlzoo, run, tested, crystals, tmp_path):
    more = replace(crystals.select([0, 1]), ids=np.array(["new-0", "new-1"], dtype=object), origins=())
    both = Crystals.concatenated([replace(more, columns=more.columns), replace(crystals, origins=())])
    both.write_parquet(tmp_path / "data.parquet")
    assert tlzoo("test", run, "--data.source", tmp_path / "data.parquet").code == 0
    assert (run / "predictions.csv").read_bytes() == (tested / "predictions.csv").read_bytes()


def test_a_table_that_was_edited_in_place(tlzoo, crystals, config, tmp_path):
    folder, run = tmp_path / "mine", tmp_path / "run"
    folder.mkdir()
    lines = []
    for row, name in enumerate(crystals.ids):
        crystals.structure(row).to(filename=str(folder / f"{name}.vasp"), fmt="poscar")
        lines.append(f"{name}.vasp,{crystals.column('band_gap')[row]}")

    def write(rows):
        (folder / "labels.csv").write_text("\n".join(["file,band_gap", *rows]) + "\n")

    write(lines)
    assert tlzoo("fit", "--config", config({"data.source": str(folder)}), "--run_dir", run).code == 0
    assert tlzoo("test", run).code == 0
    before = content(run)
    write(lines[::-1])
    assert tlzoo("test", run).code == 0
    for name in ("predictions.csv", "metrics.json", "split.json"):
        assert content(run)[name] == before[name], name
    before = content(run)
    mine = f"{split(run)['test'][0]}.vasp"
    for rows in (
        lines[:-6],
        [line for line in lines if not line.startswith(mine)],
        [f"{mine}," if line.startswith(mine) else line for line in lines],
    ):
        write(rows)
        assert tlzoo("test", run).code == 2
        assert content(run) == before


def blank(crystals, name, value=np.nan):
    labels = crystals.column("band_gap").copy()
    labels[row_of(crystals, name)] = value
    return replace(crystals, columns={"band_gap": labels})


def stretched(crystals, name):
    lattice = crystals.lattice.copy()
    lattice[row_of(crystals, name)] *= 1.01
    return replace(crystals, lattice=lattice)


def without(crystals, name):
    return crystals.select(np.flatnonzero(crystals.ids != name))


CHANGES = {
    "a test crystal is gone": (
        without,
        "test",
        "1 of 4 ids of the test part are not in the data (23 crystals)",
    ),
    "a training crystal is gone": (without, "train", "1 of 16 ids of the train part are not in the data"),
    "a label is blank": (blank, "test", "of the test part has no label any more"),
    "a structure changed": (stretched, "test", "the structures of the test part changed"),
    "a training structure changed": (stretched, "train", "the structures of the train part changed"),
    "a label changed": (lambda c, n: blank(c, n, 9.0), "test", "the labels of the test part changed"),
    "a training label changed": (lambda c, n: blank(c, n, 9.0), "train", " changed ("),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("command", ["test", "validate"])
def test_other_crystals_are_refused(command, name, tlzoo, run, crystals, tmp_path):
    change, part, said = CHANGES[name]
    change(crystals, split(run)[part][0]).write_parquet(tmp_path / "data.parquet")
    before = content(run)
    answer = tlzoo(command, run, "--data.source", tmp_path / "data.parquet")
    assert answer.code == 2
    assert answer.err.startswith(f"tlzoo: {run} is measured on its own crystals, those in {run}/split.json: ")
    assert said in answer.err
    assert f"tlzoo test {run} --on DATA" in answer.err
    assert "?." not in answer.err
    assert content(run) == before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ("--data.split", "Random", "--data.split.seed", "5"),
            "another data.split was asked for (init_args.keep_duplicates_together: False → True; init_args",
        ),
        (("--data.targets", "[other]"), "other"),
        (("--data.shuffle_labels", "3"), "changed"),
        (("--data.units", "{band_gap: meV}"), "band_gap is in meV, that of the run in eV"),
    ],
)
def test_another_question_is_refused(more, said, tlzoo, run):
    before = content(run)
    answer = tlzoo("test", run, *more)
    assert answer.code == 2, answer.out
    assert said in answer.err
    assert content(run) == before


def test_another_source_is_refused(tlzoo, run, tmp_path):
    from tlzoo.data import named

    named.load("semiconductors").select(np.arange(24, 48)).write_parquet(tmp_path / "other.parquet")
    before = content(run)
    answer = tlzoo("test", run, "--data.source", tmp_path / "other.parquet")
    assert answer.code == 2
    assert "16 of 16 ids of the train part are not in the data" in answer.err
    assert content(run) == before


UNKNOWN = {"a label changed", "a training label changed"}  # nothing that it kept says what they were


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in UNKNOWN])
def test_a_run_of_an_earlier_version_has_its_ids_and_a_hash(name, tlzoo, run, crystals, tmp_path):
    change, part, _ = CHANGES[name]
    forget(run)
    assert tlzoo("test", run).code == 0
    (run / "predictions.csv").unlink()
    assert tlzoo("validate", run).code == 0
    before = content(run)
    change(crystals, split(run)[part][0]).write_parquet(tmp_path / "data.parquet")
    answer = tlzoo("validate", run, "--data.source", tmp_path / "data.parquet")
    assert answer.code == 2
    assert content(run) == before


def test_labels_that_stand_beside_predictions_are_known(tlzoo, run, crystals, tmp_path):
    forget(run)
    first = split(run)["train"][0]
    was = crystals.column("band_gap")[row_of(crystals, first)]
    blank(crystals, first, 9.0).write_parquet(tmp_path / "data.parquet")
    answer = tlzoo("test", run, "--data.source", tmp_path / "data.parquet")
    assert answer.code == 2
    assert f"band_gap of crystal {first!r} changed ({was:.6g} → 9)" in answer.err


def test_weights_of_another_split_are_not_measured(tlzoo, run, config, tmp_path):
    seeds = {"class_path": "Random", "init_args": {"val": 4, "test": 4, "seed": 1}}
    other = tmp_path / "other"
    assert tlzoo("fit", "--config", config({"data.split": seeds}), "--run_dir", other).code == 0
    answer = tlzoo("test", run, "--ckpt-path", other / "last.ckpt")
    assert answer.code == 2
    assert f"{other / 'last.ckpt'} was trained with another split than {run}" in answer.err


def test_bytes_stay(tlzoo, trained, tested, tmp_path):
    run = shutil.copytree(tested, tmp_path / "run")
    kept = {"predictions.csv", "metrics.json", "history.csv", "split.json", "model.safetensors"}
    for command in (
        ("fit", "--config", trained.parent / "config.yaml", "--run_dir", run),
        ("validate", run),
        ("test", run),
    ):
        assert tlzoo(*command).code == 0
        for name in kept:
            assert (run / name).read_bytes() == (tested / name).read_bytes(), (command[0], name)
    parts = pd.read_csv(run / "predictions.csv")["part"].tolist()
    assert parts == ["train"] * 16 + ["val"] * 4 + ["test"] * 4


# --- other labelled crystals


def mae(said, crystals, names):
    truth = {str(key): value for key, value in zip(crystals.ids, crystals.column("band_gap"), strict=True)}
    return np.mean([abs(said[name] - truth[name]) for name in names])


def test_a_run_is_measured_on_other_crystals(tlzoo, run, crystals, tmp_path):
    from tlzoo.data import named

    others = named.load("semiconductors").select(np.arange(10, 60))
    labels = others.column("band_gap").copy()
    labels[-3:] = np.nan
    replace(others, columns={"band_gap": labels}).write_parquet(tmp_path / "lab set.parquet")
    before = content(run)
    answer = tlzoo("test", run, "--on", tmp_path / "lab set.parquet")
    assert answer.code == 0, answer.err
    assert content(run) == before
    folder = run / "on" / "lab-set"
    assert answer.out.endswith(f"written to: {folder}\n")
    assert {path.name for path in folder.iterdir()} == {"metrics.json", "predictions.csv"}  # no pictures here
    metrics = json.loads((folder / "metrics.json").read_text())
    said = package.load(run).predict(others).set_index("id")["band_gap"]
    known = [str(name) for name in others.ids[:-3]]
    assert metrics["test"]["crystals"] == 47
    assert metrics["test"]["mae"] == pytest.approx(mae(said, others, known), rel=1e-5)
    assert "3 of 50 crystals have no label and are left out" in answer.out
    # crystals 10 to 23 are those of the run, of which 4 are its test part
    learned = {*split(run)["train"], *split(run)["val"]}
    seen = [name for name in known if name in learned]
    assert f"{len(seen)} of 47 crystals were in training (by structure)" in answer.out
    unseen = [name for name in known if name not in learned]
    assert metrics["unseen"]["crystals"] == len(unseen)
    assert metrics["unseen"]["mae"] == pytest.approx(mae(said, others, unseen), rel=1e-5)
    table = pd.read_csv(folder / "predictions.csv", dtype={"id": str})
    assert table.loc[table["in_training"], "id"].tolist() == seen
    # again is no mistake; another set of that name is
    assert tlzoo("test", run, "--on", tmp_path / "lab set.parquet").code == 0
    (tmp_path / "elsewhere").mkdir()
    others.write_parquet(tmp_path / "elsewhere" / "lab set.parquet")
    answer = tlzoo("test", run, "--on", tmp_path / "elsewhere" / "lab set.parquet")
    assert answer.code == 2
    assert (
        f"{folder} has the errors of {run} on {tmp_path / 'lab set.parquet'}; choose another --out"
        in answer.err
    )
    assert tlzoo("test", run, "--on", tmp_path / "lab set.parquet", "-o", run).code == 2
    assert content(run) == before


def test_crystals_that_nobody_can_compare_are_known_by_id(tlzoo, run, crystals, tmp_path):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["source"] = str(tmp_path / "gone.parquet")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    card = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(card | {"source": str(tmp_path / "gone.parquet")}))
    crystals.write_parquet(tmp_path / "set.parquet")
    answer = tlzoo("test", run, "--on", tmp_path / "set.parquet")
    assert answer.code == 0, answer.err
    assert " of 24 crystals were in training (by the keys of its training crystals)" in answer.out
    (run / "model.domain.safetensors").unlink()
    answer = tlzoo("test", run, "--on", tmp_path / "set.parquet")
    assert "20 of 24 crystals were in training (by their ids; structures cannot be compared: " in answer.out
    renamed = replace(crystals, ids=np.array([f"x{i}" for i in range(24)], dtype=object), origins=())
    renamed.write_parquet(tmp_path / "renamed.parquet")
    answer = tlzoo("test", run, "--on", tmp_path / "renamed.parquet")
    assert "nobody can tell whether crystals of" in answer.out


def test_units_and_columns_must_be_those_of_the_model(tlzoo, run, crystals, tmp_path):
    other = replace(crystals, columns={"gap": 1000 * crystals.column("band_gap")}, units={"gap": "meV"})
    path = tmp_path / "set.parquet"
    other.write_parquet(path)
    answer = tlzoo("test", run, "--on", path)
    assert answer.code == 2
    assert f"{path}: there is no column 'band_gap'; there are: gap" in answer.err
    assert "--target COL says which column has that" in answer.err
    answer = tlzoo("test", run, "--on", path, "--target", "gap")
    assert answer.code == 2
    assert f"gap of {path} is in meV, the model predicts band_gap in eV; convert the column" in answer.err
    replace(other, units={}).write_parquet(path)
    assert tlzoo("test", run, "--on", path, "--target", "gap", "--unit", "meV").code == 2
    answer = tlzoo("test", run, "--on", path, "--target", "gap")
    assert answer.code == 0
    assert f"{path} does not say the unit of gap: taken as eV" in answer.out
    assert not list((run / "on").glob("*/*.lock"))


def test_a_checkpoint_is_measured(tlzoo, crystals, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    replace(crystals, columns={"e": np.zeros(24)}).write_parquet(tmp_path / "zero.parquet")
    answer = tlzoo("test", "cgcnn-fe", "--on", "zero.parquet", "--target", "e")
    assert answer.code == 0, answer.err
    folder = Path("runs/on/cgcnn-fe-zero")
    metrics = json.loads((folder / "metrics.json").read_text())
    said = package.load("cgcnn-fe").predict(crystals)["formation_energy"]
    assert metrics["test"]["mae"] == pytest.approx(np.abs(said).mean(), rel=1e-5)  # what is known is 0
    assert tlzoo("test", "cgcnn-fe", "--on", "zero.parquet", "--target", "e", "--out", "mine").code == 0
    assert (tmp_path / "mine" / "predictions.csv").is_file()
    answer = tlzoo("test", "cgcnn-fe")
    assert answer.code == 2
    assert "tlzoo test cgcnn-fe --on DATA" in answer.err


def test_a_comparison_is_shown_and_measured(tlzoo, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(WRITTEN, tmp_path / "here"))
    answer = tlzoo("test", "finetuned")
    assert answer.code == 0
    assert answer.out.startswith(Path("finetuned/verdict.md").read_text().rstrip())
    assert "is a comparison, measured when it was made" in answer.out
    with pytest.raises(UserError, match=r"is a comparison of `tlzoo finetune`"):
        package.test("finetuned")
    before = content(Path("finetuned"))
    answer = tlzoo("test", "finetuned", "--on", "crystals.parquet")
    assert answer.code == 0, answer.err
    assert content(Path("finetuned")) == before
    table = pd.read_csv("finetuned/on/crystals/predictions.csv", dtype={"id": str}).set_index("id")
    wanted = pd.read_csv("expected/finetuned.csv", dtype={"id": str}).set_index("id")
    np.testing.assert_allclose(table["prediction"], wanted["band_gap"][table.index], rtol=1e-3, atol=1e-4)
    parts = json.loads(next(Path("finetuned").glob("*/*/split.json")).read_text())
    assert set(table.index[table["in_training"]]) == {*parts["train"], *parts["val"]} & set(table.index)


def test_the_function_measures_crystals_in_memory(run, crystals):
    found = package.test(run, on=crystals.select(np.arange(6)))
    assert found["test"]["crystals"] == 6
    assert (found["folder"] / "metrics.json").is_file()
    with pytest.raises(UserError, match=r"has the errors of .* on crystals in memory; choose another --out"):
        package.test(run, on=crystals.select(np.arange(7)))
    with pytest.raises(UserError, match="unit goes with on"):
        package.test(run, unit="eV")


# --- one process at a time

HOLD = """
import sys
from pathlib import Path
from tlzoo.training.run import Run
with Run(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("command", ["fit", "test"])
def test_one_process_at_a_time(command, tlzoo, trained, run):
    before = content(run)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        config = ("--config", trained.parent / "config.yaml", "--run_dir")
        answer = tlzoo(command, *(config if command == "fit" else ()), run)
        assert answer.code == 2
        assert answer.err.startswith(f"tlzoo: {run} is in use by process {other.pid} on ")
        assert {name: text for name, text in content(run).items() if name != ".lock"} == before
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    answer = tlzoo("validate", run)
    assert answer.code == 0, answer.err
    assert not (run / ".lock").exists()


def test_a_refused_run_leaves_no_directory(tlzoo, config, tmp_path):
    answer = tlzoo("fit", "--config", config({"data.source": "nowhere"}), "--run_dir", tmp_path / "a" / "run")
    assert answer.code == 2
    assert not (tmp_path / "a").exists()


# --- runs that nobody named


def test_bare_runs_do_not_meet(tlzoo, config, few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, latest = config({"trainer.max_epochs": 1}), Path("runs/latest")
    assert tlzoo("fit", "--config", path).code == 0
    first = latest.resolve()
    assert first.name.startswith("few-CGCNN-")
    before = content(first)
    assert tlzoo("fit", "--config", path, "--data.batch-size", 4).code == 0
    second = latest.resolve()
    assert second != first
    assert content(first) == before
    assert sorted(p.resolve() for p in Path("runs").iterdir()) == sorted([first, second, second])
    assert tlzoo("test", "runs/latest").code == 0
    assert "test" in json.loads((second / "metrics.json").read_text())
    assert "test" not in json.loads((first / "metrics.json").read_text())
    # the same command goes on where it was
    answer = tlzoo("fit", "--config", path)
    assert answer.out.endswith(f"run directory: runs/{first.name}\n")
    assert latest.resolve() == first
    for name in ("history.csv", "predictions.csv", "best.ckpt"):
        assert (first / name).read_bytes() == before[name]
    assert tlzoo("test", "--config", path).code == 0
    assert "test" in json.loads((first / "metrics.json").read_text())
    package.fit(yaml.safe_load(path.read_text()), data=Crystals.read_parquet(few).select(np.arange(20)))
    assert latest.resolve() not in (first, second)


def test_latest_is_the_latest(tlzoo, config, few, tmp_path, monkeypatch):
    """Whoever named the directory, and whatever trained there, but for runs elsewhere."""
    monkeypatch.chdir(tmp_path)
    path, latest = config({"trainer.max_epochs": 1}), Path("runs/latest")
    answer = tlzoo("fit", "--config", path, "--run-dir", "runs/first")
    assert latest.readlink() == Path("first")
    assert "next: tlzoo test runs/latest; tlzoo predict runs/latest CRYSTALS\n" in answer.out
    assert tlzoo("fit", "--config", path, "--run-dir", "runs/deep/er").code == 0
    assert latest.readlink() == Path("deep/er")
    for command in (("test", latest), ("predict", latest, few), ("validate", latest)):
        answer = tlzoo(*command)
        assert answer.code == 0, answer.err
    assert "test" in json.loads(Path("runs/deep/er/metrics.json").read_text())
    answer = tlzoo("fit", "--config", path, "--run-dir", tmp_path / "elsewhere")
    assert f"next: tlzoo test {tmp_path / 'elsewhere'}; " in answer.out
    assert latest.readlink() == Path("deep/er")
    # a comparison, not one of its trainings
    common = ("--target", "band_gap", "--from", "cgcnn-fe", "--pooling", "mean", "--learning-rates", "1e-3")
    tuned = ("finetune", few, *common, "--epochs", 1, "--run-dir", "runs/tuned")
    assert tlzoo(*tuned).code == 0
    assert latest.readlink() == Path("tuned")
    assert tlzoo("predict", latest, few).code == 0
    assert "was computed" in tlzoo("test", latest).out
    # the same command again: what is shown is the latest
    assert tlzoo("fit", "--config", path, "--run-dir", "runs/first").code == 0
    assert latest.readlink() == Path("first")
    assert tlzoo(*tuned).code == 0
    assert latest.readlink() == Path("tuned")


def test_a_run_in_latest_itself_stays_there(tlzoo, trained, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Path(shutil.copytree(trained, "runs/latest"))
    before = content(run)
    answer = tlzoo("fit", "--config", trained.parent / "config.yaml")
    assert answer.code == 0, answer.err
    assert answer.out.endswith("run directory: runs/latest\n")
    assert content(run)["best.ckpt"] == before["best.ckpt"]
    before = content(run)
    answer = tlzoo("fit", "--config", config({"trainer.max_epochs": 1}))
    assert answer.code == 0, answer.err
    assert not run.is_symlink()
    assert content(run) == before
    assert len(list(Path("runs").iterdir())) == 2
    assert tlzoo("test", "runs/latest").code == 0


def test_bare_comparisons_do_not_meet(tlzoo, few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ("finetune", few, "--target", "band_gap", "--from", "cgcnn-fe", "--pooling", "mean")
    for rate in ("1e-3", "2e-3"):
        answer = tlzoo(*common, "--epochs", 1, "--batch-size", 8, "--learning-rates", rate)
        assert answer.code == 0, answer.err
        assert f"run directory: {Path('runs/finetune').readlink().name}" in answer.out.replace("runs/", "")
    assert len(list(Path("runs").glob("finetune-few-band_gap-*"))) == 2
    assert package.load("runs/finetune").card["targets"] == ["band_gap"]


# --- a run of somebody else

EVIL = "raise SystemExit('run because a file named it')"


@pytest.fixture
def evil(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(tmp_path)
    yield {"class_path": "evil.Thing"}
    sys.modules.pop("evil", None)


@pytest.mark.parametrize("command", ["test", "validate"])
@pytest.mark.parametrize(
    "key",
    [
        "model.backbone", "model.head", "model.freezing", "model.optimizer", "data.split", "trainer.logger",
        "trainer.callbacks", "trainer.strategy", "trainer.plugins", "trainer.profiler", "trainer.accelerator",
    ],
)  # fmt: skip
def test_no_class_of_a_configuration_is_built(key, command, evil, tlzoo, run):
    tree = yaml.safe_load((run / "config.yaml").read_text())
    section, name = key.split(".")
    tree[section][name] = [evil] if name in ("callbacks", "plugins") else evil
    (run / "config.yaml").write_text(yaml.safe_dump(tree))
    answer = tlzoo(command, run)
    assert answer.code == 0, answer.err
    assert "evil" not in sys.modules
    with pytest.raises(SystemExit, match="because a file named it"):
        tlzoo(command, run, "--trust")


@pytest.mark.parametrize("part", ["backbone", "head"])
@pytest.mark.parametrize("path", ["evil.Thing", "subprocess.Popen", "tlzoo.plugins.Plugin"])
def test_no_class_of_a_resume_file_is_built(path, part, evil, tlzoo, run):
    state = torch.load(run / "best.ckpt", weights_only=True)  # noqa: TID251
    state["spec"][part] = {"class_path": path, "init_args": {}}
    torch.save(state, run / "best.ckpt")
    answer = tlzoo("test", run)
    assert answer.code == 2
    assert path in answer.err
    assert ("--trust" in answer.err) == (not path.startswith("tlzoo."))
    assert "evil" not in sys.modules


def test_a_class_among_the_arguments_is_not_built(evil, tlzoo, run):
    state = torch.load(run / "best.ckpt", weights_only=True)  # noqa: TID251
    state["spec"]["backbone"]["init_args"]["graph"] = {**evil, "init_args": {}}
    torch.save(state, run / "best.ckpt")
    answer = tlzoo("test", run)
    assert answer.code == 2
    assert "describe a backbone whose arguments are no plain data" in answer.err
    assert "evil" not in sys.modules


def test_an_accelerator_is_a_name(evil, tlzoo, run):
    tree = yaml.safe_load((run / "config.yaml").read_text())
    tree["trainer"]["accelerator"] = evil["class_path"]
    (run / "config.yaml").write_text(yaml.safe_dump(tree))
    assert tlzoo("test", run).code == 0
    assert "evil" not in sys.modules


# --- damage

HEAD = "id,part,property,target,prediction,unit"
DAMAGE = {
    "metrics.json": [b"", b"{", b"[]", b'{"targets": 5}', b"\xff\xfe", b"[" * 100_000],
    "predictions.csv": [
        b"",
        b"\x00\xff",
        b"id,part\n1,train\n",
        b"id,part,property,target,prediction,unit\na,x,,,,\n",
    ],
    "config.yaml": [b"", b"- 1", b"model: [", b"model: 5\n", b"data: {}\n", b"\xff\xfe\x00", b"[" * 20_000],
    "split.json": [b"", b"[]", b'{"train": 5, "val": [], "test": []}', b'{"train": ["a"]}', b"[" * 100_000],
    "environment.json": [b"", b"[]", b"{", b"\xff"],
}


@pytest.mark.parametrize("command", ["fit", "test"])
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_named(name, command, tlzoo, trained, run):
    for text in DAMAGE[name]:
        (run / name).write_bytes(text)
        config = ("--config", trained.parent / "config.yaml", "--run_dir")
        answer = tlzoo(command, *(config if command == "fit" else ()), run)
        assert answer.code == 2, (text[:20], answer)
        assert answer.err.startswith("tlzoo: ")
        assert str(run / name) in answer.err, text[:20]
        assert (run / name).read_bytes() == text


@pytest.mark.parametrize("text", [b"", b"\x00\xff", b"[]\n"])
def test_a_damaged_history_is_named(text, tmp_path):
    (tmp_path / "history.csv").write_bytes(text)
    with pytest.raises(UserError, match=r"history\.csv is damaged"):
        Run(tmp_path).curves  # noqa: B018


MACHINE = {
    "a negative seed": (
        ("--seed_everything", "-1"),
        "seed_everything must be 0 or more and less than 2**32, got -1",
    ),
    "a seed that is too large": (("--seed_everything", 2**32), "got 4294967296"),
    "no TPU": (("--trainer.accelerator", "tpu"), "trainer: Requirement 'torch_xla"),
}


@pytest.mark.parametrize("name", MACHINE)
def test_what_the_machine_cannot_do_is_told(name, tlzoo, config, tmp_path):
    more, said = MACHINE[name]
    answer = tlzoo("fit", "--config", config(), "--run_dir", tmp_path / "run", *more)
    assert answer.code == 2
    assert said in answer.err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_told(tlzoo, config, run, tmp_path):
    for command in (("fit", "--config", config(), "--run_dir", tmp_path / "new"), ("test", run)):
        answer = tlzoo(*command, "--trainer.accelerator", "gpu")
        assert answer.code == 2
        assert answer.err.endswith("This machine has none: --trainer.accelerator cpu, or leave it out\n")


@pytest.mark.skipif(any(map(find_spec, ("tensorboard", "tensorboardX"))), reason="its package is there")
def test_a_logger_without_its_package_is_told(tlzoo, config, tmp_path):
    logger = {"class_path": "TensorBoardLogger", "init_args": {"save_dir": str(tmp_path)}}
    answer = tlzoo("fit", "--config", config({"trainer.logger": logger}), "--run_dir", tmp_path / "run")
    assert answer.code == 2
    assert answer.err.startswith("tlzoo: lightning.pytorch.loggers.TensorBoardLogger cannot be built: ")
    assert answer.err.count("\n") == 1
