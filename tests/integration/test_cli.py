"""The main job, end to end on the embedded data set: fit, test, validate, predict, fine-tune."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

import tlzoo as package
from tlzoo.__main__ import main
from tlzoo.data import named
from tlzoo.training.task import Task

FILES = {
    "config.yaml",
    "split.json",
    "environment.json",
    "history.csv",
    "metrics.json",
    "predictions.csv",
    "parity.png",
    "learning-curve.png",
    "embedding-map.png",
    "best.ckpt",
    "last.ckpt",
    "model.safetensors",
    "model.domain.safetensors",
    "model.json",
}
SMALL = """\
seed_everything: 3
model:
  backbone: {class_path: CGCNN, init_args: {dim: 8, depth: 1}}
  head: {class_path: Regression, init_args: {hidden: [8]}}
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-2}}
data: {source: semiconductors, split: {class_path: Random, init_args: {keep_duplicates_together: false}}}
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def fitted(tlzoo, small, tmp_path_factory):
    """A finished run and what the command said; not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "small"
    answer = tlzoo("fit", "--config", small, "--run_dir", run)
    assert answer.code == 0, answer.err
    return run, answer


@pytest.fixture(scope="module")
def tested(tlzoo, fitted, tmp_path_factory):
    """The run after `tlzoo test`, and what that said; not to be changed."""
    run = tmp_path_factory.mktemp("tested") / "small"
    shutil.copytree(fitted[0], run)
    answer = tlzoo("test", run)
    assert answer.code == 0, answer.err
    return run, answer


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors")


@pytest.fixture(scope="module")
def files(crystals, tmp_path_factory):
    """Five crystals as a folder of files, in neither alphabetical nor numerical order of their ids."""
    folder = tmp_path_factory.mktemp("crystals")
    rows = [7, 2, 40, 0, 100]
    for row, ending in zip(rows, [".cif", ".cif", ".vasp", ".cif", ".poscar"], strict=True):
        crystals.structure(row).to(
            filename=str(folder / f"{crystals.ids[row]}{ending}"), fmt="cif" if ending == ".cif" else "poscar"
        )
    return folder, [crystals.ids[row] for row in rows]


def test_fit_leaves_all_that_is_promised(fitted):
    run, answer = fitted
    assert {path.name for path in run.iterdir()} == FILES
    assert f"run directory: {run}" in answer.out
    for name in ("parity.png", "learning-curve.png", "embedding-map.png"):
        assert (run / name).read_bytes().startswith(b"\x89PNG")


def test_environment_says_what_ran(fitted, crystals):
    environment = json.loads((fitted[0] / "environment.json").read_text())
    assert environment["seed"] == 3
    assert environment["data_sha256"] == crystals.content_hash
    assert environment["source"] == "semiconductors"
    assert environment["versions"]["tlzoo"] == package.__version__
    assert {"torch", "lightning", "numpy", "pymatgen", "vesin"} <= environment["versions"].keys()


def test_history_has_a_row_per_epoch(fitted):
    history = pd.read_csv(fitted[0] / "history.csv")
    assert history["epoch"].tolist() == [1, 2]
    assert {"train/loss", "train/mae", "val/loss", "val/mae", "val/rmse", "val/r2", "learning_rate"} <= set(
        history.columns
    )
    assert history.notna().all(axis=None)


def test_predictions_name_part_property_and_unit(fitted, crystals):
    run = fitted[0]
    table = pd.read_csv(run / "predictions.csv")
    assert list(table.columns) == ["id", "part", "property", "target", "prediction", "unit"]
    assert set(table["unit"]) == {"eV"}
    assert set(table["property"]) == {"band_gap"}
    split = json.loads((run / "split.json").read_text())
    for part in ("train", "val"):
        assert table.loc[table["part"] == part, "id"].tolist() == split[part]
    truth = dict(zip(crystals.ids, crystals.column("band_gap"), strict=True))
    np.testing.assert_allclose(table["target"], [truth[name] for name in table["id"]], rtol=1e-6)


def test_the_test_part_stays_unseen_until_asked_for(fitted):
    assert set(pd.read_csv(fitted[0] / "predictions.csv")["part"]) == {"train", "val"}
    assert "test" not in json.loads((fitted[0] / "metrics.json").read_text())


def test_test_adds_the_test_part_and_baselines(tested):
    run, answer = tested
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["targets"] == {"band_gap": "eV"}
    assert {"mean", "random forest"} <= metrics["baselines"]["band_gap"].keys()
    assert metrics["baselines"]["band_gap"]["mean"]["test"]["mae"] > 1
    for row in ("train ", "val ", "test ", "test, mean", "test, random forest"):
        assert f"\n{row}" in f"\n{answer.out}", row
    assert "band_gap in eV" in answer.out
    assert f"parity plot: {run / 'parity.png'}" in answer.out
    assert json.loads((run / "model.json").read_text())["metrics"]["test"] == metrics["test"]


@pytest.mark.parametrize(("command", "part"), [("validate", "val"), ("test", "test")])
def test_each_crystal_is_predicted_once(command, part, tlzoo, fitted, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(fitted[0], run)
    predicted = []
    compute = Task._compute
    monkeypatch.setattr(
        Task, "_compute", lambda self, b: predicted.append(b.num_crystals) or compute(self, b)
    )
    assert tlzoo(command, run).code == 0
    assert sum(predicted) == len(json.loads((run / "split.json").read_text())[part])


def test_metrics_follow_from_the_predictions(tested):
    run = tested[0]
    metrics = json.loads((run / "metrics.json").read_text())
    table = pd.read_csv(run / "predictions.csv")
    sizes = {}
    for part, rows in table.groupby("part"):
        error = rows["prediction"] - rows["target"]
        spread = rows["target"] - rows["target"].mean()
        sizes[part] = len(rows)
        assert metrics[part]["crystals"] == len(rows)
        np.testing.assert_allclose(metrics[part]["mae"], error.abs().mean(), rtol=1e-5)
        np.testing.assert_allclose(metrics[part]["rmse"], np.sqrt((error**2).mean()), rtol=1e-5)
        np.testing.assert_allclose(
            metrics[part]["r2"], 1 - (error**2).sum() / (spread**2).sum(), rtol=1e-4, atol=1e-5
        )
    assert sum(sizes.values()) == 203
    assert set(sizes) == {"train", "val", "test"}


def test_a_card_describes_the_model(fitted, crystals):
    card = json.loads((fitted[0] / "model.json").read_text())
    assert card["targets"] == ["band_gap"]
    assert card["units"] == ["eV"]
    assert card["data_sha256"] == crystals.content_hash
    assert card["spec"]["backbone"]["class_path"] == "tlzoo.backbones.CGCNN"
    assert card["spec"]["backbone"]["init_args"]["graph"]["cutoff"] == 8.0


def test_what_is_predicted_is_of_the_best_epoch(fitted):
    history = pd.read_csv(fitted[0] / "history.csv")
    metrics = json.loads((fitted[0] / "metrics.json").read_text())
    np.testing.assert_allclose(metrics["val"]["mae"], history["val/mae"].min(), rtol=1e-5)


def test_the_last_epoch_can_be_kept(tlzoo, small, tmp_path):
    uphill = tmp_path / "uphill.yaml"  # each epoch is worse than the one before
    optimizer = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "maximize": True}}
    uphill.write_text(
        yaml.safe_dump({"model": {"optimizer": optimizer, "schedule": "constant", "keep": "last"}})
    )
    answer = tlzoo("fit", "--config", small, "--config", uphill, "--run_dir", tmp_path)
    assert answer.code == 0, answer.err
    course = pd.read_csv(tmp_path / "history.csv")["val/mae"]
    assert course.min() < course.iloc[-1]  # or this would not tell them apart
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    np.testing.assert_allclose(metrics["val"]["mae"], course.iloc[-1], rtol=1e-5)


def test_validate_repeats_the_validation_part(tlzoo, fitted, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fitted[0], run)
    before = (run / "metrics.json").read_text()
    answer = tlzoo("validate", run)
    assert answer.code == 0, answer.err
    assert "\nval " in answer.out
    assert json.loads((run / "metrics.json").read_text()) == json.loads(before)


def test_a_finished_run_stays_as_it_is(tlzoo, fitted, small, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fitted[0], run)
    answer = tlzoo("fit", "--config", small, "--run_dir", run)
    assert answer.code == 0, answer.err
    for name in (
        "history.csv",
        "predictions.csv",
        "model.safetensors",
        "model.domain.safetensors",
        "metrics.json",
        "split.json",
    ):
        assert (run / name).read_bytes() == (fitted[0] / name).read_bytes(), name


def predictions(run: Path) -> pd.Series:
    return pd.read_csv(run / "predictions.csv").set_index("id")["prediction"]


def test_predict_files_in_the_order_given(tlzoo, tested, files, tmp_path):
    folder, ids = files
    given = [next(folder.glob(f"{name}.*")) for name in ids]
    answer = tlzoo("predict", tested[0], *given, "-o", tmp_path / "out.csv")
    assert answer.code == 0, answer.err
    assert answer.out == f"5 crystals: band_gap in eV → {tmp_path / 'out.csv'}\n"
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["id"].tolist() == ids
    # files hold fewer digits than the table
    np.testing.assert_allclose(table["band_gap"], predictions(tested[0])[ids], rtol=1e-4)


def test_predict_a_folder(tlzoo, tested, files, tmp_path):
    folder, ids = files
    assert tlzoo("predict", tested[0], folder, "-o", tmp_path / "out.csv").code == 0
    table = pd.read_csv(tmp_path / "out.csv")
    assert sorted(table["id"]) == sorted(ids)
    np.testing.assert_allclose(table["band_gap"], predictions(tested[0])[table["id"]], rtol=1e-4)


def test_predict_is_told_how_a_table_is_to_be_read(tlzoo, tested, files, tmp_path):
    folder, ids = files
    texts = [next(folder.glob(f"{name}.*")).read_text() for name in ids]
    # two columns of structures, ids under a name that nobody knows, one of them twice
    table = pd.DataFrame({"label": ids, "before": texts, "after": texts})
    pd.concat([table, table[:1]]).to_csv(tmp_path / "in.csv", index=False)
    asked = ("predict", tested[0], tmp_path / "in.csv", "-o", tmp_path / "out.csv")
    told = (("--structure-column", "after"), ("--id-column", "label"), ("--same-id", "average"))
    assert "say which counts (`--structure-column NAME`" in tlzoo(*asked).err
    assert "have the mean taken (`--same-id average`" in tlzoo(*asked, *told[0], *told[1]).err
    answer = tlzoo(*asked, *told[0], *told[1], *told[2])
    assert answer.code == 0, answer.err
    assert pd.read_csv(tmp_path / "out.csv")["id"].tolist() == ids


def test_predict_a_csv_of_structures(tlzoo, tested, files, tmp_path):
    folder, ids = files
    given = [next(folder.glob(f"{name}.*")) for name in ids]
    pd.DataFrame({"id": ids, "structure": [path.read_text() for path in given]}).to_csv(
        tmp_path / "in.csv", index=False
    )
    assert tlzoo("predict", tested[0], tmp_path / "in.csv", "-o", tmp_path / "out.csv").code == 0
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["id"].tolist() == ids
    np.testing.assert_allclose(table["band_gap"], predictions(tested[0])[ids], rtol=1e-4)


def test_predict_the_table_itself_gives_the_same(tlzoo, tested, crystals, tmp_path):
    crystals.write_parquet(tmp_path / "all.parquet")
    model = tested[0] / "model.safetensors"
    answer = tlzoo("predict", model, tmp_path / "all.parquet", "-o", tmp_path / "out.parquet")
    assert answer.code == 0, answer.err
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert table["id"].tolist() == crystals.ids.tolist()
    np.testing.assert_allclose(table["band_gap"], predictions(tested[0])[table["id"]], rtol=1e-5, atol=1e-6)


def test_the_python_interface_gives_the_same(tested, crystals):
    model = package.load(tested[0])
    rows = np.array([3, 1, 150])
    table = model.predict([crystals.structure(row) for row in rows])
    wanted = predictions(tested[0])[crystals.ids[rows]]
    np.testing.assert_allclose(table["band_gap"], wanted, rtol=1e-4)
    assert model.embed(crystals.select(rows)).shape == (3, 8)


def test_a_file_that_cannot_be_read_stops_a_prediction(tlzoo, tested, files, tmp_path):
    good = next(files[0].glob("*.cif"))
    bad = tmp_path / "cut.cif"
    bad.write_text(good.read_text()[:200])
    answer = tlzoo("predict", tested[0], good, bad, "-o", tmp_path / "out.csv")
    assert answer.code == 2
    assert answer.err.startswith("tlzoo: 1 crystal cannot be predicted:\n")
    assert f"  {bad}: " in answer.err
    assert answer.err.endswith("; correct them, or leave them out with --skip-bad\n")
    assert not (tmp_path / "out.csv").exists()


def test_bad_files_are_left_out_on_demand(tlzoo, tested, files, tmp_path):
    good = next(files[0].glob("*.cif"))
    cut = tmp_path / "cut.cif"
    cut.write_text(good.read_text()[:200])
    far = tmp_path / "far.vasp"
    far.write_text("gas\n1.0\n30 0 0\n0 30 0\n0 0 30\nHe\n1\ndirect\n0 0 0\n")
    radioactive = tmp_path / "Rf.vasp"
    radioactive.write_text("Rf\n1.0\n3 0 0\n0 3 0\n0 0 3\nRf\n1\ndirect\n0 0 0\n")
    given = [cut, good, far, radioactive]
    answer = tlzoo("predict", tested[0], *given, "-o", tmp_path / "out.csv", "--skip-bad")
    assert answer.code == 0, answer.err
    assert answer.err.startswith("tlzoo: left out: 3 crystals cannot be predicted:\n")
    for path in (cut, far, radioactive):
        assert f"  {path}: " in answer.err
    assert pd.read_csv(tmp_path / "out.csv")["id"].tolist() == [good.stem]


@pytest.mark.parametrize("head", ["new", "kept"])
def test_fine_tuning_leaves_the_backbone_as_it_was(head, tlzoo, fitted, small, tmp_path):
    run = tmp_path / "tuned"
    zoo = {"model.backbone": "tlzoo.zoo.backbone", "model.freezing": "NewHead"}
    if head == "kept":
        zoo |= {"model.head": "tlzoo.zoo.head", "model.freezing": "LastLayer"}
    tree = yaml.safe_load(small.read_text())
    for key, name in zoo.items():
        section, field = key.split(".")
        tree[section][field] = {"class_path": name}
        if "zoo" in name:
            tree[section][field]["init_args"] = {"name": str(fitted[0])}
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text(json.dumps(tree))
    answer = tlzoo("fit", "--config", tuned, "--run_dir", run)
    assert answer.code == 0, answer.err

    before, after = (load_file(path / "model.safetensors") for path in (fitted[0], run))
    changed = {name for name in after if not np.array_equal(before[name], after[name])}
    assert before.keys() == after.keys()
    assert not [name for name in changed if name.startswith("backbone.")]
    if head == "kept":
        assert changed == {"head.outs.0.weight", "head.outs.0.bias"}
    else:
        assert len(changed) >= 4
    # the exported model describes itself: it no longer needs the run it came from
    spec = json.loads((run / "model.json").read_text())["spec"]
    assert spec["backbone"]["class_path"] == "tlzoo.backbones.CGCNN"


def test_groups_are_shown_at_the_start(tlzoo, small, tmp_path, caplog):
    answer = tlzoo(
        "fit", "--config", small, "--run_dir", tmp_path / "run",
        "--trainer.max_epochs", 1, "--model.freezing", "LastLayer",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    lines = next(r.message for r in caplog.records if r.message.startswith("group")).splitlines()
    assert [line.split()[0] for line in lines] == [
        "group",
        "embed",
        "conv.0",
        "head.hidden",
        "head.out",
        "total",
    ]
    assert [line.split()[-1] for line in lines[1:-1]] == ["frozen", "frozen", "frozen", "trains"]


@pytest.mark.parametrize(("head", "said"), [("Regression", 1), ("Classification", 0)])
def test_classes_that_are_learned_as_numbers_are_remarked(tlzoo, small, tmp_path, caplog, head, said):
    crystals = named.load("semiconductors")[:20]
    columns = {"metal": np.arange(20) % 2}
    package.Crystals.from_structures(list(crystals), columns=columns).write_parquet(tmp_path / "a.parquet")
    answer = tlzoo(
        "fit", "--config", small, "--run_dir", tmp_path / "run", "--data.source", tmp_path / "a.parquet",
        "--data.targets", "[metal]", "--trainer.max_epochs", 1, "--model.head", head,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    text = (
        "metal is 0 or 1 in every crystal and is learned as a number; if these are two classes, take "
        "--model.head Classification"
    )
    assert [record.message for record in caplog.records].count(text) == said


def test_a_line_per_epoch_where_there_is_no_terminal(tlzoo, small, tmp_path, caplog):
    answer = tlzoo("fit", "--config", small, "--run_dir", tmp_path / "run")
    assert answer.code == 0, answer.err
    lines = [record.message for record in caplog.records if record.message.startswith("epoch")]
    mae = pd.read_csv(tmp_path / "run" / "history.csv")["val/mae"]
    assert len(lines) == 2
    for number, (line, value) in enumerate(zip(lines, mae, strict=True), start=1):
        assert re.fullmatch(rf"epoch {number}/2: val/mae {value:.4g} eV, \d+\.\d s, \d+ crystals/s", line), (
            line
        )


def test_help_imports_no_torch():
    code = (
        "import sys; from tlzoo.__main__ import main; code = main(['--help']); "
        "heavy = {'torch', 'lightning', 'pymatgen', 'pandas', 'numpy', 'yaml'} & set(sys.modules); "
        "assert not heavy, heavy; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: tlzoo COMMAND")
    for command in ("fit", "validate", "test", "predict", "data"):
        assert f"\n  {command} " in done.stdout


def test_a_network_predicts_without_what_only_training_needs(files, tmp_path):
    crystal = next(files[0].glob("*.cif"))
    code = (
        "import sys; from tlzoo.__main__ import main; "
        f"code = main(['predict', 'cgcnn-fe', {str(crystal)!r}, '-o', {str(tmp_path / 'out.csv')!r}]); "
        "heavy = {'lightning', 'torch_geometric', 'torchmetrics', 'sklearn', 'matplotlib', "
        "'pandas', 'pyarrow', 'torch._dynamo'} & set(sys.modules); assert not heavy, heavy; "
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert pd.read_csv(tmp_path / "out.csv")["id"].tolist() == [crystal.stem]


def test_training_from_a_store_needs_no_parser(tlzoo, config, tmp_path, monkeypatch):
    path = config()
    assert tlzoo("fit", "--config", path, "--run_dir", tmp_path / "first").code == 0
    for name in [*sys.modules, "pymatgen", "ase", "matminer", "wandb", "vesin"]:
        if name.split(".")[0] in {"pymatgen", "ase", "matminer", "wandb", "vesin"}:
            monkeypatch.setitem(sys.modules, name, None)
    answer = tlzoo("fit", "--config", path, "--run_dir", tmp_path / "second")
    assert answer.code == 0, answer.err


def test_version(tlzoo):
    assert tlzoo("--version") == (0, f"tlzoo {package.__version__}\n", "")


def test_no_command_shows_the_help(tlzoo):
    answer = tlzoo()
    assert answer.code == 2
    assert answer.out.startswith("usage: tlzoo COMMAND")


def test_a_printed_configuration_fits_again(tlzoo, small, tmp_path):
    out = io.StringIO()
    with pytest.raises(SystemExit) as stop, contextlib.redirect_stdout(out):
        main(["fit", "--config", str(small), "--print_config"])
    assert stop.value.code == 0
    tree = yaml.safe_load(out.getvalue())
    assert tree["model"]["backbone"]["init_args"]["graph"]["neighbours"] == 12
    (tmp_path / "printed.yaml").write_text(out.getvalue())
    again = io.StringIO()
    with pytest.raises(SystemExit), contextlib.redirect_stdout(again):
        # wherever it stands, all that is given is in it
        main(["fit", "--print_config", "--config", str(tmp_path / "printed.yaml")])
    assert again.getvalue() == out.getvalue()


def test_a_dry_run_trains_one_batch_and_exports_nothing(tlzoo, small, tmp_path):
    answer = tlzoo("fit", "--config", small, "--run_dir", tmp_path / "dry", "--trainer.fast_dev_run", "true")
    assert answer.code == 0, answer.err
    assert not (tmp_path / "dry" / "model.safetensors").exists()
