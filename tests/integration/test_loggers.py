"""Loggers by name, read back with the formats' own readers."""

import importlib.metadata
import struct
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tlzoo.training import loggers

pytestmark = pytest.mark.usefixtures("cache", "quick")


def scalars(folder):
    """Values by tag and step: records are a length, its checksum, an event, and its checksum."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for path in sorted(folder.glob("events.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value
    return found


@pytest.mark.parametrize("option", ["--logger", "--trainer.logger"])
def test_tensorboard(option, tlzoo, config, tmp_path):
    pytest.importorskip("tensorboardX")
    run = tmp_path / "run"
    path = config({"data.units": {"band_gap": "eV"}})
    answer = tlzoo("fit", "--config", path, "--run_dir", run, option, "tensorboard")
    assert answer.code == 0, answer.err
    assert tlzoo("test", run).code == 0
    found = scalars(run / "tensorboard")
    history = pd.read_csv(run / "history.csv")
    for name in ("train/loss", "val/mae"):
        told = {step: value.simple_value for step, value in found[name].items()}
        assert told == pytest.approx(dict(zip(history["epoch"], history[name], strict=True)))
    metrics = loggers.Run(run).metrics
    for part in ("train", "val", "test"):
        ((step, value),) = found[f"results/{part}/mae"].items()
        assert step == len(history)
        assert value.simple_value == pytest.approx(metrics[part]["mae"])
    assert found["units/text_summary"][2].tensor.string_val[0].decode() == "band_gap: eV"
    hparams = yaml.safe_load((run / "tensorboard" / "hparams.yaml").read_text())
    assert hparams["units"] == {"band_gap": "eV"}
    assert hparams["model"]["backbone"]["init_args"]["dim"] == 8


def test_a_stopped_training_goes_on_in_the_same_curves(tlzoo, config, tmp_path):
    pytest.importorskip("tensorboardX")
    run = tmp_path / "run"
    short = config({"trainer.max_epochs": 1, "trainer.logger": "tensorboard", "model.schedule": "constant"})
    assert tlzoo("fit", "--config", short, "--run_dir", run).code == 0
    long = config({"trainer.max_epochs": 3, "trainer.logger": "tensorboard", "model.schedule": "constant"})
    resumed = tlzoo("fit", "--config", long, "--run_dir", tmp_path / "more", "--ckpt-path", run / "last.ckpt")
    assert resumed.code == 0, resumed.err
    assert sorted(scalars(tmp_path / "more" / "tensorboard")["val/mae"]) == [2, 3]


def test_csv_is_what_every_run_keeps(tlzoo, config, tmp_path):
    assert tlzoo("fit", "--config", config(), "--run_dir", tmp_path / "run", "--logger", "csv").code == 0
    assert list(pd.read_csv(tmp_path / "run" / "history.csv")["epoch"]) == [1, 2]
    assert not list((tmp_path / "run").glob("lightning_logs"))


def test_several_and_in_a_file(tlzoo, config, tmp_path):
    pytest.importorskip("tensorboardX")
    path = config({"trainer.logger": ["tensorboard", "csv"]})
    assert tlzoo("fit", "--config", path, "--run_dir", tmp_path / "run").code == 0
    assert scalars(tmp_path / "run" / "tensorboard")["val/mae"]
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["trainer"]["logger"]
    assert [each["class_path"].rpartition(".")[2] for each in kept] == ["TensorBoard"]


def test_an_unknown_logger_is_refused(tlzoo, config):
    answer = tlzoo("fit", "--config", config(), "--logger", "tensorbord")
    assert answer.code == 2
    assert "there is no logger 'tensorbord'; there are: wandb, tensorboard, mlflow, csv" in answer.err
    assert "did you mean 'tensorboard'?" in answer.err


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_named_with_the_command(name, tlzoo, config, tmp_path, monkeypatch):
    def absent(package):
        raise importlib.metadata.PackageNotFoundError(package)

    path = config()
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", absent)
        answer = tlzoo("fit", "--config", path, "--run_dir", tmp_path / "run", "--logger", name)
    assert answer.code == 2
    assert f"tlzoo[{name}]" in answer.err
    assert "--trainer.logger false" in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_mlflow(tlzoo, config, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    path = config({"data.units": {"band_gap": "eV"}})
    answer = tlzoo("fit", "--config", path, "--run_dir", "runs/a", "--logger", "mlflow")
    assert answer.code == 0, answer.err
    assert tlzoo("test", "runs/a").code == 0
    client = mlflow.MlflowClient(Path("mlruns").resolve().as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("tlzoo").experiment_id])
    assert run.info.run_id == Path("runs/a/mlflow-id.txt").read_text()
    assert run.data.params["units/band_gap"] == "eV"
    history = pd.read_csv("runs/a/history.csv")
    curve = {point.step: point.value for point in client.get_metric_history(run.info.run_id, "val/mae")}
    assert curve == pytest.approx(dict(zip(history["epoch"], history["val/mae"], strict=True)))
    metrics = loggers.Run(Path("runs/a")).metrics
    assert run.data.metrics["results/test/mae"] == pytest.approx(metrics["test"]["mae"])
    assert {"predictions.csv", "model.safetensors"} <= {
        file.path for file in client.list_artifacts(run.info.run_id)
    }
