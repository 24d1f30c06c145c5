"""JSON read into structs: types, presence and limits of every field, in one message that names it."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from tlzoo.errors import UserError, did_you_mean

WORDS = {str: "text", int: "an integer", list: "a list", dict: "an object"}
Kind = TypeVar("Kind")


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object of JSON with these fields, needed unless they have a default, and no others."""


def parse(kind: type[Kind], value: object) -> Kind:
    """Return what ``json.loads`` returned as a value of the given type, such as a :class:`Record`.

    Raises:
        UserError: A field is missing, unknown, of another type or out of its limits.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UserError(_said(kind, value, "", error)) from error


def _said(kind: Any, value: object, name: str, error: Exception) -> str:  # noqa: ANN401 (any type)
    """Say what is wrong in the innermost part that is refused; msgspec names neither keys nor what came."""
    for part in _parts(kind, value, name):
        try:
            msgspec.convert(part[1], part[0])
        except msgspec.ValidationError as inner:
            return _said(*part, inner)
    if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, Record):
        fields, prefix = kind.__struct_fields__, f"{name}." if name else ""
        needed = [field.name for field in msgspec.structs.fields(kind) if field.required]
        if lacking := [field for field in needed if field not in value]:
            return f"{prefix}{lacking[0]} is missing"
        if unknown := [field for field in value if field not in fields]:
            there = ", ".join(fields) + did_you_mean(unknown[0], fields)
            return f"{prefix}{unknown[0]} is no field; there are: {there}"
        return str(error)
    limit = next((one for one in get_args(kind) if isinstance(one, msgspec.Meta)), None)
    wanted = limit.description if limit else WORDS.get(get_origin(kind) or kind, WORDS[dict])
    shown = repr(value)
    return f"{name or kind.__name__} is {shown if len(shown) <= 60 else shown[:57] + '…'}, wanted {wanted}"


def _parts(kind: Any, value: object, name: str) -> Iterator[tuple[Any, object, str]]:  # noqa: ANN401
    """Yield type, value and name of each part of a value."""
    arguments = () if get_origin(kind) is Annotated else get_args(kind)
    if type(None) in arguments:
        yield arguments[0], value, name
    elif isinstance(value, list) and arguments:
        yield from ((arguments[0], part, f"{name}[{number}]") for number, part in enumerate(value))
    elif isinstance(value, Mapping) and arguments:
        yield from ((arguments[1], part, f"{name}.{key}") for key, part in value.items())
    elif isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, Record):
        yield from (
            (field.type, value[field.name], f"{name}.{field.name}" if name else field.name)
            for field in msgspec.structs.fields(kind)
            if field.name in value
        )
