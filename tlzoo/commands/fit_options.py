"""What people set first in `tlzoo fit|validate|test`, and shorter words for it; light to import."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tlzoo.errors import UserError


@dataclass(frozen=True)
class Option:
    """An option of the parser, told in a line or two.

    Attributes:
        key: Its name.
        value: What stands for the value.
        text: What it is for.
        default: As the parser has it; None if there is none worth telling.
        classes: Those that it can be, for example.
    """

    key: str
    value: str
    text: str
    default: str | None = None
    classes: tuple[str, ...] = ()


SPLITS = ("Random", "ByComposition", "LeaveElementOut", "KFold", "FromColumn", "FromFile")
FREEZING = ("All", "TwoBody", "ThreeBody", "LastLayer", "NewHead", "Only", "Gradual")
DATA = Option("data.source", "DATA", "named data set, folder, zip, table, extxyz or ASE database")
BATCH = Option("data.batch_size", "N", "crystals per training batch", "64")
MACHINE = Option("trainer.accelerator", "NAME", "cpu, gpu or mps", "auto")
CONFIG = Option("config", "FILE", "YAML with any of these; may be repeated, later ones and options win")
RUN_DIR = Option(
    "run_dir", "DIR", "where everything is kept; the same command goes on where it was", "runs/latest"
)
FIT: Final = (
    CONFIG,
    RUN_DIR,
    Option("model.backbone", "CLASS", "the network", None, ("CGCNN", "ALIGNN", "DescriptorMLP")),
    Option(
        "model.head",
        "CLASS",
        "what it predicts",
        None,
        ("Regression", "MultiProperty", "Classification", "Gaussian", "Quantile"),
    ),
    Option(
        "model.freezing", "CLASS", "what is trained of a pretrained network; by default all", None, FREEZING
    ),
    DATA,
    Option("data.targets", "[COL,…]", "columns to learn; not needed if there is only one"),
    Option("data.units", "{COL: UNIT}", "their units, where the data do not say"),
    Option(
        "data.split",
        "CLASS",
        "training, validation and test part; by default 80/10/10 at random",
        None,
        SPLITS,
    ),
    BATCH,
    Option("trainer.max_epochs", "N", "passes over the training part"),
    Option(
        "model.optimizer", "CLASS", "with its learning rate as --model.optimizer.lr X", "torch.optim.AdamW"
    ),
    Option(
        "model.schedule", "NAME", "course of the learning rate: one-cycle, cosine or constant", "one-cycle"
    ),
    Option("seed_everything", "N", "seed of weights and batches", "0"),
    MACHINE,
    Option("trainer.devices", "N", "processes, or GPUs", "1"),
    Option("trainer.precision", "NAME", "32-true, or bf16-mixed on a GPU; by default 32-true"),
    Option(
        "trainer.logger",
        "CLASS",
        "where curves go besides the run directory",
        None,
        ("tlzoo.tracking.Wandb",),
    ),
    Option("ckpt_path", "FILE", "resume file to go on from, of another run directory"),
)
MEASURE: Final = (
    Option(
        "ckpt_path", "FILE", "resume file of the epoch to measure; by default the one that became the model"
    ),
    MACHINE,
    CONFIG,
    RUN_DIR,
    DATA,
)
# Shorter words for what a start and targets are called elsewhere.
SHORT: Final = (
    ("--from NAME", "start from a checkpoint (tlzoo zoo list), run directory or .safetensors file"),
    ("--target COL,…", "the same as --data.targets, as other commands call it"),
)
ABOUT: Final = {
    "fit": """\
Train a network, or fine-tune one, and export the model. A configuration has the sections model, data and
trainer; what a file says can be typed, too: `depth: 4` of a backbone is --model.backbone.depth 4.""",
    "validate": "Measure a trained run on its validation part.",
    "test": "Measure a trained run on its test part, beside trivial baselines on the same split.",
}


def help_text(command: str) -> str:
    """Return the short help of a command."""
    usage = "--config FILE [--config FILE ...] [--run-dir DIR]" if command == "fit" else "RUN"
    lines = [f"usage: tlzoo {command} {usage} [options]", "", ABOUT[command], "", "What people set first:"]
    for option in FIT if command == "fit" else MEASURE:
        flag = f"--{option.key.replace('_', '-')} {option.value}"
        default = f" (default: {option.default})" if option.default is not None else ""
        lines += _line(flag, f"{option.text}{default}")
        lines += [f"{'':29}{line}" for line in textwrap.wrap(", ".join(option.classes), 80)]
    if command == "fit":
        for flag, text in SHORT:
            lines += _line(flag, text)
    lines += [
        "",
        f"tlzoo {command} --help all lists all options, --model.backbone.help CLASS those of a class.",
    ]
    return "\n".join([*lines, "--print_config shows the configuration in full, and does nothing else.", ""])


def _line(flag: str, text: str) -> list[str]:
    return [f"  {flag:27}{text}"] if len(flag) < 27 else [f"  {flag}", f"{'':29}{text}"]


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
    >>> spelled(["--from", "a,b"])
    Traceback (most recent call last):
    tlzoo.errors.UserError: `tlzoo fit` starts from one model, got a, b; `tlzoo finetune --from a,b` tries all
    """
    words: list[str] = []
    short: dict[str, list[str]] = {"--from": [], "--target": []}
    given = iter(args)
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
    starts, targets = short.values()
    if len(starts) > 1:
        raise UserError(
            f"`tlzoo fit` starts from one model, got {', '.join(starts)}; "
            f"`tlzoo finetune --from {','.join(starts)}` tries all"
        )
    # at the end: what is typed wins over what a file says
    words += [f"--data.targets={json.dumps(targets)}"] if targets else []
    return words + [
        word
        for name in starts
        for word in ("--model.backbone=tlzoo.zoo.backbone", f"--model.backbone.name={name}")
    ]


def _underscored(name: str) -> str:
    # a column in --data.units.K-VRH keeps its name
    head, dot, column = name, "", ""
    if name.startswith("--data."):
        head, dot, column = name[7:].partition(".")
        head = f"--data.{head}"
    return f"--{head[2:].replace('-', '_')}{dot}{column}"
