"""A run becomes a checkpoint, is then used by its name, and refused when it is not what its card says."""

import dataclasses
import hashlib
import http.server
import io
import json
import shutil
import subprocess
import sys
import threading
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
import yaml
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

import tlzoo as package
from tlzoo import zoo
from tlzoo.cards import library
from tlzoo.cards.beside import files
from tlzoo.cards.card import Card
from tlzoo.cards.lineage import started_from
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.errors import UserError
from tlzoo.heads import MultiProperty, Regression
from tlzoo.model.description import build, describe
from tlzoo.study import identity
from tlzoo.zoo.golden import TOLERANCE, deviation, golden, verify
from tlzoo.zoo.halving import halve
from tlzoo.zoo.publish import publish
from tlzoo.zoo.reference import reference_crystals

TARGETS = ["band_gap", "mass"]


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """Crystals with two properties, the second known for two in three."""
    crystals = named.load("semiconductors").select(np.arange(36))
    mass = np.array([crystals.structure(i).density for i in range(len(crystals))])
    mass[::3] = np.nan
    columns = {"band_gap": crystals.column("band_gap"), "mass": mass}
    crystals = dataclasses.replace(crystals, columns=columns, units={"band_gap": "eV", "mass": "g/cm^3"})
    path = tmp_path_factory.mktemp("table") / "two.parquet"
    crystals.write_parquet(path)
    return path


@pytest.fixture(scope="session")
def run(tlzoo, table, tmp_path_factory):
    """A run of two epochs that learned both, trained and tested."""
    folder = tmp_path_factory.mktemp("pretrained")
    tree = {
        "model": {
            "backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}},
            "head": {
                "class_path": "MultiProperty",
                "init_args": {
                    "targets": TARGETS,
                    "hidden": [6],
                    "loss": "huber",
                    "transform": {"mass": "log10"},
                },
            },
        },
        "data": {
            "source": str(table),
            "targets": TARGETS,
            "split": {
                "class_path": "Random",
                "init_args": {"val": 6, "test": 10, "keep_duplicates_together": False},
            },
            "exclude": [str(named.load("semiconductors").ids[0])],
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    path = folder / "run"
    for command in (["fit", "--config", folder / "config.yaml", "--run_dir", path], ["test", path]):
        answer = tlzoo(*command)
        assert answer.code == 0, answer.err
    return path


RIGHTS = {"citation": "Somebody (2024)", "licence": "CC0"}


@pytest.fixture(scope="session")
def shelf(run, tmp_path_factory):
    """A folder with one checkpoint."""
    folder = tmp_path_factory.mktemp("checkpoints")
    publish(run, "tiny-mpt", description="For tests", folder=folder, **RIGHTS)
    return folder


@pytest.fixture
def mine(shelf, tmp_path, monkeypatch):
    """The same, to be spoiled, as the zoo's only folder."""
    folder = shutil.copytree(shelf, tmp_path / "checkpoints")
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(folder))
    monkeypatch.setattr("tlzoo.cards.library.repository", lambda: None)
    monkeypatch.setattr("tlzoo.cards.library._installed", list)
    monkeypatch.delenv("TLZOO_OFFLINE", raising=False)
    return folder


@pytest.fixture
def card(shelf):
    return Card.read(shelf / "tiny-mpt.json")


def rewrite(path, **changes):
    """Change a card on disk."""
    card = path.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **changes}))


def test_all_files_are_there_and_nothing_else(shelf):
    wanted = ["tiny-mpt.domain.safetensors", "tiny-mpt.json", "tiny-mpt.safetensors"]
    assert sorted(path.name for path in shelf.iterdir()) == wanted


def test_weights_are_those_of_the_run(shelf, run, card):
    assert (shelf / "tiny-mpt.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert card.sha256 == hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    assert card.parameters == sum(
        value.numel()
        for name, value in safetensors.torch.load_file(run / "model.safetensors").items()
        if "scaler" not in name
        and "running" not in name
        and "num_batches" not in name
        and "features" not in name
    )


