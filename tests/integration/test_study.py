"""`tlzoo study` on a few crystals of the embedded data set: run, resume, status, table."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import tlzoo
from tlzoo.study import load, results
from tlzoo.study.job import Job, perform
from tlzoo.study.preparation import Memory, Prepared
from tlzoo.study.study_folder import Folder

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def written(few, tmp_path_factory):
    """A study of two networks and two learning rates, of which one diverges."""
    tree = {
        "base": {
            "model": {"head": {"class_path": "Regression", "init_args": {"hidden": [8]}}},
            "data": {
                "source": str(few),
                "targets": ["band_gap"],
                "split": {
                    "class_path": "Random",
                    "init_args": {"val": 4, "test": 4, "keep_duplicates_together": False},
                },
                "batch_size": 8,
            },
            "trainer": {"max_epochs": 2, "accelerator": "cpu"},
        },
        "axes": {
            "net": {
                name: {"model": {"backbone": {"class_path": "CGCNN", "init_args": {"dim": dim, "depth": 1}}}}
                for name, dim in (("narrow", 4), ("wide", 8))
            },
            "rate": {
                str(rate): {
                    "model": {"optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": rate}}}
                }
                for rate in (1e30, 1e-2)
            },
            "trial": {"key": ["seed_everything", "data.split.init_args.seed"], "values": [1, 2]},
        },
        "tune": {"axes": ["rate"], "with": {"trial": 1}},
        "average": ["trial"],
    }

    def write(changes=None, name="study.yaml"):
        path = tmp_path_factory.mktemp("study") / name
        path.write_text(yaml.safe_dump({**tree, **(changes or {})}, sort_keys=False))
        return path

    return write


@pytest.fixture(scope="module")
def done(tlzoo, written, tmp_path_factory):
    """A finished study and what the command said; not to be changed."""
    file, folder = written(), tmp_path_factory.mktemp("results") / "study"
    return file, folder, tlzoo("study", "run", file, "--dir", folder)


def test_a_study_leaves_a_row_per_run_and_a_table(done):
    file, folder, answer = done
    assert answer.code == 1, "two runs failed"
    assert answer.err == ""
    lines = answer.out.splitlines()
    assert len(lines) == 6 + 2
    assert [line.split()[0] for line in lines[:6]] == [f"[{n}/6]" for n in range(1, 7)]
    # in the order in which processes finish
    assert sum(" net=wide rate=0.01 trial=2: validation MAE " in line for line in lines[:6]) == 1
    assert lines[-2:] == ["study: 4 of 6 runs done, 2 failed", f"results: {folder / 'results.parquet'}"]
    assert {path.name for path in folder.iterdir()} == {"rows", "predictions", "claims", "results.parquet"}
    assert not any((folder / "claims").iterdir())
    study = load(file)
    table = results(study, folder)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "results.parquet"), table)
    assert len(table) == 6
    good, bad = table[table["status"] == "done"], table[table["status"] == "failed"]
    assert set(good["rate"]) == {"0.01"}
    assert good["chosen"].all()
    assert not bad["chosen"].any()
    assert bad["error"].str.startswith("the training loss became").all()
    assert (good[["n_train", "n_val", "n_test", "epochs"]] == [16, 4, 4, 2]).all(axis=None)
    assert set(good["unit"]) == {"eV"}
    assert (good["training_seconds"] <= good["seconds"]).all()


def test_predictions_are_those_of_the_error(done):
    _, folder, _ = done
    rows = [row for row in Folder(folder).rows().values() if row["status"] == "done"]
    assert {path.stem for path in (folder / "predictions").iterdir()} == {row["id"] for row in rows}
    for row in rows:
        table = pd.read_parquet(folder / "predictions" / f"{row['id']}.parquet")
        assert list(table.columns) == ["id", "target", "prediction"]
        assert np.abs(table["prediction"] - table["target"]).mean() == pytest.approx(
            row["test_mae"], rel=1e-5
        )


def test_a_run_is_what_fit_and_test_do(done, tlzoo, tmp_path):
    """The same numbers to the last digit, though the process had trained other networks before."""
    file, folder, _ = done
    last = next(r for r in load(file).runs() if list(r.labels.values()) == ["wide", "0.01", 2])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(last.tree))
    run = tmp_path / "run"
    assert tlzoo("fit", "--config", tmp_path / "config.yaml", "--run_dir", run).code == 0
    assert tlzoo("test", run).code == 0
    metrics = json.loads((run / "metrics.json").read_text())
    row = Folder(folder).rows()[last.id]
    for part, names in (("val", ("mae", "rmse")), ("test", ("mae", "rmse", "r2"))):
        assert {name: row[f"{part}_{name}"] for name in names} == {
            name: metrics[part][name] for name in names
        }
    history = pd.read_csv(run / "history.csv")["val/mae"]
    assert row["best_epoch"] == history.argmin() + 1


def test_status_and_table(done, tlzoo):
    file, folder, _ = done
    status = tlzoo("study", "status", file, "--dir", folder)
    assert status.code == 0
    assert status.out.startswith("study: 4 of 6 runs done, 2 failed\n")
    assert "net=narrow rate=1e+30 trial=1: the training loss became" in status.out
    table = tlzoo("study", "table", file, "--dir", folder, "--by", "net", "--format", "markdown")
    assert table.out.startswith("| net | test MAE | unit |\n")
    assert len(table.out.splitlines()) == 4
    chosen = tlzoo("study", "table", file, "--dir", folder, "--choose", "net", "--format", "csv")
    assert len(chosen.out.splitlines()) == 2
    for words, message in (
        (("--by", "nut"), "--by: there is no axis 'nut'; there are: net, rate, trial; did you mean 'net'?"),
        (("--only", "net=x"), "--only: the axis net has no value 'x'; there are: narrow, wide"),
    ):
        answer = tlzoo("study", "table", file, "--dir", folder, *words)
        assert (answer.code, answer.err) == (2, f"tlzoo: {message}\n")
    answer = tlzoo("study", "table", file, "--dir", folder / "none")
    assert answer.err.startswith(
        f"tlzoo: there are no results yet in {folder / 'none'}; begin: tlzoo study run"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"average": [], "base": {"data": {"colour": "red"}}}, "net=narrow rate=1e+30 trial=1: "),
        ({"skip": [{"sauce": 1}]}, "skip: there is no axis 'sauce'"),
    ],
)
def test_a_study_that_is_wrong_runs_nothing(changes, message, tlzoo, written, tmp_path):
    answer = tlzoo("study", "run", written(changes), "--dir", tmp_path / "x")
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "x").exists()


def test_numbers_on_the_command_line_are_checked(tlzoo, written):
    for word in ("--jobs", "--limit"):
        answer = tlzoo("study", "run", written(), word, 0)
        assert (answer.code, answer.err) == (2, f"tlzoo: {word} must be at least 1, got 0\n")


def test_a_page_of_a_study_in_which_runs_failed(done, tlzoo, tmp_path):
    file, folder, _ = done
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    answer = tlzoo("study", "report", file, "--dir", folder, "-o", tmp_path / "page.html")
    assert (answer.code, answer.err) == (0, "")
    files = [Path(line) for line in answer.out.splitlines()]
    assert [path.name for path in files] == ["page.html", "page-figure-1.png", "page-figure-1.svg"]
    text = files[0].read_text()
    assert "4 of 6 done" in text
    assert "2 failed" in text
    assert text.count("the training loss became") == 2 * 2, "shown, and what the table is sorted by"
    table = results(load(file), folder)
    for _, runs in table[table["chosen"]].groupby("net"):
        errors = runs["test_mae"]
        assert f"{errors.mean():.4g} ± {errors.std():.2g}" in text
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def job(tree, tmp_path):
    return Job("x", {"a": 1}, tree, (), tmp_path / "work")


def test_a_run_that_fails_says_why(done, tmp_path, monkeypatch):
    tree = load(done[0]).runs()[-1].tree
    tree["model"]["head"] = {"class_path": "Classification"}
    row = perform([job(tree, tmp_path)], Memory()).outcomes[0].row
    assert (row["status"], row["id"], row["labels"]) == ("failed", "x", {"a": 1})
    assert row["error"].startswith(
        "a study wants one number per crystal to learn, got band_gap with the head"
    )
    assert "traceback" not in row
    monkeypatch.setattr("tlzoo.study.job.prepared", lambda *_: {}["no"])
    row = perform([job(tree, tmp_path)], Memory()).outcomes[0].row
    assert (row["status"], row["error"]) == ("failed", "KeyError: 'no'")
    assert "Traceback" in row["traceback"]


def test_of_several_targets_the_first_is_measured(done, tmp_path):
    tree = load(done[0]).runs()[-1].tree
    tree["model"]["head"] = {
        "class_path": "MultiProperty",
        "init_args": {"targets": ["band_gap", "other"], "hidden": []},
    }
    table = tlzoo.read("semiconductors")
    other = table.column("band_gap") * 2
    other[::2] = np.nan
    columns = {"band_gap": table.column("band_gap"), "other": other}
    replace(table, columns=columns, units={}).write_parquet(tmp_path / "two.parquet")
    tree["data"] |= {"source": str(tmp_path / "two.parquet"), "targets": ["band_gap", "other"]}
    tree["data"]["split"] = {"class_path": "ByTarget", "init_args": {"base": {"class_path": "Random"}}}
    done_ = perform([job(tree, tmp_path)], Memory()).outcomes[0]
    assert done_.row["status"] == "done", done_.row
    assert done_.row["property"] == "band_gap"
    said = done_.predictions
    error = (said["prediction"] - said["target"]).abs().mean()
    assert done_.row["test_mae"] == pytest.approx(error, rel=1e-5)


def test_table_and_split_are_read_once(done, tmp_path, monkeypatch):
    tree = load(done[0]).runs()[-1].tree
    memory = Memory()
    perform([job(tree, tmp_path)], memory)
    monkeypatch.setattr("tlzoo.data.intake.read", lambda *_, **__: pytest.fail("read again"))
    same = {**tree, "data": {**tree["data"], "batch_size": 4}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tlzoo.data.splits.splitter.Splitter.split", lambda *_, **__: pytest.fail("split again")
        )
        assert perform([job(same, tmp_path)], memory).outcomes[0].row["status"] == "done"
    other = {**tree, "data": {**tree["data"], "split": {"class_path": "Random", "init_args": {"test": 7}}}}
    assert perform([job(other, tmp_path)], memory).outcomes[0].row["n_test"] == 7


def test_runs_of_one_shape_are_one_training(written, tlzoo, tmp_path, monkeypatch):
    """With other learning rates, seeds and splits, and one that diverges: each as it is alone."""
    net = {
        "model": {"backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}}},
        "trainer": {"precision": "64-true"},  # what differs by rounding alone stays near
    }
    rates = {
        str(rate): {"model": {"optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": rate}}}}
        for rate in (1e200, 1e-2)
    }
    trial = {"key": ["seed_everything", "data.split.init_args.seed"], "values": [1, 2]}
    axes = {"net": {"one": net}, "rate": rates, "trial": trial}
    file, sizes = written({"axes": axes, "tune": None}), []
    together = Prepared.together

    def counted(several):
        sizes.append(len(several))
        return together(several)

    monkeypatch.setattr(Prepared, "together", counted)
    assert tlzoo("study", "run", file, "--dir", tmp_path / "one", "--jobs", 1).code == 1
    assert sizes == [4]
    monkeypatch.setattr("tlzoo.study.job._as_one", lambda *_: [])
    assert tlzoo("study", "run", file, "--dir", tmp_path / "alone", "--jobs", 1).code == 1
    ours, theirs = (Folder(tmp_path / name).rows() for name in ("one", "alone"))
    assert ours.keys() == theirs.keys()
    for name, row in ours.items():
        other = theirs[name]
        assert row.keys() == other.keys()
        assert (row["status"], row.get("error"), row.get("settled")) == (
            other["status"], other.get("error"), other.get("settled")
        )  # fmt: skip
        if row["status"] == "done":
            for key in ("val_mae", "test_mae", "test_rmse"):
                assert row[key] == pytest.approx(other[key], rel=1e-4)
            for key in ("best_epoch", "epochs", "n_train", "property"):
                assert row[key] == other[key]
            tables = [
                pd.read_parquet(tmp_path / place / "predictions" / f"{name}.parquet")
                for place in ("one", "alone")
            ]
            pd.testing.assert_frame_equal(*tables, rtol=1e-4)


def test_a_run_that_cannot_be_built_leaves_the_others_together(written, tlzoo, tmp_path, monkeypatch):
    net = {"one": {"model": {"backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}}}}}
    held_out = {"key": "data.split.init_args.test", "values": [999, 3, 4, 5]}  # of 24 crystals
    file, sizes = written({"axes": {"net": net, "out": held_out}, "tune": None, "average": []}), []
    together = Prepared.together
    monkeypatch.setattr(Prepared, "together", lambda some: sizes.append(len(some)) or together(some))
    answer = tlzoo("study", "run", file, "--dir", tmp_path / "one", "--jobs", 1)
    assert sizes == [3]
    assert "one: 3 of 4 runs done, 1 failed" in answer.out.replace("study:", "one:")
    row = next(row for row in Folder(tmp_path / "one").rows().values() if row["status"] == "failed")
    assert "999" in row["error"]
    assert "traceback" not in row


COMMAND = [sys.executable, "-m", "tlzoo", "study", "run"]


def wait_for(what, seconds=600):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def children(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_a_study_trains_what_its_runs_start_from(tlzoo, written, few, tmp_path):
    network = {"class_path": "CGCNN", "init_args": {"dim": 4, "depth": 1}}
    source = {
        "model": {"backbone": network, "head": {"class_path": "Regression"}, "keep": "last"},
        "data": {"source": str(few), "targets": ["band_gap"]},
        "trainer": {"max_epochs": 3, "accelerator": "cpu"},
    }
    trained = {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": "source:first"}}
    axes = {
        "start": {"scratch": {"model": {"backbone": network}}, "first": {"model": {"backbone": trained}}},
        "rate": {
            "key": "model.optimizer",
            "values": ["torch.optim.AdamW"],
        },
    }
    file = written({"sources": {"first": source}, "axes": axes, "tune": None, "average": []})
    folder = tmp_path / "study"
    said = tlzoo("study", "run", file, "--dir", folder)
    assert "source network=first: validation MAE" in said.out
    study = load(file)
    kept = Folder(folder).model(study.sources["first"].id)
    # a run directory like any other, and where the run begins
    assert {"model.safetensors", "model.json", "history.csv", "metrics.json"} <= {
        p.name for p in kept.iterdir()
    }
    table = results(study, folder).set_index("start")
    assert table["status"].tolist() == ["done", "done"]
    assert table.loc["first", "started_from"] == f"source:first@{study.sources['first'].id}"
    tree = next(run.tree for run in study.runs() if run.labels["start"] == "first")
    tree["model"]["backbone"]["init_args"]["name"] = str(kept)
    (tmp_path / "same.yaml").write_text(yaml.safe_dump(tree))
    tlzoo("fit", "--config", tmp_path / "same.yaml", "--run_dir", tmp_path / "same")
    tlzoo("test", tmp_path / "same")
    metrics = json.loads((tmp_path / "same" / "metrics.json").read_text())
    assert metrics["test"]["mae"] == table.loc["first", "test_mae"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_killed_study_loses_nothing_that_is_finished(written, tmp_path):
    axes = {"trial": {"key": "data.split.init_args.seed", "values": list(range(60))}}
    file, folder = written({"axes": axes, "tune": None}, "many.yaml"), Folder(tmp_path / "many")
    command = [*COMMAND, str(file), "--dir", str(folder.path), "--jobs", "2"]
    network = {"model": {"backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}}}}
    tree = yaml.safe_load(file.read_text())
    tree["base"] |= {"model": tree["base"]["model"] | network["model"]}
    file.write_text(yaml.safe_dump(tree))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: len(folder.rows()) >= 2)
        workers = children(process)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(workers) >= 2
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert folder.claimed() == set()
    before = {name: folder.row(name).stat().st_mtime_ns for name in folder.rows()}
    assert 2 <= len(before) < 60

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as one:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            said, _ = other.communicate()
        one.wait()
    assert (one.returncode, other.returncode) == (0, 0)
    assert "many: 60 of 60 runs done" in said
    assert {name: folder.row(name).stat().st_mtime_ns for name in before} == before
    table = pd.read_parquet(folder.results)
    assert (table["status"] == "done").all()
    assert len(table) == 60
    assert not list(folder.path.glob("*/*.partial"))
    assert not any((folder.path / "claims").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("sent", "code", "told", "end"),
    [
        (
            signal.SIGSEGV,
            1,
            "failed: the process that computed it ended with code -11",
            "1 of 2 runs done, 1 failed",
        ),
        (signal.SIGKILL, 0, "its runs are done again, 1 at a time", "2 of 2 runs done"),
    ],
    ids=["broken", "killed"],
)
def test_a_process_that_dies_fails_its_run_alone(written, tmp_path, sent, code, told, end):
    """One that was killed, as where memory is short, is done again."""
    file, folder = written(), Folder(tmp_path / "killed")
    command = [*COMMAND, str(file), "--dir", str(folder.path), "--jobs", "2"]
    command += ["--only", "rate=0.01", "trial=1"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **streams) as process:
        wait_for(lambda: folder.path.exists() and len(folder.claimed()) == 2)
        os.kill(wait_for(lambda: children(process))[-1], sent)
        said, _ = process.communicate()
    assert process.returncode == code
    assert told in said
    assert end in said


TIMES = {"seconds", "training_seconds", "finished"}


@pytest.fixture
def cluster():
    """The address of two Ray nodes with a core each, on this machine."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes.add_node(num_cpus=1)
        yield nodes.address
    finally:
        nodes.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray leaves files and sockets to the end of the process
