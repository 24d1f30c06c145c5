"""A study as a W&B sweep: its agents' command is one that computes the run that is meant."""

import shlex

import pytest
import yaml

from tlzoo.commands import arguments
from tlzoo.commands.study import SPELLED, Run
from tlzoo.study.document import load
from tlzoo.study.study_folder import Folder
from tlzoo.training import tracking

STUDY = """\
axes:
  rate: {key: model.lr, values: [1, 2, 3]}
  trial: {key: seed, values: [1, 2]}
skip: [{rate: 3, trial: 1}]
"""
TUNED = "tune: {axes: [rate], with: {trial: 1}}\n"


@pytest.fixture
def written(tlzoo, tmp_path):
    def sweep(text, *words):
        file, output = tmp_path / "my study.yaml", tmp_path / "sweep.yaml"
        file.write_text(text)
        answer = tlzoo("study", "sweep", file, "--dir", tmp_path / "out", "-o", output, *words)
        return load(file), answer, output

    return sweep


def test_agents_call_the_command_that_computes_their_run(written, tmp_path):
    # imported here: it takes seconds
    from wandb.sdk.launch.sweeps import utils

    study, answer, output = written(STUDY)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"5 runs in {output}; begin: wandb sweep {output}\n"
    config = yaml.safe_load(output.read_text())
    assert (config["method"], config["program"]) == ("grid", "tlzoo")
    assert config["parameters"] == {"id": {"values": [run.id for run in study.runs()]}}
    for run in study.runs():
        # as W&B's agent puts a command together
        words, more = utils.make_launch_sweep_entrypoint(
            utils.create_sweep_command_args({"args": {"id": {"value": run.id}}}), config["command"]
        )
        tool, command, *rest = [*words, *more]
        assert (tool, command) == ("tlzoo", "study")
        assert rest[0] == "run"
        (given,) = arguments.parse(rest[1:], Run, spelled=SPELLED)
        assert (given.id, given.folder) == (run.id, tmp_path / "out")
        assert load(given.file).named(given.id) == {name: (value,) for name, value in run.labels.items()}
        assert shlex.split(shlex.join(rest)) == rest


def test_what_is_done_or_undecided_is_left_out(written, tmp_path):
    study, answer, output = written(STUDY.replace("skip: [{rate: 3, trial: 1}]\n", TUNED))
    assert answer.out.splitlines()[1] == "1 more wait until tuning has chosen: write another one then"
    wanted = yaml.safe_load(output.read_text())["parameters"]["id"]["values"]
    assert wanted == [run.id for run in study.runs() if run.labels["trial"] == 1]
    folder = Folder(tmp_path / "out")
    folder.make()
    for run in study.runs():
        folder.write({"id": run.id, "status": "done", "val_mae": 1.0, "seconds": 1}, None)
    _, answer, _ = written(STUDY)
    assert (answer.code, answer.err) == (2, "tlzoo: nothing is left for a sweep: 5 of 5 runs done\n")


def test_the_sweep_is_told_what_the_run_gave(monkeypatch):
    told = []

    class Experiment:
        def log(self, numbers):
            told.append(numbers)

        def finish(self):
            told.append("finished")

    monkeypatch.setattr("wandb.init", lambda config, **_: told.append(config) or Experiment())
    tracking.tell_sweep({"rate": 1}, {"val_mae": 2.0, "epochs": 3, "unit": "eV", "error": None})
    assert told == [{"rate": 1}, {"val_mae": 2.0, "epochs": 3}, "finished"]