def test_metrics_are_those_of_the_test_part(run, card):
    measured = json.loads((run / "metrics.json").read_text())["test"]
    predictions = pd.read_csv(run / "predictions.csv")
    test = predictions[predictions["part"] == "test"]
    assert list(card.metrics) == TARGETS
    for target, found in card.metrics.items():
        for name in ("mae", "rmse", "r2"):
            assert getattr(found, name) == pytest.approx(measured[f"{name}_{target}"], rel=1e-4)
        assert found.n == test.loc[test["property"] == target, "target"].notna().sum()
    assert card.metrics["mass"].n < card.metrics["band_gap"].n == 10


def test_training_is_described(run, card, table):
    training, split = card.training, json.loads((run / "split.json").read_text())
    for part in ("train", "val", "test"):
        found = getattr(training, part)
        assert found.crystals == len(split[part])
        assert found.ids_sha256 == hashlib.sha256("\n".join(sorted(split[part])).encode()).hexdigest()
    assert training.excluded.crystals == 1
    assert training.excluded.published_list == "data.exclude of the recipe"
    assert (training.source, training.epochs) == (str(table), 2)
    assert 0 < training.seconds < 600
    assert training.versions["torch"] == torch.__version__
    labels = Crystals.read_parquet(table)
    rows = np.isin(labels.ids, split["train"])
    for target in TARGETS:
        values = labels.column(target)[rows]
        values = np.log10(values) if target == "mass" else values
        assert card.scaler[target].mean == pytest.approx(np.nanmean(values), rel=1e-5)
        assert card.scaler[target].std == pytest.approx(np.nanstd(values), rel=1e-5)
    assert card.recipe["model"]["head"]["init_args"]["hidden"] == [6]
    assert "run_dir" not in card.recipe
    assert (card.citation, card.licence, card.started_from) == ("Somebody (2024)", "CC0", [])


def test_intervals_come_along_with_what_they_held(run, card):
    metrics = json.loads((run / "metrics.json").read_text())["intervals"]
    assert list(card.intervals) == TARGETS
    for name, interval in card.intervals.items():
        assert interval.widths == metrics[name]["widths"]
        assert interval.test.held == metrics[name]["test"]["held"]
        assert interval.test.crystals == metrics[name]["test"]["crystals"]


