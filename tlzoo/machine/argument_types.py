"""Arguments of functions that are of the wrong type, refused in words before they get anywhere."""

import types
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import signature
from numbers import Integral, Real
from os import PathLike
from typing import Any, Final, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from tlzoo.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")
WORDS: Final[Mapping[Any, str]] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    PathLike: "a path",
    Mapping: "a mapping",
}
SHOWN: Final = 60  # characters of what came


def check(name: str, value: object, hint: Any) -> None:  # noqa: ANN401 (any type)
    """Refuse an argument that is not of a type.

    Raises:
        UserError: It is not; the message says what was wanted.
    """
    if not fits(value, hint):
        shown = repr(value)
        shown = shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"
        raise UserError(f"{name}: wanted {words(hint)}, got {shown}")


def fits(value: object, hint: Any) -> bool:  # noqa: ANN401 (any type)
    """Whether a value is of a type, as a person would say: 1 is a number, True is not.

    >>> fits(1, float), fits("1", float | None), fits([1e-3, 1], tuple[float, ...]), fits(True, int)
    (True, False, True, False)
    """
    origin = get_origin(hint) or hint
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in get_args(hint))
    if origin in (tuple, list, Sequence):
        return isinstance(value, list | tuple) and all(fits(one, get_args(hint)[0]) for one in value)
    return hint is Any or (
        isinstance(value, _kind(origin)) and not (isinstance(value, bool) and hint in (int, float))
    )


def words(hint: Any) -> str:  # noqa: ANN401 (any type)
    """Say what is wanted.

    >>> words(float | None), words(tuple[float, ...] | None)
    ('a number', 'a list, each a number')
    """
    origin = get_origin(hint) or hint
    if origin in (Union, types.UnionType):
        kinds = [one for one in get_args(hint) if one is not type(None)]
        return " or ".join(dict.fromkeys(map(words, kinds)))
    if origin in (tuple, list, Sequence):
        return f"a list, each {words(get_args(hint)[0])}"
    kind = str if origin is Literal else PathLike if _is_path(origin) else origin
    return WORDS.get(kind, f"a {getattr(kind, '__name__', kind)}")


def checked(*names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator: what a function is given under these names must be of the types that it says."""

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            hints = get_type_hints(function)
            given = signature(function).bind(*args, **kwargs).arguments
            for name in (name for name in names if name in given):
                check(name, given[name], hints[name])
            return function(*args, **kwargs)

        return call

    return decorated


def _kind(origin: Any) -> Any:  # noqa: ANN401 (any type)
    """Return what a value is to be an instance of."""
    if origin is None:
        return type(None)
    if origin is Literal:  # which words there are says somebody who can guess what was meant
        return str
    if _is_path(origin):
        return (str, PathLike)
    return {int: Integral, float: Real}.get(origin, origin)


def _is_path(origin: Any) -> bool:  # noqa: ANN401 (any type)
    return isinstance(origin, type) and issubclass(origin, PathLike)
