"""What people set first in `tlzoo fit|validate|test`, and shorter words for it; light to import."""

import json
from collections.abc import Sequence
from typing import Final

from tlzoo.errors import UserError
from tlzoo.training.logger_names import chosen, is_name

FIT: Final = """\
usage: tlzoo fit --config FILE [--config FILE ...] [--run-dir DIR] [options]

Train a network, from scratch or from a pretrained one, and save the model. Settings come from YAML files with
the sections model, data and trainer, or from options: `depth: 4` of the backbone is --model.backbone.depth 4.
Example: tlzoo fit --from momentnet-u --data.source mine.csv --target gap --model.head Regression

What people set first:
  --config FILE              YAML file with settings; may be repeated: later ones win, options win over all
  --run-dir DIR              directory of the run; by default a new one, with a link to it \
(default: runs/latest)
  --model.backbone CLASS     network that turns a crystal into a vector (its embedding)
                             CGCNN, ALIGNN, MomentNet, DescriptorMLP, Roost
  --model.head CLASS         layers that predict from the embedding: one number, several, a class …
                             Regression, MultiProperty, Classification, Gaussian, Quantile
  --model.freezing CLASS     which layers of a pretrained network are trained; by default all
                             All, TwoBody, ThreeBody, LastLayer, NewHead, Only, Gradual, LoRA, Biases, LPFT
  --data.source DATA         labelled crystals: named data set, folder, zip, table, extxyz or ASE database
  --data.targets COL,…       columns to learn; not needed if the data have only one
  --data.units {COL: UNIT}   units of the columns, if the data do not state them
  --data.split CLASS         training, validation and test part; by default 80, 10 and 10 % at random
                             Random, ByComposition, LeaveElementOut, KFold, FromColumn, FromFile
  --data.batch-size N        crystals per training batch (default: 64)
  --trainer.max-epochs N     passes over the training part
  --model.optimizer CLASS    set its learning rate with --model.optimizer.lr X (default: torch.optim.AdamW)
  --model.schedule NAME      how the learning rate changes: one-cycle, cosine or constant (default: one-cycle)
  --seed-everything N        seed of the initial weights and the order of batches (default: 0)
  --trainer.accelerator NAME cpu, gpu or mps (default: auto)
  --trainer.devices N        number of processes, or of GPUs (default: 1)
  --trainer.precision NAME   32-true, or bf16-mixed on a GPU; by default 32-true
  --trainer.logger NAME,…    where to send curves and results, besides the run directory
                             wandb, tensorboard, mlflow; csv is history.csv, which every run has
  --ckpt-path FILE           resume file of another run to continue from
  --from NAME                model to start from: checkpoint (tlzoo zoo list), run directory or .safetensors
  --target COL,…             short for --data.targets
  --logger NAME,…            short for --trainer.logger
  --folds K                  train K times, each time with another part of the crystals left out to test on;
                             the models of all folds predict together
  --jobs N                   number of folds to train at a time (default: one per core)

tlzoo fit --help all lists all options; tlzoo fit --model.backbone.help CLASS lists those of a class.
--print_config prints the complete configuration and exits.
"""
MEASURE: Final = """\
usage: tlzoo COMMAND RUN [options]OTHER

ABOUT

What people set first:
  --ckpt-path FILE           resume file of the epoch to measure; by default the epoch that the model is from
  --trainer.accelerator NAME cpu, gpu or mps (default: auto)
  --config FILE              YAML file with settings; may be repeated: later ones win, options win over all
  --run-dir DIR              directory of the run, if no RUN is given (default: runs/latest)
  --data.source DATA         where the crystals of the run are, if they have moved

The errors are those of the run's own crystals; their order in the file does not matter.HINT
--trust allows RUN/config.yaml to run code of any package; otherwise only of tlzoo and plug-ins.

tlzoo COMMAND --help all lists all options.
--print_config prints the complete configuration and exits.
"""
MEASURED: Final = {
    "validate": "Measure the errors of a trained run on its validation part.",
    "test": "Measure the errors of a trained run on its test part, and those of trivial baselines.",
}


def help_text(command: str) -> str:
    """Return the short help of a command."""
    if command == "fit":
        return FIT
    text = MEASURE.replace("COMMAND", command).replace("ABOUT", MEASURED[command])
    test = command == "test"
    other = "\n       tlzoo test MODEL --on DATA [--target COL] [--unit UNIT] [-o DIR]" if test else ""
    hint = "\nWith --on DATA, any model is measured on other labelled crystals." if test else ""
    return text.replace("OTHER", other).replace("HINT", hint)


def on_other_data(args: Sequence[str]) -> bool:
    """Whether a model is to be measured on other data than its own.

    >>> on_other_data(["runs/a", "--on", "b.csv"]), on_other_data(["runs/a", "--config", "b.yaml"])
    (True, False)
    """
    return any(word.partition("=")[0] == "--on" for word in args)


