"""The short help of `tlzoo fit` is true, and shorter words mean what they stand for."""

import importlib
import re
from typing import NamedTuple

import pytest

from tlzoo import backbones, freezing, heads
from tlzoo.commands.fit_options import help_text, spelled
from tlzoo.data import splits
from tlzoo.errors import UserError
from tlzoo.training.configuration import Configuration, TlzooCLI
from tlzoo.training.logger_names import NAMES

HOMES = {
    "model.backbone": (backbones, backbones.Backbone),
    "model.head": (heads, heads.Head),
    "model.freezing": (freezing, freezing.Freezing),
    "data.split": (splits, splits.Splitter),
}


class Option(NamedTuple):
    """What the short help says of an option: its key, default and classes."""

    key: str
    default: str | None
    classes: tuple[str, ...]


def options(command):
    for told in re.split(r"\n  --", help_text(command).partition("What people set first:")[2])[1:]:
        lines = told.partition("\n\n")[0].splitlines()
        if lines[0].split()[0] not in {"from", "target", "logger", "folds", "jobs"}:
            key = lines[0].split()[0].replace("-", "_")
            default = re.search(r"\(default: (.*)\)$", lines[0])
            classes = tuple(lines[1].strip().split(", ")) if len(lines) > 1 else ()
            yield Option(key, default and default[1], classes)


FIT, MEASURE = list(options("fit")), list(options("test"))
assert (len(FIT), len(MEASURE)) == (19, 5)


@pytest.fixture(scope="module")
def defaults():
    """What the real parser knows, with its defaults."""
    arguments = ["--model.backbone=CGCNN", "--model.head=Regression", "--data.source=semiconductors"]
    parser = TlzooCLI(arguments).parser
    return {action.dest: action.default for action in parser._actions}


@pytest.mark.parametrize("option", dict.fromkeys([*FIT, *MEASURE]), ids=lambda option: option.key)
def test_what_the_short_help_names_exists(option, defaults):
    assert option.key in defaults
    there = defaults[option.key]
    there = there["class_path"] if hasattr(there, "get") and "class_path" in there else there
    if option.default is None:
        # none, or told in words
        assert there is None or "==SUPPRESS==" in str(there) or option.key in {"model.backbone", "model.head"}
    else:
        assert option.default == str(there)


@pytest.mark.parametrize(
    ("key", "name"), [(option.key, name) for option in FIT for name in option.classes if option.key in HOMES]
)
def test_classes_are_what_they_are_named_for(key, name):
    home, kind = HOMES[key]
    assert issubclass(getattr(home, name), kind)


def test_other_classes_that_are_named_exist():
    paths = re.findall(r"\b(?:tlzoo|torch)\.[a-z.]+\.[A-Z]\w+", help_text("fit"))
    assert "torch.optim.AdamW" in paths
    for path in [*paths, *filter(None, NAMES.values())]:
        module, _, name = path.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), type)


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_it_fits_on_a_screen(command, tlzoo):
    answer = tlzoo(command, "--help")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert len(lines) <= 42
    assert max(map(len, lines)) <= 120
    assert f"tlzoo {command} --help all" in answer.out


@pytest.mark.parametrize("words", [("--help", "all"), ("--help-all",)])
def test_the_whole_help_is_there(words, capsys):
    from tlzoo.__main__ import main

    with pytest.raises(SystemExit) as stop:
        main(["fit", *words])
    assert stop.value.code == 0
    assert "--trainer.gradient_clip_val" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["--run-dir", "a-b"], ["--run_dir", "a-b"], ["--run-dir=a-b"], ["--run_dir=a-b"]]
)
def test_dashes_and_underscores_are_one(words):
    values = read(*words, "--data.batch-size", "3", "--data.units.K-VRH", "GPa").values
    assert (values.run_dir, values.data.batch_size, values.data.units) == ("a-b", 3, {"K-VRH": "GPa"})


@pytest.mark.parametrize("words", [["--target", "a,b"], ["--target", "a", "--target=b"]])
def test_targets_as_elsewhere(words):
    assert read(*words).values.data.targets == ["a", "b"]


def test_a_start_as_elsewhere():
    chosen = read("--from", "cgcnn-fe", "--model.backbone=CGCNN").values.model.backbone
    assert chosen.class_path == "tlzoo.zoo.backbone"
    assert chosen.init_args.name == "cgcnn-fe"
    with pytest.raises(
        UserError, match=r"starts from one model, got a, b; `tlzoo finetune --from a,b` tries all"
    ):
        read("--from", "a", "--from", "b")
    with pytest.raises(UserError, match="--from: a value is missing"):
        read("--from")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--data.batch-size", "3", "--data.batch_size=4"],
            "--data.batch_size: one value is wanted, got 3 and 4",
        ),
        (["--run_dir=a", "--run-dir", "b"], "--run_dir: one value is wanted, got a and b"),
    ],
)
def test_an_option_is_given_once(words, message):
    with pytest.raises(UserError, match=message):
        spelled(words)


@pytest.mark.parametrize("columns", ["gap", "gap,k", "[gap]", '["gap","k"]', "null"])
@pytest.mark.parametrize("joined", [True, False])
def test_columns_may_be_typed_without_brackets(columns, joined):
    words = [f"--data.targets={columns}"] if joined else ["--data.targets", columns]
    wanted = {"null": None}.get(columns, ["gap", "k"] if "k" in columns else ["gap"])
    assert read(*words).values.data.targets == wanted


def test_a_logger_that_is_not_there_is_told_apart_from_a_class():
    with pytest.raises(UserError, match=r"no logger 'tensorbord'; .* did you mean 'tensorboard'"):
        spelled(["--trainer.logger", "tensorbord"])
    for word in ("TensorBoardLogger", "my.Logger", "false", "null", "true"):
        assert spelled([f"--trainer.logger={word}"]) == [f"--trainer.logger={word}"]


def test_what_may_be_repeated_still_may():
    words = ["--config", "a", "--config", "b", "--trainer.callbacks+=A", "--trainer.callbacks.x=1"]
    words += ["--trainer.callbacks+=B", "--trainer.callbacks.x=2", "--trainer.deterministic", "--run_dir=r"]
    assert spelled([*words, "--trainer.deterministic", "--run_dir", "r"])[: len(words)] == words


def read(*words):
    needed = ["--model.backbone=CGCNN", "--model.head=Regression", "--data.source=semiconductors"]
    return Configuration.parsed(spelled([*needed, *words]))