def test_in_half_of_the_space(tlzoo, run, shelf, card, few, tmp_path, monkeypatch):
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(tmp_path))
    rights = ["--description", "For tests", "--citation", "Somebody (2024)", "--licence", "CC0"]
    published = tlzoo("zoo", "publish", run, "half-mpt", "--half", "--folder", tmp_path, *rights)
    assert published.code == 0, published.err
    half = Card.read(tmp_path / "half-mpt.json")
    stored = safetensors.torch.load_file(tmp_path / "half-mpt.safetensors")
    whole = safetensors.torch.load_file(shelf / "tiny-mpt.safetensors")
    for name, value in whole.items():
        wanted = value.half() if value.ndim > 1 else value
        assert stored[name].dtype == wanted.dtype
        assert torch.equal(stored[name], wanted)
    assert any(value.dtype == torch.float16 for value in stored.values())
    assert half.bytes < card.bytes
    assert half.rounded_from == card.sha256
    assert half.sha256 == hashlib.sha256((tmp_path / "half-mpt.safetensors").read_bytes()).hexdigest()
    for target, one in card.metrics.items():
        assert half.metrics[target].n == one.n
        assert half.metrics[target] != one, "measured anew"
        assert half.metrics[target].mae == pytest.approx(one.mae, rel=1e-2)
    start = {"backbone": {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": "half-mpt"}}}
    assert started_from(start)[0]["sha256"] == half.sha256
    assert identity.published(start)[0]["sha256"] == card.sha256, "a study that began before goes on"
    assert verify("half-mpt").deviation < 1e-6
    assert 0 < deviation(half.golden, card.golden)[0] < 1e-2
    model = package.load("half-mpt")
    assert {value.dtype for value in model.backbone.parameters()} == {torch.float32}
    seen = package.load(shelf / "tiny-mpt.safetensors").trust(few)["trust"]
    assert (model.trust(few)["trust"] == seen).all()
    with pytest.raises(UserError, match=r"half-mpt\.safetensors is halved already"):
        halve(tmp_path / "half-mpt.safetensors")


def test_named_data_bring_their_citation(run, shelf, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    environment = json.loads((copy / "environment.json").read_text())
    (copy / "environment.json").write_text(json.dumps({**environment, "source": "phonons"}))
    card = publish(copy, "other", description="x", folder=tmp_path / "out")
    assert card.citation.startswith("Petretto et al.")
    assert card.licence == named.find("phonons").licence


def test_a_table_put_together_says_what_was_kept_out(run, shelf, table, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    together = tmp_path / "together.parquet"
    Crystals.read_parquet(table).write_parquet(together, base="pretraining")
    environment = json.loads((copy / "environment.json").read_text())
    (copy / "environment.json").write_text(json.dumps({**environment, "source": str(together)}))
    card = publish(copy, "other", description="x", folder=tmp_path / "out")
    assert card.citation == named.find("pretraining").citation
    assert card.training.excluded.published_list == "tlzoo/data/pretraining/excluded.csv"
    assert card.training.source == str(together)
    # without the table nobody knows, and the card must not say that nothing was
    together.unlink()
    with pytest.raises(UserError, match=r"are not there: .*together.parquet; publish where they are"):
        publish(copy, "other", description="x", folder=tmp_path / "again", **RIGHTS)


def test_golden_predictions_are_those_of_the_reference_crystals(shelf, card):
    table = package.load(shelf / "tiny-mpt.safetensors").predict(reference_crystals())
    assert list(card.golden) == table["id"].tolist()
    found = pd.DataFrame(card.golden).T[TARGETS].to_numpy()
    np.testing.assert_allclose(found, table[TARGETS].to_numpy(), rtol=1e-6)
    assert len(np.unique(found[:, 0].round(6))) == 16, "sixteen crystals, sixteen answers"


@pytest.mark.parametrize(
    ("lacking", "said"),
    [("predictions.csv", "lacks predictions.csv; finish the run first"), ("model.json", "lacks model.json")],
)
def test_an_unfinished_run_is_refused(run, tmp_path, lacking, said):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / lacking).unlink()
    with pytest.raises(UserError, match=said):
        publish(copy, "net", description="x", folder=tmp_path / "out", **RIGHTS)


def test_a_run_without_test_is_refused(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    table = pd.read_csv(copy / "predictions.csv")
    table[table["part"] != "test"].to_csv(copy / "predictions.csv", index=False)
    with pytest.raises(UserError, match=r"has no predictions of a test part; call: tlzoo test"):
        publish(copy, "net", description="x", folder=tmp_path / "out", **RIGHTS)
    assert not (tmp_path / "out").exists()


def test_a_run_on_shuffled_labels_passes_for_no_other(tlzoo, run, tmp_path, monkeypatch):
    monkeypatch.setattr("tlzoo.training.run.Run.draw", lambda *_: None)
    control = tmp_path / "control"
    config = run.parent / "config.yaml"
    told = tlzoo("fit", "--config", config, "--run_dir", control, "--data.shuffle_labels", 3)
    assert told.code == 0, told.err
    assert tlzoo("test", control).code == 0
    for record in ("split.json", "model.json"):
        assert "a control: labels of the training" in (control / record).read_text()
    plain, mixed = (
        pd.read_csv(path / "predictions.csv").set_index(["part", "id"]) for path in (run, control)
    )
    for part in ("train", "val", "test"):
        same = plain.loc[part]["target"].equals(mixed.loc[part]["target"])
        assert same == (part == "test")
    words = ("zoo", "publish", control, "net", "--description", "x", "--folder", tmp_path / "out")
    words += ("--citation", "x", "--licence", "y")
    answer = tlzoo(*words)
    assert answer.code == 2
    assert "control is a control: it learned from shuffled labels (data.shuffle_labels)" in answer.err
    answer = tlzoo(*words, "--control")
    assert answer.out.startswith("net: Control, trained on shuffled labels. x\n")
    assert Card.read(tmp_path / "out" / "net.json").recipe["data"]["shuffle_labels"] == 3


def test_data_without_rights_are_refused(tlzoo, run, tmp_path):
    answer = tlzoo(
        "zoo", "publish", run, "net", "--description", "x", "--folder", tmp_path / "out", "--licence", "CC0"
    )
    assert (answer.code, answer.err) == (
        2,
        "tlzoo: the data are no named data set: say whose they are with --citation\n",
    )


@pytest.mark.parametrize("name", ["Net", "a/b", "../x", "", ".net", "net 2"])
def test_names_that_are_none(run, tmp_path, name):
    with pytest.raises(UserError, match="is no name of a checkpoint"):
        publish(run, name, description="x", folder=tmp_path, **RIGHTS)


def test_a_card_that_would_be_wrong_is_not_written(run, mine):
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    with pytest.raises(UserError, match="description is '', wanted text that is not empty"):
        publish(run, "tiny-mpt", description="", folder=mine, **RIGHTS)
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == before


def test_commands(tlzoo, mine, run):
    answer = tlzoo("zoo", "list")
    assert answer.out.startswith("tiny-mpt                  0.0 MB  band_gap (eV): MAE ")
    assert "mass (g/cm^3): MAE" in answer.out
    answer = tlzoo("zoo", "info", "tiny-mpt")
    assert answer.out.startswith("tiny-mpt: For tests\n  network   CGCNN(dim=8")
    weights = mine / "tiny-mpt.safetensors"
    assert answer.out.endswith(f"weights   {weights}\n")
    for command in ("path", "pull"):
        assert tlzoo("zoo", command, "tiny-mpt") == (0, f"{weights}\n", "")
    answer = tlzoo(
        "zoo", "publish", run, "again", "--description", "Twice", "--citation", "x", "--licence", "y"
    )
    assert answer.code == 0, answer.err
    assert answer.out.startswith("again: Twice\n")
    assert sorted(path.stem for path in mine.glob("*.json")) == ["again", "tiny-mpt"]
    listed, best = tlzoo("zoo", "list").out.split("\n\n")
    assert len(listed.splitlines()) == 4
    assert [line.split()[0] for line in best.splitlines()[1:3]] == ["band_gap", "mass"]
    answer = tlzoo("zoo", "info", "nothing")
    assert (answer.code, answer.err) == (
        2,
        "tlzoo: there is no checkpoint 'nothing'; there are: again, tiny-mpt\n",
    )


def test_weights_that_do_not_come_with_the_package(tlzoo, mine, shelf, few, tmp_path, monkeypatch):
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TLZOO_CHECKPOINTS_URL", raising=False)
    for path in mine.glob("*.safetensors"):
        path.unlink()
    needs = "needs its weights (0.0 MB): tlzoo zoo pull tiny-mpt --from PLACE"
    assert f"; {needs}" in tlzoo("zoo", "list").out
    (listed,) = json.loads(tlzoo("zoo", "list", "--json").out)["checkpoints"]
    assert listed["needs"] == needs
    told = tlzoo("zoo", "info", "tiny-mpt").out.splitlines()[-1]
    assert told.startswith(
        f"  weights   not here; tiny-mpt {needs}. PLACE is the folder checkpoints of a clone"
    )
    assert json.loads(tlzoo("zoo", "info", "tiny-mpt", "--json").out)["weights"] is None
    verdict = tlzoo("zoo", "verify")
    assert (verdict.code, verdict.out) == (0, f"tiny-mpt: skipped, it {needs}\n")
    for command in (
        ["predict", "tiny-mpt", few],
        ["embed", "tiny-mpt", few, "-o", tmp_path / "e.parquet"],
        ["finetune", few, "--target", "band_gap", "--from", "tiny-mpt", "--run-dir", tmp_path / "run"],
        ["recommend", few, "--target", "band_gap", "--from", "tiny-mpt"],
        ["zoo", "pull", "tiny-mpt"],
        ["zoo", "path", "tiny-mpt"],
    ):
        refused = tlzoo(*command)
        assert refused.code == 2, command
        assert "the weights of tiny-mpt (0.0 MB) do not come with the package" in refused.err
        assert "Fetch them once: `tlzoo zoo pull tiny-mpt --from PLACE`. PLACE is the folder" in refused.err
    with pytest.raises(UserError, match="`tlzoo zoo pull tiny-mpt --from PLACE`"):
        package.load("tiny-mpt")
    assert "tiny-mpt needs tlzoo zoo pull" in tlzoo("recommend", few, "--target", "band_gap").err

    shutil.copytree(shelf, tmp_path / "part", ignore=shutil.ignore_patterns("*.domain.*"))
    partly = tlzoo("zoo", "pull", "tiny-mpt", "--from", tmp_path / "part")
    assert partly.code == 0, partly.err
    assert not list(Path(partly.out.strip()).parent.glob("*.domain.*"))
    # what did not come along is asked for again
    pulled = tlzoo("zoo", "pull", "tiny-mpt", "--from", tmp_path / "none", "--from", shelf)
    assert pulled.code == 0, pulled.err
    assert pulled.out.startswith(str(tmp_path / "cache"))
    assert needs not in tlzoo("zoo", "list").out
    assert tlzoo("zoo", "info", "tiny-mpt").out.splitlines()[-1].split() == ["weights", pulled.out.strip()]
    assert "agree" in tlzoo("zoo", "verify").out
    table = pd.read_csv(io.StringIO(tlzoo("predict", "tiny-mpt", few).out))
    assert table["distance"].notna().all(), "what is known of training crystals came along"


def test_an_empty_zoo(tlzoo, mine):
    shutil.rmtree(mine)
    said = f"there are no checkpoints yet in {mine}\n"
    for command in ("list", "verify"):
        assert tlzoo("zoo", command) == (0, said, "")
    answer = tlzoo("zoo", "verify", "net")
    assert (answer.code, answer.out) == (1, f"net: FAILS, there is no checkpoint 'net'; {said}")
    answer = tlzoo("predict", "net", "x.cif", "-o", "out.csv")
    assert answer.code == 2
    assert answer.err.endswith(said)
    assert package.list_checkpoints() == []


def test_verify(tlzoo, mine):
    answer = tlzoo("zoo", "verify")
    assert answer.code == 0
    assert answer.out == ("tiny-mpt: sha256 and golden predictions agree (largest deviation 0.0e+00)\n")
    assert tlzoo("zoo", "verify", "tiny-mpt", "--precision", "bf16-mixed").code == 0


def test_verify_looks_at_the_files_beside_the_weights(tlzoo, tmp_path):
    for file in files(library.find("momentnet-u2").path):
        shutil.copy(file, tmp_path)
    net, said = tmp_path / "momentnet-u2.safetensors", tmp_path / "momentnet-u2.teacher.safetensors"
    said.write_bytes(said.read_bytes()[:-1] + b"\x01")
    answer = tlzoo("zoo", "verify", net)
    assert answer.code == 1
    assert f"FAILS, {said} is not the file that the card describes" in answer.out
    said.unlink()
    answer = tlzoo("zoo", "verify", net)
    assert answer.code == 0
    assert f"; {said.name} is not there: there is no layer teacher" in answer.out


def test_verify_finds_changed_weights(tlzoo, mine):
    shutil.copy(mine / "tiny-mpt.json", mine / "whole.json")
    rewrite(mine / "whole", name="whole")
    shutil.copy(mine / "tiny-mpt.safetensors", mine / "whole.safetensors")
    path = mine / "tiny-mpt.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    answer = tlzoo("zoo", "verify")
    assert answer.code == 1
    first, second = answer.out.splitlines()
    assert first.startswith(f"tiny-mpt: FAILS, {path} is not the file its card describes: SHA-256 ")
    assert second.startswith("whole: sha256 and golden predictions agree")


def test_verify_finds_changed_answers(tlzoo, mine, card):
    changed = {name: dict(row) for name, row in card.golden.items()}
    changed["Cu fcc"]["mass"] *= 1.01
    rewrite(mine / "tiny-mpt", golden=changed)
    answer = tlzoo("zoo", "verify")
    assert answer.code == 1
    assert "tiny-mpt: DIFFERS, its answer for Cu fcc, mass deviates by " in answer.out


def test_verify_of_other_crystals(mine, card):
    changed = dict(card.golden)
    changed["Al fcc"] = changed.pop("Cu fcc")
    rewrite(mine / "tiny-mpt", golden=changed)
    with pytest.raises(UserError, match="are about other crystals or columns than this version"):
        verify("tiny-mpt")


def test_verify_needs_the_device(mine):
    if torch.cuda.is_available():
        assert verify("tiny-mpt", device="cuda").passed
    else:
        with pytest.raises(UserError, match="there is no GPU that torch can use; verify on the CPU"):
            verify("tiny-mpt", device="cuda")


def test_deviation():
    wanted = {"a": {"x": 1.0, "y": 0.0}, "b": {"x": 3.0, "y": 0.0}}
    # the spread of x is 1, so that 0.2 of 3 counts as 0.2 / 4
    answers = {"a": {"x": 1.0, "y": 0.0}, "b": {"x": 3.2, "y": 0.0}}
    worst, where = deviation(answers, wanted)
    assert (worst, where) == (pytest.approx(0.05), "b, x")
    assert deviation(wanted, wanted)[0] == 0
    answers["a"]["x"] = float("nan")
    assert deviation(answers, wanted) == (float("inf"), "a, x")
    assert TOLERANCE["cpu", "32-true"] < TOLERANCE["cuda", "32-true"] < TOLERANCE["cpu", "bf16-mixed"]


def test_by_name_in_python(mine, run, few):
    crystals = Crystals.read_parquet(few)
    pd.testing.assert_frame_equal(
        package.load("tiny-mpt").predict(crystals), package.load(run).predict(crystals)
    )
    assert package.load("tiny-mpt").card["name"] == "tiny-mpt"
    assert package.list_checkpoints() == ["tiny-mpt"]
    assert golden(package.load("tiny-mpt").to("cpu")) == Card.read(mine / "tiny-mpt.json").golden


def test_by_name_on_the_command_line(tlzoo, mine, few, tmp_path):
    answer = tlzoo("predict", "tiny-mpt", few, "-o", tmp_path / "out.csv")
    assert answer.code == 0, answer.err
    assert list(pd.read_csv(tmp_path / "out.csv").columns) == [
        *("id", *TARGETS),
        *(f"{name}_{end}" for name in TARGETS for end in ("q5", "q95")),
        *("trust", "unseen_elements", "distance"),
    ]


@pytest.mark.parametrize("head", ["new", "tower"])
def test_by_name_in_a_configuration(tlzoo, mine, config, tmp_path, head):
    part = {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": "tiny-mpt"}}
    changes = {"model.backbone": part, "model.freezing": {"class_path": "NewHead"}}
    if head == "tower":
        tower = {"class_path": "tlzoo.zoo.head", "init_args": {"name": "tiny-mpt", "target": "band_gap"}}
        changes |= {"model.head": tower, "model.freezing": {"class_path": "LastLayer"}}
    answer = tlzoo("fit", "--config", config(changes), "--run_dir", tmp_path / "tuned")
    assert answer.code == 0, answer.err
    before = safetensors.torch.load_file(mine / "tiny-mpt.safetensors")
    after = safetensors.torch.load_file(tmp_path / "tuned" / "model.safetensors")
    for name, value in before.items():
        if name.startswith("backbone."):
            assert torch.equal(value, after[name])
    if head == "tower":
        assert torch.equal(before["head.trunks.0.1.weight"], after["head.trunks.0.1.weight"])
        assert not torch.equal(before["head.outs.0.weight"], after["head.outs.0.weight"])
    card = json.loads((tmp_path / "tuned" / "model.json").read_text())
    sha256 = Card.read(mine / "tiny-mpt.json").sha256
    assert card["started_from"] == [{"name": "tiny-mpt", "sha256": sha256}]
    assert tlzoo("test", tmp_path / "tuned").code == 0
    tuned = publish(tmp_path / "tuned", "tuned", description="x", folder=tmp_path / "out", **RIGHTS)
    assert [(origin.name, origin.sha256) for origin in tuned.started_from] == [("tiny-mpt", sha256)]


def test_another_way_from_atoms_to_the_crystal(mine):
    trained = zoo.backbone("tiny-mpt")
    changed = zoo.backbone("tiny-mpt", pooling="max", dropout=0.5)
    assert (changed.pooling, changed.dropout) == ("max", 0.5)
    weights = changed.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in trained.state_dict().items())
    attentive = zoo.backbone("tiny-mpt", pooling="attention").state_dict()
    assert set(attentive) - set(weights) == {"pool.score.weight"}
    with pytest.raises(UserError, match="dropout must be"):
        zoo.backbone("tiny-mpt", dropout=2.0)


def test_layers_of_one_property(mine, few):
    several = zoo.head("tiny-mpt")
    assert isinstance(several, MultiProperty)
    crystals = Crystals.read_parquet(few)
    embeddings = torch.from_numpy(package.load("tiny-mpt").embed(crystals))
    both = several.predict(several(embeddings))
    for row, target in enumerate(TARGETS):
        one = zoo.head("tiny-mpt", target)
        assert isinstance(one, Regression)
        assert (one.hidden, one.loss_, one.training) == ((6,), "huber", False)
        assert one.transform == package.load("tiny-mpt").card["scaler"][target]["transform"]
        assert one.transform == {"mass": "log10"}.get(target, "standard")
        torch.testing.assert_close(one.predict(one(embeddings))[:, 0], both[:, row])
    with pytest.raises(UserError, match="this head does not predict 'energy'; it predicts: band_gap, mass"):
        zoo.head("tiny-mpt", "energy")


def test_levels_of_theory_start_with_the_same_layers(mine, few):
    embeddings = torch.from_numpy(package.load("tiny-mpt").embed(Crystals.read_parquet(few)))
    starts = {"measured": "band_gap", "computed": "band_gap", "mass": "mass"}
    trained = zoo.head("tiny-mpt", "band_gap")
    least = trained.predict(trained(embeddings)).median().item()
    several = zoo.head("tiny-mpt", starts, loss="l1", minimum=least)
    assert isinstance(several, MultiProperty)
    assert (several.targets, several.loss_, several.transform["mass"]) == (tuple(starts), "l1", "log10")
    assert several.minimum == dict.fromkeys(starts, least)
    both = several.predict(several(embeddings))
    for row, target in enumerate(starts.values()):
        one = zoo.head("tiny-mpt", target)
        torch.testing.assert_close(one.predict(one(embeddings))[:, 0].clamp(min=least), both[:, row])
    assert build(describe(several)).minimum == several.minimum
    with pytest.raises(UserError, match="this head does not predict 'energy'"):
        zoo.head("tiny-mpt", {"measured": "energy"})


def test_a_trained_head_is_given_a_smallest_value(mine, few):
    embeddings = torch.from_numpy(package.load("tiny-mpt").embed(Crystals.read_parquet(few)))
    trained = zoo.head("tiny-mpt", "band_gap")
    predicted = trained.predict(trained(embeddings))
    least = predicted.median().item()
    limited = zoo.head("tiny-mpt", "band_gap", minimum=least)
    assert (trained.minimum, limited.minimum) == (None, least)
    assert (predicted < least).any()
    torch.testing.assert_close(limited.predict(limited(embeddings)), predicted.clamp(min=least))


def test_a_trained_head_goes_on_with_another_loss(mine):
    trained = zoo.head("tiny-mpt", "band_gap")
    changed = zoo.head("tiny-mpt", "band_gap", loss="l1")
    assert (trained.loss_, changed.loss_) == ("huber", "l1")
    weights = changed.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in trained.state_dict().items())


@pytest.mark.parametrize("head", ["Gaussian", "Quantile"])
def test_a_head_without_a_choice_of_loss_refuses_one(tlzoo, config, tmp_path, head):
    changes = {"model.head": {"class_path": head}}
    assert tlzoo("fit", "--config", config(changes), "--run_dir", tmp_path / "run").code == 0
    with pytest.raises(UserError, match=f"the head {head} of .* has no choice of loss: leave loss out"):
        zoo.head(str(tmp_path / "run"), loss="l1")


def test_by_address(tlzoo, mine, card, few, tmp_path, monkeypatch):
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=mine)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/tiny-mpt.safetensors#sha256={card.sha256}"
        answer = tlzoo("zoo", "pull", url)
        assert answer.code == 0, answer.err
        server.shutdown()
    monkeypatch.setenv("TLZOO_OFFLINE", "1")
    answer = tlzoo("predict", url, few, "-o", tmp_path / "out.csv")
    assert answer.code == 0, answer.err
    answer = tlzoo("zoo", "pull", url.replace(card.sha256, "0" * 64))
    assert answer.code == 2
    assert "is not in the cache, and TLZOO_OFFLINE is set" in answer.err


def test_commands_that_read_cards_import_no_torch(mine):
    code = (
        "import sys; from tlzoo.__main__ import main; code = main({args}); "
        "heavy = {{'torch', 'lightning', 'pymatgen', 'pandas'}} & set(sys.modules); "
        "assert not heavy, heavy; sys.exit(code)"
    )
    for args in (
        ["zoo", "--help"],
        ["zoo", "list"],
        ["zoo", "info", "tiny-mpt"],
        ["zoo", "path", "tiny-mpt"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code.format(args=args)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


@pytest.fixture(scope="module")
def other_cells():
    """The reference crystals, as they are and in other cells; of some the symmetry is made exact."""
    given = reference_crystals()
    structures = [given.structure(row) for row in range(len(given))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pymatgen's of spglib's
        symmetries = [SpacegroupAnalyzer(structure, symprec=1e-5) for structure in structures]
        ways = {
            "as they are": structures,
            "conventional": [each.get_conventional_standard_structure() for each in symmetries],
            "primitive": [each.get_primitive_standard_structure() for each in symmetries],
            "Niggli": [structure.get_reduced_structure("niggli") for structure in structures],
            "supercell": [structure.copy().make_supercell((1, 2, 1)) for structure in structures],
        }
    return {way: Crystals.from_structures(found, ids=list(given.ids)) for way, found in ways.items()}


@pytest.mark.parametrize("name", library.names())
def test_another_cell_of_a_crystal_changes_nothing(name, other_cells):
    """What is left is fp32: 1.4e-6 at most was measured, of all checkpoints on the embedded example."""
    if (brought := library.find(name).card.package) and brought.lacking:
        pytest.skip(f"it {brought.lacking}")
    model = package.load(name)
    found = {}
    for way, crystals in other_cells.items():
        rows = model.predict(crystals).set_index("id").to_dict("index")
        found[way] = {crystal: dict(row) for crystal, row in rows.items()}
    wanted = found.pop("as they are")
    for way, answers in found.items():
        worst, where = deviation(answers, wanted)
        assert worst < 1e-5, f"{way} cell of {where}"


def test_a_damaged_card_does_not_stop_the_list(tlzoo, tmp_path, monkeypatch):
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(tmp_path))
    own = library.repository() / "checkpoints"
    content = json.loads((own / "cgcnn-bg.json").read_text())
    (tmp_path / "a-first.json").write_text("{")
    (tmp_path / "a-second.json").write_text(json.dumps({**content, "name": "a-second", "\x1b[31mred": 1}))
    loud = {**content, "name": "a-third", "description": "quiet\x1b[2J\rgone", "citation": "me\u202e"}
    loud["units"] = ["eV\x1b]0;title\x07\nfake 1 MB"]
    (tmp_path / "a-third.json").write_text(json.dumps(loud))
    listed = tlzoo("zoo", "list")
    assert listed.code == 1
    lines = listed.out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["a-first", "damaged"], ["a-second", "damaged"]]
    assert "is no JSON" in lines[0]
    assert [line.split()[0] for line in lines[2:4]] == ["a-third", "alignn-bg"]
    told = tlzoo("zoo", "info", "a-third")
    assert told.code == 0, told.err
    refused = tlzoo("zoo", "info", "a-second")
    assert refused.code == 2
    for text in (listed.out, told.out, refused.err):
        assert [one for one in text if not one.isprintable() and one != "\n"] == []
    assert r"quiet\x1b[2J\rgone" in told.out
    assert r"me\u202e" in told.out
    assert r"\x1b[31mred is no field" in refused.err
    assert tlzoo("zoo", "list").out.count("\n") == len(lines)
