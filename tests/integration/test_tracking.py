"""A fit and its test on Weights & Biases, offline: what the files of W&B hold afterwards."""

import hashlib
import importlib.metadata
import io
import json
import logging
import logging.handlers
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ase.build
import ase.io
import pandas as pd
import pytest
import yaml

from tlzoo.__main__ import main
from tlzoo.cards.lineage import input_artifact
from tlzoo.errors import UserError
from tlzoo.training.run import Run
from tlzoo.training.tracking import Wandb, choose_mode, run_id

FRAGMENT = Path(__file__).parents[2] / "configs" / "logger" / "wandb.yaml"
NOBODY = SimpleNamespace(
    mode="online", api_key=None, identity_token_file=None, base_url="https://api.wandb.ai"
)


@dataclass(frozen=True)
class Command:
    """What one command left: its messages, and the records of its W&B run."""

    messages: list[str]
    shown: str
    records: list[Any]
    files: Path

    def of(self, kind: str) -> list[Any]:
        return [getattr(record, kind) for record in self.records if record.WhichOneof("record_type") == kind]

    def logged(self, kind: str) -> list[dict[str, Any]]:
        """The items of history, summary or config records, nested keys joined by a dot."""
        return [
            {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
            for record in self.of(kind)
            for items in [record.item if kind == "history" else record.update]
        ]

    def summary(self) -> dict[str, Any]:
        return {key: value for record in self.logged("summary") for key, value in record.items()}

    def media(self, key: str) -> Path:
        return self.files / self.summary()[f"{key}.path"]

    def model(self) -> Any:
        """The model that the run logged."""
        (output,) = self.outputs()
        return output

    def outputs(self) -> list[Any]:
        return [a for a in self.of("artifact") if a.type == "model" and not a.use_after_commit]

    def inputs(self) -> list[Any]:
        return [a for a in self.of("artifact") if a.type == "model" and a.use_after_commit]


def records(path: Path) -> Iterator[Any]:
    """Read a .wandb file: a header of 7 bytes, then the LevelDB log format, in blocks of 32 KiB."""
    import wandb
    from wandb.proto import wandb_internal_pb2

    # finish() does not wait until files are complete; ending the service does, as each process does at exit
    wandb.teardown()
    data, at, content = path.read_bytes(), 7, b""
    while at < len(data):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        content += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:
            yield wandb_internal_pb2.Record.FromString(content)
            content = b""


@pytest.fixture(scope="module")
def no_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """A user who never used W&B; what a run sets is undone."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        patch.setenv("WANDB_DATA_DIR", "undone at the end")
        patch.delenv("WANDB_DATA_DIR")
        patch.setenv("WANDB_CONFIG_DIR", str(folder))
        patch.setenv("WANDB_CACHE_DIR", str(folder / "cache"))
        patch.setenv("NETRC", str(folder / "netrc"))
        patch.setenv("TLZOO_CACHE", str(folder / "tlzoo"))
        yield patch


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs on twelve rock salts."""
    folder = tmp_path_factory.mktemp("data")
    frames = [
        ase.build.bulk(f"{metal}{halogen}", "rocksalt", a=a)
        for metal, radius in {"Li": 0.8, "Na": 1.0, "K": 1.4, "Rb": 1.5}.items()
        for halogen, a in {"F": 2.7 + 2 * radius, "Cl": 3.6 + 2 * radius, "Br": 3.9 + 2 * radius}.items()
    ]
    for i, frame in enumerate(frames):
        frame.info = {"id": f"{i}", "gap": 4.0 + 0.5 * i}
    ase.io.write(folder / "salts.extxyz", frames)
    experiment = {
        "model": {
            "backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}},
            "head": {"class_path": "Regression", "init_args": {"hidden": [8]}},
            "freezing": {"class_path": "NewHead"},
        },
        "data": {
            "source": str(folder / "salts.extxyz"),
            "targets": ["gap"],
            "units": {"gap": "eV"},
            "split": {"class_path": "Random", "init_args": {"val": 0.25, "test": 0.25}},
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False},
    }
    path = folder / "salts.yaml"
    path.write_text(yaml.safe_dump(experiment))
    return path


@pytest.fixture(scope="module")
def commands(
    config: Path, no_key: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Command]]:
    """`tlzoo fit` and `tlzoo test` in one run directory."""
    run = tmp_path_factory.mktemp("runs") / "salts"
    fit = ["fit", "--config", str(config), "--config", str(FRAGMENT), "--run_dir", str(run)]
    return run, {"fit": command(fit, run), "test": command(["test", str(run)], run)}