def test_ray_gives_the_rows_of_this_process(done, tlzoo, cluster, tmp_path):
    file, folder, _ = done
    answer = tlzoo("study", "run", file, "--dir", tmp_path / "ray", "--backend", "ray", "--address", cluster)
    assert answer.code == 1, "two runs fail, as they do here"
    assert answer.out.splitlines()[-2] == "study: 4 of 6 runs done, 2 failed"

    def facts(path):
        return {
            name: {key: value for key, value in row.items() if key not in TIMES}
            for name, row in Folder(path).rows().items()
        }

    assert facts(tmp_path / "ray") == facts(folder)
    for path in (folder / "predictions").iterdir():
        pd.testing.assert_frame_equal(
            pd.read_parquet(path), pd.read_parquet(tmp_path / "ray" / "predictions" / path.name)
        )
    answer = tlzoo(
        *("study", "run", file, "--dir", tmp_path / "none", "--backend", "ray", "--address", cluster),
        *("--gpus-per-run", 0.5),
    )
    assert answer.err.startswith("tlzoo: Ray has no room for a run with 1 CPUs and 0.5 GPUs; ask for less")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_lost_ray_worker_fails_its_run_alone(done, cluster, tmp_path):
    import ray

    from tlzoo.study.ray_runs import Ray

    first, *_, last = load(done[0]).runs()
    with Ray(address=cluster) as backend:
        assert backend.slots == 2
        for run in (first, last):
            backend.submit([Job(run.id, run.labels, run.tree, (), tmp_path / "work")])
        ray.kill(next(worker for jobs, worker in backend._busy.values() if jobs[0].id == first.id))
        rows = {}
        while len(rows) < 2:
            done = [outcome for returned in backend.finished() for outcome in returned.outcomes]
            rows |= {outcome.row["id"]: outcome.row for outcome in done}
        assert rows[first.id]["error"].startswith("the Ray worker that computed it was lost: ")
        assert "settled" not in rows[first.id]
        assert rows[last.id]["status"] == "done"
        backend.submit([Job("again", last.labels, last.tree, (), tmp_path / "work")])
        assert backend.finished()[0].outcomes[0].row["test_mae"] == rows[last.id]["test_mae"]
    assert not ray.is_initialized()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_ctrl_c_ends_a_study_on_ray_and_ray_with_it(written, tmp_path):
    network = {"model": {"backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}}}}
    axes = {"net": {"one": network}}
    axes["trial"] = {"key": "data.split.init_args.seed", "values": list(range(60))}
    file, folder = written({"axes": axes, "tune": None}), Folder(tmp_path / "stopped")
    command = [*COMMAND, str(file), "--dir", str(folder.path), "--jobs", "2", "--backend", "ray"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for(lambda: len(folder.rows()) >= 1 or process.poll() is not None)
        assert process.poll() is None, process.stderr.read()
        below = children(process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all in the foreground
        _, said = process.communicate()
    assert process.returncode == 2
    assert said.startswith("tlzoo: stopped. ")
    assert below
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
    assert folder.claimed() == set()
    assert 1 <= len(folder.rows()) < 60
