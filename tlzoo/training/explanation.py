"""What the parser says of a mistake in a configuration, with what there is and what may be meant."""

import argparse
import importlib
import inspect
import re
from collections.abc import Iterable

from tlzoo import backbones, freezing, heads, plugins
from tlzoo.data import splits
from tlzoo.errors import did_you_mean

# What an argument can be.
KINDS = {
    "model.backbone": backbones.Backbone,
    "model.head": heads.Head,
    "model.freezing": freezing.Freezing,
    "data.split": splits.Splitter,
}

# What people look for under the names of `tlzoo finetune`, `tlzoo predict` and Keras.
ELSEWHERE = {
    "--epochs": "--trainer.max_epochs",
    "--lr": "--model.optimizer.lr",
    "--learning_rate": "--model.optimizer.lr",
    "--learning_rates": "--model.optimizer.lr",
    "--pooling": "--model.backbone.pooling",
    "--strategy": "--model.freezing",
    "--device": "--trainer.accelerator",
    "--patience": (
        "--trainer.callbacks+ EarlyStopping --trainer.callbacks.monitor val/mae "
        "--trainer.callbacks.patience 20"
    ),
}


def explained(message: str, parser: argparse.ArgumentParser) -> str:
    """Add to the message on an unknown class, key or option which there are, or the nearest."""
    unknown = re.search(r'key "(?P<key>[\w.]+)":.*dot import path string: (?P<name>\S+)', message, re.DOTALL)
    if unknown is not None and unknown["key"] in KINDS:
        there = sorted(kind.__name__ for kind in concrete(KINDS[unknown["key"]]))
        more = "".join(f"; {problem}" for problem in plugins.load()) + did_you_mean(unknown["name"], there)
        return f"{unknown['key']}: there is no class {unknown['name']!r}; there are: {', '.join(there)}{more}"
    nested = re.search(r'key "(?P<key>[\w.]+)":.*NestedArg\(key=\'(?P<name>[\w.]+)\'', message, re.DOTALL)
    # as jsonargparse says it now, and as 4.50 does
    abstract = r"(?:Expected an instantiatable|Problem with given class_path '[\w.]+\.(?:Backbone|Head)')"
    nested = nested or re.search(rf'key "(?P<key>[\w.]+)":(?P<name>)\s+{abstract}', message)
    if nested is not None and nested["key"] in KINDS:
        classes = ", ".join(sorted(kind.__name__ for kind in concrete(KINDS[nested["key"]])))
        flag, name = f"--{nested['key']}", nested["name"].removeprefix("init_args.")
        return (
            f"{flag}{'.' * bool(name)}{name} is of which class? Give {flag} CLASS, too; there are: {classes}"
        )
    keys = [action.dest for action in parser._actions]  # there is no public list
    if option := re.match(r"unrecognized arguments: (--[\w.-]+)", message):
        return message + nearest(option[1], [f"--{key}" for key in keys])
    if option := re.search(r"Group '(?P<group>[\w.]+)' does not accept option '(?P<name>[\w.]+)'", message):
        inside = [key.removeprefix(f"{option['group']}.") for key in keys if key.startswith(option["group"])]
        return message + did_you_mean(option["name"], inside)
    if option := re.search(r"Option '(?P<name>[\w.]+)' is not accepted", message):
        given = re.search(r"class_path\W+([\w.]+)", message)
        meant = did_you_mean(option["name"], arguments(given[1])) if given else nearest(option["name"], keys)
        return message[: option.end()] + meant + message[option.end() :].removeprefix("." if meant else "")
    return message


def nearest(name: str, keys: Iterable[str]) -> str:
    """Return what to add on an unknown key: the nearest, or the nearest of what keys end in.

    >>> nearest("--batch-size", ["--data.batch_size", "--data.source"])
    "; did you mean '--data.batch_size'?"
    """
    if name in ELSEWHERE:
        return f"; did you mean {ELSEWHERE[name]!r}?"
    ends = {key.rpartition(".")[2]: key for key in keys}
    text = did_you_mean(name, ends.values()) or did_you_mean(name.removeprefix("--"), ends)
    meant = re.search(r"'([\w-]+)'", text)
    return f"; did you mean {ends[meant[1]]!r}?" if meant and meant[1] in ends else text


def arguments(path: str) -> list[str]:
    """Name the arguments of a class or function by its path; none if it cannot be found."""
    module, _, name = path.rpartition(".")
    try:
        return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    except (ImportError, AttributeError, ValueError):
        return []


def concrete(kind: type) -> list[type]:
    """All classes of tlzoo and of plug-ins below another that can be built."""
    return [cls for cls in _below(kind) if not inspect.isabstract(cls)] + plugins.classes(kind)


def _below(kind: type) -> list[type]:
    children: list[type] = list(filter(plugins.is_own, kind.__subclasses__()))
    return children + [cls for child in children for cls in _below(child)]
