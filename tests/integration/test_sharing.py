"""A run goes to the Hub, to Zenodo or to a group, and is used elsewhere by its name."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.integration.hugging_face import TOKEN, Hub
from tlzoo import load
from tlzoo.cards import index, library
from tlzoo.cards.beside import files
from tlzoo.cards.card import Card
from tlzoo.data import named
from tlzoo.testing import workbench
from tlzoo.zoo import hub_upload, zenodo

RIGHTS = ("--description", "Gaps, for tests", "--citation", "Somebody (2024)", "--licence", "CC-BY-4.0")
# The fields of Zenodo's deposit API that are used, with what it takes for those that it lists.
DEPOSIT = {
    "upload_type": {
        "publication",
        "poster",
        "presentation",
        "dataset",
        "image",
        "video",
        "software",
        "other",
    },
    "access_right": {"open", "embargoed", "restricted", "closed"},
    "license": {"cc-by-4.0", "cc0-1.0", "mit"},
    **dict.fromkeys(
        ("title", "creators", "description", "keywords", "publication_date", "references", "notes")
    ),
}


@pytest.fixture(scope="module")
def run(tlzoo, tmp_path_factory):
    """A small network, trained and tested on other crystals than those it is fine-tuned on."""
    folder = tmp_path_factory.mktemp("shared")
    named.load("semiconductors").select(np.arange(60, 90)).write_parquet(folder / "others.parquet")
    config = workbench.write_config(folder / "config.yaml", folder / "others.parquet", {})
    workbench.fit(config, folder / "run")
    assert tlzoo("test", folder / "run").code == 0
    return folder / "run"


@pytest.fixture(scope="module")
def checkpoint(tlzoo, run, tmp_path_factory):
    """The same as a checkpoint in a folder."""
    folder = tmp_path_factory.mktemp("zoo")
    answer = tlzoo("zoo", "publish", run, "tiny-gap", *RIGHTS, "--folder", folder)
    assert answer.code == 0, answer.err
    return folder / "tiny-gap.safetensors"


@pytest.fixture
def hub(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "TLZOO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def elsewhere(home, **variables):
    """The environment of somebody else: a home and caches of their own, nothing of ours."""
    (home / "work").mkdir(parents=True)
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1"}
    ours = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    return {**ours, **quiet, "HOME": str(home), **variables}


def execute(commands, environment):
    """Run commands in a process of its own, and return what they print."""
    code = (
        "import json, sys\n"
        "from tlzoo.__main__ import main\n"
        "for each in json.loads(sys.argv[1]):\n"
        "    assert main(each) == 0, each\n"
    )
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", code, words],
        env=environment, cwd=f"{environment['HOME']}/work", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_and_back_between_two_environments(hub, run, few, tmp_path):
    publish = ("zoo", "publish", run, "tiny-gap", *RIGHTS, "--to", "hf:team/gap-net", "--private")
    said = execute([publish], elsewhere(tmp_path / "one", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN))
    name = said.strip()
    commit = hub.repositories["team/gap-net"].names["main"]
    weights = (run / "model.safetensors").read_bytes()
    assert name == f"hf:team/gap-net@{commit}#sha256={hashlib.sha256(weights).hexdigest()}"
    assert hub.repositories["team/gap-net"].private
    assert hub.repositories["team/gap-net"].commits[commit]["model.safetensors"] == weights

    other = elsewhere(tmp_path / "two", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    work = tmp_path / "two" / "work"
    parts = {
        f"model.{part}": {"class_path": f"tlzoo.zoo.{part}", "init_args": {"name": "hf:team/gap-net@main"}}
        for part in ("backbone", "head")
    }
    workbench.write_config(work / "fit.yaml", few, {**parts, "trainer.max_epochs": 1})
    (work / "fast.yaml").write_text(
        "trainer: {accelerator: cpu}\ndata: {split: {init_args: {keep_duplicates_together: false}}}\n"
    )
    tuned = ("finetune", few, "--target", "band_gap", "--from", name, "--config", "fast.yaml", "--epochs", 1)
    few_trainings = (
        "--learning-rates",
        "1e-2",
        "--pooling",
        "mean",
        "--no-frozen",
        "--jobs",
        1,
        "--run-dir",
        "tuned",
    )
    said = execute(
        [
            ("zoo", "pull", name),
            ("zoo", "verify", name),
            ("predict", name, few, "-o", "answers.csv"),
            ("fit", "--config", "fit.yaml", "--run_dir", "fitted"),
            (*tuned, *few_trainings),
        ],
        other,
    )
    pulled = tmp_path / "two" / ".cache" / "tlzoo" / "checkpoints" / "hf" / "team" / "gap-net" / commit
    assert said.splitlines()[0] == str(pulled / "tiny-gap.safetensors")
    assert sorted(path.suffix for path in pulled.iterdir()) == [".json", ".safetensors", ".safetensors"]
    assert f"{name}: sha256 and golden predictions agree" in said
    for trained in ("fitted/model.json", "tuned/transfer/lr-0.01-mean-seed-0/model.json"):
        (origin,) = json.loads((work / trained).read_text())["started_from"]
        assert origin["name"] == name, "by commit and hash, also where a branch was named"
    assert (work / "answers.csv").read_text().count("\n") == 25
    assert not (tmp_path / "one" / ".cache" / "tlzoo" / "checkpoints").exists()


# the client's own: huggingface_hub 2.4.0 gives httpx2 its bytes as it should not
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_the_client_of_the_hub_reads_what_was_published(hub, checkpoint, tlzoo, tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="pip install 'tlzoo[hub]'")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    answer = tlzoo("zoo", "publish", checkpoint, "--to", "hf:team/gap-net")
    assert answer.code == 0, answer.err
    name = answer.out.strip()
    commit = name.partition("@")[2].partition("#")[0]
    api = huggingface_hub.HfApi(endpoint=hub.url, token=TOKEN)
    about = {"repo_id": "team/gap-net", "revision": commit}
    assert api.model_info(**about).sha == commit
    tensors = api.get_safetensors_metadata(**about)
    assert json.loads(tensors.files_metadata["model.safetensors"].metadata["tlzoo"])["targets"] == [
        "band_gap"
    ]
    place = huggingface_hub.snapshot_download(
        **about, cache_dir=tmp_path / "cache", endpoint=hub.url, token=TOKEN
    )
    card = Card.read(checkpoint.with_suffix(".json"))
    page = huggingface_hub.ModelCard.load(f"{place}/README.md")
    assert (page.data.license, page.data.library_name, page.data.model_name) == (
        "cc-by-4.0",
        "tlzoo",
        "tiny-gap",
    )
    (error,) = [one for one in page.data.eval_results if one.metric_type == "mae"]
    assert error.metric_value == pytest.approx(card.metrics["band_gap"].mae, rel=1e-3)
    assert (error.dataset_name, error.dataset_config) == ("others", "band_gap")
    assert error.metric_name == "mean absolute error, eV"
    assert "| band_gap | eV |" in page.text
    assert library.locate(f"{place}/model.safetensors").read_bytes() == checkpoint.read_bytes()


def test_a_repository_with_another_model_is_left_alone(hub, checkpoint, tlzoo):
    before = hub.put("team/other", {"model.safetensors": b"x", "config.json": b"{}"})
    answer = tlzoo("zoo", "publish", checkpoint, "--to", "hf:team/other")
    assert answer.code == 2
    assert (
        "hf:team/other holds model.safetensors, which this command has not put there; name another"
        in answer.err
    )
    assert hub.repositories["team/other"].names == {"main": before}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "hf:net"), "hf:net is no model on the Hugging Face Hub; wanted hf:user/model"),
        (("--to", "hf:team/net@main"), "hf:team/net@main names a revision; a new one is made: hf:user/model"),
        (("--to", "somewhere"), "--to is 'somewhere'; wanted hf:user/model or a name that ends in .zip"),
        (("--to", "x.zip", "--private"), "--private is for repositories: --to hf:user/model"),
        (("--to", "hf:team/net", "--creator", "Doe, Jane"), "--creator is for an archive: --to NAME.zip"),
        (
            ("--to", "x.zip"),
            'Zenodo wants to know who made it: --creator "Family, Given; affiliation; ORCID"',
        ),
        (("--to", "x.zip", "--creator", "Doe; a; b"), "--creator is 'Doe; a; b'; wanted"),
        ((), "is no run directory; if it is a checkpoint, it is sent on with --to"),
        (("--to", "x.zip", "--description", "new"), "is no run directory; if it is a checkpoint"),
    ],
)
def test_what_cannot_be_sent(hub, checkpoint, tlzoo, options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = tlzoo("zoo", "publish", checkpoint, *options)
    assert answer.code == 2
    assert said in answer.err
    assert list(tmp_path.iterdir()) == []
    assert hub.asked == []


def test_who_made_it_is_asked_for_before_a_checkpoint_is_written(tlzoo, tmp_path):
    (tmp_path / "run").mkdir()
    options = ("--description", "new", "--folder", tmp_path / "zoo", "--to", tmp_path / "x.zip")
    answer = tlzoo("zoo", "publish", tmp_path / "run", "net", *options)
    assert (answer.code, answer.err.partition(":")[2].partition(":")[0]) == (
        2,
        " Zenodo wants to know who made it",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_hub_is_told_who_publishes(hub, checkpoint, tlzoo, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "another")
    answer = tlzoo("zoo", "publish", checkpoint, "--to", "hf:team/net")
    assert answer.code == 2
    assert "the Hub does not take hf:team/net:" in answer.err
    assert "401" in answer.err
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    answer = tlzoo("zoo", "publish", checkpoint, "--to", "hf:team/net")
    assert "the Hub takes nothing without a token: call `hf auth login`, or set HF_TOKEN" in answer.err
    assert hub.repositories == {}


def test_weights_of_packages_are_not_ours_to_send(tlzoo, tmp_path):
    card = library.find("chgnet").card
    with pytest.raises(ValueError, match="the weights of chgnet are those of the package chgnet"):
        hub_upload.model_card.readme(card, "x")


def test_an_archive_for_zenodo(checkpoint, tlzoo, tmp_path):
    made = (tmp_path / "one.zip", tmp_path / "two.zip")
    for path in made:
        who = ("--creator", "Doe, Jane; Somewhere; 0000-0002-1694-233X", "--creator", "Roe, R.")
        answer = tlzoo("zoo", "publish", checkpoint, "--to", path, *who)
        assert (answer.code, answer.out) == (0, f"{path}\n"), answer.err
    assert made[0].read_bytes() == made[1].read_bytes(), "the same content is the same archive"
    with zipfile.ZipFile(made[0]) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "there")
    there = {path.name for path in (tmp_path / "there" / "tiny-gap").iterdir()}
    assert there == {"README.md", "tiny-gap.json", "tiny-gap.safetensors", "tiny-gap.domain.safetensors"}
    answer = tlzoo("zoo", "verify", tmp_path / "there" / "tiny-gap" / "tiny-gap.safetensors")
    assert "sha256 and golden predictions agree" in answer.out
    told = json.loads((tmp_path / "there" / zenodo.METADATA).read_text())
    assert list(told) == ["metadata"]
    assert set(told["metadata"]) == set(DEPOSIT)
    for name, allowed in DEPOSIT.items():
        assert allowed is None or told["metadata"][name] in allowed
    assert told["metadata"]["creators"] == [
        {"name": "Doe, Jane", "affiliation": "Somewhere", "orcid": "0000-0002-1694-233X"},
        {"name": "Roe, R."},
    ]
    assert told["metadata"]["license"] == "cc-by-4.0"
    assert told["metadata"]["references"] == ["Somebody (2024)"]


def test_an_archive_wants_a_licence_that_zenodo_knows(run, tlzoo, tmp_path):
    rights = ("--description", "x", "--citation", "y", "--licence", "ask me")
    answer = tlzoo(
        "zoo", "publish", run, "net", *rights, "--to", tmp_path / "x.zip", "--creator", "Doe, Jane"
    )
    assert answer.code == 2
    assert "Zenodo wants one licence that it knows, and the card says 'ask me'" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_group_has_a_zoo_of_its_own(hub, checkpoint, run, tlzoo, tmp_path, monkeypatch):
    """A folder with one checkpoint, and one on the Hub that it lists; both found by what they predict."""
    shelf = tmp_path / "zoo"
    monkeypatch.setenv("TLZOO_ZOO", str(shelf))
    assert f"there is no folder {shelf}" in tlzoo("zoo", "index", shelf).err
    assert not shelf.exists()
    assert tlzoo("zoo", "publish", run, "our-gap", *RIGHTS).code == 0
    given = {path.name: path.read_bytes() for path in files(checkpoint)}
    commit = hub.put("team/gap-net", given)
    answer = tlzoo("zoo", "index", shelf, "--add", "hf:team/gap-net@main")
    assert (answer.code, answer.out) == (0, f"{shelf / index.FILE}\n"), answer.err
    card = Card.read(shelf / "our-gap.json")
    mae = card.metrics["band_gap"].mae
    ours = {"our-gap", "tiny-gap"}
    said = json.loads(
        tlzoo("zoo", "list", "--property", "band_gap", "--elements", card.elements[0], "--json").out
    )
    everything = {each["name"]: each for each in said["checkpoints"]}
    assert ours < set(everything)
    near = tlzoo("zoo", "list", "--property", "band_gap", "--max-error", mae * 1.001, "--json")
    assert ours <= {each["name"] for each in json.loads(near.out)["checkpoints"]}
    nearer = tlzoo("zoo", "list", "--property", "band_gap", "--max-error", mae * 0.999, "--json")
    assert not ours & {each["name"] for each in json.loads(nearer.out)["checkpoints"]}
    assert "\nof TLZOO_ZOO: our-gap, tiny-gap\n" in tlzoo("zoo", "list").out
    assert f"weights   hf:team/gap-net@{commit}" in tlzoo("zoo", "info", "tiny-gap").out
    assert "golden predictions agree" in tlzoo("zoo", "verify", "tiny-gap").out
    assert tlzoo("zoo", "publish", run, "our-second", *RIGHTS).code == 0
    listed = json.loads((shelf / index.FILE).read_text())["checkpoints"]
    assert [each["at"] for each in listed] == [
        "our-gap.safetensors", "our-second.safetensors", f"hf:team/gap-net@{commit}",
    ]  # fmt: skip


def test_every_command_takes_the_name(hub, checkpoint, few, tlzoo, tmp_path):
    given = {path.name: path.read_bytes() for path in files(checkpoint)}
    name = f"hf:team/gap-net@{hub.put('team/gap-net', given)}"
    for words in (
        ("embed", name, few, "-o", tmp_path / "embedded.parquet"),
        ("features", few, "-o", tmp_path / "f", "--target", "band_gap", "--from", f"{name}+descriptors"),
        ("recommend", few, "--target", "band_gap", "--from", name),
        ("screen", name, few, "-o", tmp_path / "screened.parquet"),
        ("test", name, "--on", few, "--target", "band_gap", "-o", tmp_path / "tested"),
        ("zoo", "info", name),
    ):
        answer = tlzoo(*words)
        assert answer.code == 0, (words, answer.err)
    local, there = load(str(checkpoint)).predict(few), load(name).predict(few)
    pd.testing.assert_frame_equal(local, there)
