"""JSON read into dataclasses: types, presence and limits of every field, in one message that names it."""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tlzoo.errors import UserError, did_you_mean

WORDS = {str: "text", int: "an integer", float: "a finite number", bool: "true or false"}


@dataclass(frozen=True)
class Limit:
    """What more a field must fulfil: ``Annotated[int, Limit(lambda n: n > 0, "a positive integer")]``.

    Attributes:
        holds: Whether a value is accepted.
        wanted: The same in words, for the message.
    """

    holds: Callable[[Any], bool]
    wanted: str


def parse(kind: Any, value: Any, name: str = "") -> Any:  # noqa: ANN401 (any type, any JSON)
    """Return a value of JSON as a value of the given type.

    Args:
        kind: A dataclass, ``str``, ``int``, ``float``, ``bool``, ``list[…]``, ``dict[str, …]``, ``Any``, one
            of these ``| None``, or ``Annotated`` with a :class:`Limit`.
        value: What ``json.loads`` returned.
        name: Dotted name of the field, for messages.

    Raises:
        UserError: A field is missing, unknown, of another type or out of its limits.
    """
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast("type", kind), value, name)
    return _scalar(kind, value, name) if kind in WORDS else _composed(kind, value, name)


def _composed(kind: Any, value: Any, name: str) -> Any:  # noqa: ANN401
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        return None if value is None else parse(arguments[0], value, name)
    if origin is typing.Annotated:
        parsed = parse(arguments[0], value, name)
        if not arguments[1].holds(parsed):
            raise _wrong(name, value, arguments[1].wanted)
        return parsed
    if origin is list:
        if not isinstance(value, list):
            raise _wrong(name, value, "a list")
        return [parse(arguments[0], item, f"{name}[{i}]") for i, item in enumerate(value)]
    assert origin is dict
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "an object")
    return {key: parse(arguments[1], item, f"{name}.{key}") for key, item in value.items()}


def _scalar(kind: type, value: Any, name: str) -> Any:  # noqa: ANN401
    number = kind is float and isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value):
        return float(value)
    # bool is a kind of int for Python, not for us
    if type(value) is not kind or number:
        raise _wrong(name, value, WORDS[kind])
    return value


def _dataclass(kind: type, value: Any, name: str) -> Any:  # noqa: ANN401
    if not isinstance(value, Mapping):
        raise _wrong(name or kind.__name__, value, "an object")
    prefix = f"{name}." if name else ""
    hints = typing.get_type_hints(kind, include_extras=True)
    if lacking := [field for field in hints if field not in value]:
        raise UserError(f"{prefix}{lacking[0]} is missing")
    if unknown := [field for field in value if field not in hints]:
        raise UserError(
            f"{prefix}{unknown[0]} is no field; there are: {', '.join(hints)}"
            f"{did_you_mean(unknown[0], hints)}"
        )
    return kind(**{field: parse(hint, value[field], f"{prefix}{field}") for field, hint in hints.items()})


def _wrong(name: str, value: object, wanted: str) -> UserError:
    shown = repr(value)
    return UserError(f"{name} is {shown if len(shown) <= 60 else shown[:57] + '…'}, wanted {wanted}")