def asks_for_help(args: Sequence[str]) -> bool:
    """Whether the arguments of a command ask for the short help.

    >>> asks_for_help(["--help"]), asks_for_help(["--help", "all"]), asks_for_help(["--help-all"])
    (True, False, False)
    """
    return any(word in ("-h", "--help") and args[i + 1 : i + 2] != ["all"] for i, word in enumerate(args))


def spelled(args: Sequence[str]) -> list[str]:
    """Return arguments as the parser knows them.

    >>> spelled(["runs/a-b", "--run-dir=a-b", "--trainer.max-epochs", "3", "--help-all"])
    ['runs/a-b', '--run_dir=a-b', '--trainer.max_epochs', '3', '--help']
    >>> spelled(["--logger", "tensorboard"])
    ['--trainer.logger={"class_path": "tlzoo.tracking.TensorBoard"}']
    >>> spelled(["--from", "a,b"])
    Traceback (most recent call last):
    tlzoo.errors.UserError: `tlzoo fit` starts from one model, got a, b; `tlzoo finetune --from a,b` tries all
    """
    refuse_repeated(args)
    words: list[str] = []
    short: dict[str, list[str]] = {"--from": [], "--target": [], "--logger": []}
    given = iter(_with_short_words(args))
    for word in given:
        name, equals, value = word.partition("=")
        if name in short:
            text = value if equals else next(given, None)
            if text is None:
                raise UserError(f"{name}: a value is missing")
            short[name] += [part for part in text.split(",") if part]
        elif name in ("--help-all", "--help_all"):
            words.append("--help")
        elif word != "all" or words[-1:] != ["--help"]:
            words.append(f"{_underscored(name)}{equals}{value}" if word.startswith("--") else word)
    starts, targets, loggers = short.values()
    if len(starts) > 1:
        raise UserError(
            f"`tlzoo fit` starts from one model, got {', '.join(starts)}; "
            f"`tlzoo finetune --from {','.join(starts)}` tries all"
        )
    # at the end: what is typed wins over what a file says
    words += [f"--data.targets={json.dumps(targets)}"] if targets else []
    words += [f"--trainer.logger={json.dumps(chosen(loggers))}"] if loggers else []
    return words + [
        word
        for name in starts
        for word in ("--model.backbone=tlzoo.zoo.backbone", f"--model.backbone.name={name}")
    ]


def _with_short_words(args: Sequence[str]) -> list[str]:
    """Return arguments with ``--logger NAME`` for one by its name, and ``--target COL`` for plain columns.

    >>> _with_short_words(["--trainer.logger=csv", "--data.targets", "gap,k", "--data.targets=[gap]"])
    ['--logger=csv', '--target', 'gap,k', '--data.targets=[gap]']
    """
    words = list(args)
    for place, word in enumerate(args):
        name, equals, value = word.partition("=")
        value = value if equals else "".join(args[place + 1 : place + 2])
        if _underscored(name) == "--trainer.logger" and _is_word(value):
            words[place] = word.replace(name, "--logger", 1)
        elif name == "--data.targets" and value[:1] not in ("", "[", "-") and value != "null":
            words[place] = word.replace(name, "--target", 1)
    return words


def _is_word(logger: str) -> bool:
    """Whether a logger is given by a name, right or misspelt, and not by a class, nor switched on or off."""
    words = logger.split(",")
    plain = all(word.isalpha() and word.islower() for word in words)
    return is_name(logger) or (plain and logger not in ("true", "false", "null"))


def refuse_repeated(args: Sequence[str]) -> None:
    """Refuse an option with two values, of which the last would win in silence; files are put together.

    >>> refuse_repeated(["--config", "a.yaml", "--config", "b.yaml", "--seed_everything=1"])
    >>> refuse_repeated(["--data.batch-size", "8", "--data.batch_size=16"])
    Traceback (most recent call last):
    tlzoo.errors.UserError: --data.batch_size: one value is wanted, got 8 and 16

    Raises:
        UserError: There is one.
    """
    given: dict[str, str] = {}
    # `--trainer.callbacks+=A --trainer.callbacks.x=1 --trainer.callbacks+=B …`: of each that is added
    added = tuple(word.partition("+")[0] for word in args if word.partition("=")[0].endswith("+"))
    for word, after in zip(args, [*args[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if not name.startswith("--") or name in {"--config", "--from", "--target", "--logger"}:
            continue
        name = _underscored(name)
        if not equals:
            value = "" if after.startswith("--") else after
        if name.startswith(added) and added:
            continue
        if given.setdefault(name, value) != value:
            raise UserError(f"{name}: one value is wanted, got {given[name]} and {value}")


def _underscored(name: str) -> str:
    parts = name[2:].split(".")
    # a column in --data.units.K-VRH keeps its name
    keys = 2 if parts[0] == "data" else len(parts)
    return "--" + ".".join([part.replace("-", "_") for part in parts[:keys]] + parts[keys:])