def command(args: list[str], run: Path) -> Command:
    """Run a command in this process."""
    handler = logging.handlers.BufferingHandler(capacity=100)
    log = logging.getLogger("tlzoo")
    log.addHandler(handler)
    before = set(run.glob("wandb/offline-run-*"))
    with io.StringIO() as screen, redirect_stdout(screen), redirect_stderr(screen):
        code = main(args)
        shown = screen.getvalue()
    log.removeHandler(handler)
    assert code == 0, shown
    (new,) = set(run.glob("wandb/offline-run-*")) - before
    (file,) = new.glob("*.wandb")
    messages = [record.getMessage() for record in handler.buffer]
    return Command(messages, shown, list(records(file)), new / "files")


def test_without_a_key_it_stays_offline_and_says_so_once(commands):
    run, done = commands
    for each in done.values():
        (said,) = [message for message in each.messages if "W&B" in message]
        assert "offline, there is no key" in said
        assert f"wandb sync {run / 'wandb'}{os.sep}offline-run-*-" in said
        assert "wandb" not in each.shown, "W&B itself is silent"


def test_one_run_directory_is_one_run(commands):
    run, done = commands
    identity = (run / "wandb-id.txt").read_text()
    for each in done.values():
        (header,) = each.of("run")
        assert (header.run_id, header.project, header.display_name) == (identity, "tlzoo", "salts")
        # recorded by newer versions only
        assert getattr(header, "resume", True)


def test_resolved_configuration(commands):
    run, done = commands
    assert done["fit"].logged("config")[0] == yaml.safe_load((run / "config.yaml").read_text())


def test_curves_over_epochs(commands):
    run, done = commands
    points = [row for row in done["fit"].logged("history") if "val/mae" in row]
    history = pd.read_csv(run / "history.csv")
    assert [point["epoch"] for point in points] == [0, 1]
    assert [point["val/mae"] for point in points] == pytest.approx(list(history["val/mae"]))
    assert {"train/*", "val/*"} <= {m.glob_name for m in done["fit"].of("metric") if m.step_metric == "epoch"}
    assert not any("val/mae" in row or "test/mae" in row for row in done["test"].logged("history"))


def test_table_of_groups(commands):
    _, done = commands
    table = json.loads(done["fit"].media("groups").read_text())
    assert table["columns"] == ["group", "parameters", "trains"]
    groups = {group: (size, trains) for group, size, trains in table["data"]}
    assert list(groups) == ["embed", "conv.0", "head.hidden", "head.out"]
    assert groups["head.out"] == (9, True)
    assert not groups["conv.0"][1]


@pytest.mark.parametrize(("name", "parts"), [("fit", ["train", "val"]), ("test", ["train", "val", "test"])])
def test_results(commands, name, parts):
    run, done = commands
    results = done[name].summary()["results"]
    assert [part for part in results if part in {"train", "val", "test"}] == parts
    if name == "test":
        assert results == json.loads((run / "metrics.json").read_text())
        assert done[name].media("parity").read_bytes() == (run / "parity.png").read_bytes()
    table = json.loads(done[name].media("predictions").read_text())
    frame = pd.DataFrame(table["data"], columns=table["columns"])
    expected = pd.read_csv(run / "predictions.csv", dtype={"id": str})
    expected = expected[expected["part"].isin(parts)].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, expected)


def test_model_is_an_artifact_that_waits_in_the_run_directory(commands):
    run, done = commands
    artifact = done["test"].model()
    staged = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    assert set(staged) == {"model.safetensors", "model.json", "model.domain.safetensors"}
    for name, path in staged.items():
        assert path.is_relative_to(run / "wandb")
        assert path.read_bytes() == (run / name).read_bytes()
    about = json.loads(artifact.metadata)
    assert (about["targets"], about["units"]) == (["gap"], ["eV"])
    assert about["sha256"] == hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def contents(artifact: Any) -> dict[str, str]:
    """The digest of each file, which W&B compares to tell whether two artifacts are the same version."""
    return {entry.path: entry.digest for entry in artifact.manifest.contents}


def test_training_from_scratch_has_no_input(commands):
    _, done = commands
    assert not done["fit"].inputs()
    assert not done["test"].inputs()


@pytest.fixture(scope="module")
def lineage(commands, config, tmp_path_factory):
    """A checkpoint published from the run, and a run that starts from it; both with W&B."""
    pretrained, _ = commands
    folder = tmp_path_factory.mktemp("lineage")
    zoo = folder / "zoo"
    rights = ["--citation", "nobody", "--licence", "CC0", "--description", "salts"]
    publishing = ["zoo", "publish", str(pretrained), "tiny-salts", "--folder", str(zoo), *rights]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLZOO_CHECKPOINTS", str(zoo))
        published = command(publishing, pretrained)
        done = {"publish": published}
        for name, start in {"named": "tiny-salts", "run": str(pretrained)}.items():
            tree = yaml.safe_load(config.read_text())
            for part in ("backbone", "head"):
                tree["model"][part] = {"class_path": f"tlzoo.zoo.{part}", "init_args": {"name": start}}
            path = folder / f"{name}.yaml"
            path.write_text(yaml.safe_dump(tree))
            run = folder / name
            done[name] = command(
                ["fit", "--config", str(path), "--config", str(FRAGMENT), "--run_dir", str(run)], run
            )
    return zoo, done


