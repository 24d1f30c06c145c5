"""The axes of a study, their values, and conditions on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlzoo.errors import UserError, did_you_mean

Label = str | int | float | bool
Labels = Mapping[str, Label]
Tree = dict[str, Any]
# The values that are meant, of each axis that is named.
Condition = Mapping[str, tuple[Label, ...]]


@dataclass(frozen=True)
class Axis:
    """What a study varies.

    Attributes:
        values: The configuration to put on top for each value.
    """

    name: str
    values: Mapping[Label, Tree]

    def label(self, given: object) -> Label:
        """Return the value of this axis that is meant, as it stands in the study.

        >>> Axis("rate", {0.001: {}, 0.01: {}}).label("1e-3")
        0.001

        Raises:
            UserError: There is none; the message lists those there are.
        """
        for value in self.values:
            if value == given or str(value) == str(given) or _number(value) == _number(given) is not None:
                return value
        there = ", ".join(map(str, self.values)) + did_you_mean(str(given), self.values)
        raise UserError(f"the axis {self.name} has no value {given!r}; there are: {there}")


Axes = Mapping[str, Axis]


def condition(axes: Axes, given: object, where: str) -> Condition:
    """Return a condition on axes from what was written: a value or a list of values by name of the axis.

    Raises:
        UserError: An axis or a value is unknown.
    """
    if not isinstance(given, Mapping) or not given:
        raise UserError(
            f"{where}: wanted values of axes, such as {{{next(iter(axes), 'axis')}: value}}, got {given!r}"
        )
    wanted: dict[str, tuple[Label, ...]] = {}
    for name, values in given.items():
        axis = axes[known(axes, name, where)]
        several = values if isinstance(values, list | tuple) else [values]
        try:
            wanted[axis.name] = tuple(axis.label(value) for value in several)
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
    return wanted


def known(axes: Axes, name: object, where: str) -> str:
    """Return the name of an axis.

    Raises:
        UserError: There is no such axis.
    """
    if name not in axes:
        raise UserError(
            f"{where}: there is no axis {name!r}; there are: {', '.join(axes)}{did_you_mean(str(name), axes)}"
        )
    return str(name)


def holds(wanted: Condition, labels: Labels) -> bool:
    """Whether a combination has the values that are wanted."""
    return all(labels[name] in values for name, values in wanted.items())


def text(labels: Labels) -> str:
    """Return a combination in a line.

    >>> text({"source": "scratch", "trial": 1})
    'source=scratch trial=1'
    """
    return " ".join(f"{name}={value}" for name, value in labels.items())


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except ValueError:
        return None
