"""Modules as plain data: the class and the arguments of its constructor, there and back."""

import dataclasses
import importlib
import inspect
import math
import typing
from collections.abc import Mapping
from typing import Any

import msgspec
from torch import nn

from tlzoo import plugins
from tlzoo.backbones.backbone import Backbone
from tlzoo.errors import UserError, first_line
from tlzoo.heads.head import Head

# What options were before they were there, by their last name, where it was not None.
BEFORE = {"degree": 0, "rule": "shells"}


def describe(module: nn.Module) -> dict[str, Any]:
    """Return the class of a module and the arguments of its constructor, as plain data.

    Arguments are read from attributes of the same name; ``name_`` where a method has the name.

    Raises:
        TypeError: An argument is not kept as an attribute, or is not plain data.
    """
    cls = type(module)
    arguments = {}
    for name in list(inspect.signature(cls).parameters):
        attribute = f"{name}_" if callable(getattr(cls, name, None)) else name
        if not hasattr(module, attribute):
            raise TypeError(f"{cls.__name__} does not keep its argument {name!r} as attribute {attribute!r}")
        arguments[name] = plain(getattr(module, attribute), f"{cls.__name__}.{attribute}")
    return {"class_path": plugins.class_path(cls), "init_args": arguments}


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Return a fresh module of a description; only classes of tlzoo and of plug-ins are built.

    Args:
        spec: ``class_path`` and ``init_args``, as of :func:`describe`; of a class of a plug-in also the
            ``package`` it is of.

    Raises:
        UserError: The class is neither tlzoo's nor registered, or does not take these arguments.
    """
    cls = class_of(spec)
    ours = plugins.is_own(cls)
    given = spec.get("init_args", {})
    if not isinstance(given, Mapping):
        raise UserError(f"{cls.__name__}: init_args is {str(given)[:60]}, wanted an object")
    arguments = dict(given)
    for argument, hint in typing.get_type_hints(cls.__init__).items():
        if argument in arguments and dataclasses.is_dataclass(hint):
            part = arguments[argument]
            if not isinstance(part, Mapping):
                raise UserError(f"{cls.__name__}: {argument} is {str(part)[:60]}, wanted an object")
            if ours:
                _check_kinds(typing.cast("type", hint), part)
            arguments[argument] = _call(typing.cast("type", hint), part)
    if ours:
        _check_kinds(cls, arguments)
    built: nn.Module = _call(cls, arguments)
    return built


def class_of(spec: Mapping[str, Any]) -> type[Any]:
    """Return the class of a description; errors of :func:`build`."""
    path = str(spec.get("class_path"))
    if path.startswith("tlzoo.") and all(part.isidentifier() for part in path.split(".")):
        return _own(path)
    return plugins.find(path, Backbone, Head, package=spec.get("package"))


def _check_kinds(cls: type[Any], arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of another kind than a constructor says, which it may fail on only when it is used."""
    for name, hint in typing.get_type_hints(cls.__init__).items():
        value = arguments.get(name)
        if name not in arguments or dataclasses.is_dataclass(value):
            continue
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            told = f"{name} is {str(value)[:60]!r}: {first_line(error)}"
            raise UserError(f"{cls.__name__} cannot be built from the stored arguments: {told}") from error
        except TypeError:
            continue  # a kind that msgspec does not know


def _own(path: str) -> type[Any]:
    """Return the backbone or head of tlzoo that a path names."""
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"there is no class {path} in this version of tlzoo; the model was made by another one"
        ) from error
    # the name may lead to something that a module of tlzoo merely imports
    if not (isinstance(cls, type) and issubclass(cls, Backbone | Head)):
        raise UserError(f"{path} is neither a backbone nor a head of tlzoo")
    return cls


def plain(value: Any, name: str) -> Any:  # noqa: ANN401 (anything JSON can hold)
    """Return data as JSON holds it: tuples as lists, dataclasses as dicts, NaN and infinities as None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value), name)
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{name}[{i}]") for i, item in enumerate(value)]
    raise TypeError(f"{name} is a {type(value).__name__}, which JSON cannot hold")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """Return what differs between two trees of plain data, by dotted key.

    An option that one of them is too old for is what it was before there was a choice.

    >>> differences({"graph": {"cutoff": 6.0}, "dim": 8}, {"graph": {"cutoff": 8.0}, "dim": 8})
    {'graph.cutoff': '6.0 → 8.0'}
    """
    one, other = flatten(before), flatten(after)
    values = {}
    for key in sorted(one.keys() | other.keys()):
        lacking = BEFORE.get(key.rpartition(".")[2])
        values[key] = one.get(key, lacking), other.get(key, lacking)
    return {key: f"{old!r} → {new!r}" for key, (old, new) in values.items() if old != new}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys as dotted ones.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _call(cls: type, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 (an instance of the class)
    try:
        return cls(**arguments)
    except TypeError as error:
        raise UserError(f"{cls.__name__} cannot be built from the stored arguments: {error}") from error