def test_a_published_checkpoint_is_an_output_of_its_run(commands, lineage):
    pretrained, _ = commands
    zoo, done = lineage
    (header,) = done["publish"].of("run")
    assert header.run_id == (pretrained / "wandb-id.txt").read_text()
    output = done["publish"].model()
    assert output.name == "tiny-salts"
    staged = {entry.path: Path(entry.local_path).read_bytes() for entry in output.manifest.contents}
    assert staged == {path.name: path.read_bytes() for path in zoo.iterdir()}


def test_a_checkpoint_is_the_input_of_a_run_that_starts_from_it(lineage):
    _, done = lineage
    (given,) = done["named"].inputs()
    assert given.name == "tiny-salts"
    assert contents(given) == contents(done["publish"].model()), "the same version, whoever logs it first"
    made = done["named"].model()
    assert made.name != given.name
    assert contents(made).keys() == {"model.safetensors", "model.json", "model.domain.safetensors"}


def test_a_run_is_the_input_of_another(commands, lineage):
    pretrained, before = commands
    _, done = lineage
    (given,) = done["run"].inputs()
    assert given.name == f"model-{(pretrained / 'wandb-id.txt').read_text()}" == before["test"].model().name
    assert contents(given) == contents(before["test"].model())


def test_online_an_artifact_is_used_by_its_name(tmp_path, no_key, monkeypatch):
    used = []
    monkeypatch.setattr("tlzoo.training.tracking.input_artifact", lambda name: f"files of {name}")
    tracker = Wandb()
    tracker._experiment = SimpleNamespace(disabled=False, offline=False, use_artifact=used.append)
    tracker._start_from("wandb:team/project/net:v3")
    tracker._start_from("tiny-salts")
    assert used == ["team/project/net:v3", "files of tiny-salts"]
    tracker._experiment.disabled = True
    tracker._start_from("tiny-salts")
    assert len(used) == 2


def test_artifacts_are_named_after_what_they_hold(commands, no_key, monkeypatch, tmp_path):
    pretrained, _ = commands
    alone = tmp_path / "net.safetensors"
    for suffix in (".safetensors", ".json"):
        alone.with_suffix(suffix).write_bytes((pretrained / f"model{suffix}").read_bytes())
    sha256 = hashlib.sha256(alone.read_bytes()).hexdigest()
    assert input_artifact(str(alone)).name == f"model-{sha256[:8]}"
    monkeypatch.setattr("tlzoo.cards.lineage.locate", lambda _: alone)
    assert input_artifact("wandb:team/project/net:v3").name == "net"


def test_stopped_training_ends_the_run_as_failed(tmp_path, no_key):
    tracker = Wandb(name="other")
    tracker.begin(Run(tmp_path))
    tracker.finalize("success")
    assert tracker.version == (tmp_path / "wandb-id.txt").read_text(), "results are still to come"
    tracker.finalize("failed")
    assert tracker.version is None
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    (end,) = [record.exit for record in records(file) if record.WhichOneof("record_type") == "exit"]
    assert end.exit_code == 1


def test_id_is_kept(tmp_path):
    assert run_id(Run(tmp_path)) == run_id(Run(tmp_path))


@pytest.mark.parametrize("found", ["api_key", "identity_token_file"])
def test_with_a_key_settings_decide(no_key, found):
    assert choose_mode(SimpleNamespace(**{**vars(NOBODY), found: "x"})) is None


@pytest.mark.parametrize(
    ("host", "mode"), [("api.wandb.ai", None), ("elsewhere.org", "offline")], ids=["ours", "another"]
)
def test_key_in_netrc(no_key, tmp_path, host, mode):
    path = tmp_path / "netrc"
    path.write_text(f"machine {host} login user password {'0' * 40}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETRC", str(path))
        assert choose_mode(NOBODY) == mode


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_mode_of_the_user_is_kept(no_key, mode):
    assert choose_mode(SimpleNamespace(**{**vars(NOBODY), "mode": mode})) is None


def test_online_without_a_key_is_a_mistake_not_a_question(no_key, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(UserError, match="WANDB_MODE=online needs a key"):
        choose_mode(NOBODY)


def test_without_the_package(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(UserError, match=r"pip install tlzoo\[wandb\]"):
        Wandb()
