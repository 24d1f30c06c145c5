"""What a study's page shows: the section ``report`` of its file, read and checked."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tlzoo.errors import UserError, did_you_mean
from tlzoo.study.axes import Axes, Condition, Label, Labels, condition, known

# Roles that an axis may have in a kind of figure, those it must have first.
ROLES: Final = {
    "heatmap": ("x", "y"),
    "gain": ("y", "panels"),
    "curve": ("x", "lines", "panels"),
    "bars": ("x", "lines", "panels"),
}
REQUIRED: Final = {"heatmap": ("x", "y"), "gain": ("y",), "curve": ("x",), "bars": ("x",)}
# Kinds that show nothing but gains.
OF_GAINS: Final = ("heatmap", "gain")
KEYS: Final = ("title", "baseline", "figures", "reference")
REFERENCE_KEYS: Final = ("file", "name", "where", "axes")


@dataclass(frozen=True)
class Plan:
    """A figure to draw.

    Attributes:
        kind: A key of :data:`ROLES`.
        roles: The axis in each role. An axis in none gives a figure for each of its values.
        title: Its title; empty for one made of its axes.
        where: Values of axes that it is confined to.
        choose: Axes of which the value with the least validation error is shown.
    """

    kind: str
    roles: Mapping[str, str]
    title: str = ""
    where: Condition = field(default_factory=dict)
    choose: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """Published numbers to stand beside the study's own.

    Attributes:
        file: Name of a CSV table with the columns ``unit``, ``mae_mean`` and ``mae_sd``.
        where: Values of columns that hold for the whole study.
        axes: For each axis what columns hold for its values, or the column that holds the values.
    """

    file: str
    name: str
    where: Mapping[str, Label]
    axes: Mapping[str, Mapping[Label, Mapping[str, Label]] | str]


@dataclass(frozen=True)
class Outline:
    """The section ``report`` of a study.

    Attributes:
        title: Heading of the page; empty for the study's name.
        baseline: Values of axes that make a run the baseline of all that differ from it in these axes alone.
    """

    title: str = ""
    baseline: Labels = field(default_factory=dict)
    plans: tuple[Plan, ...] = ()
    reference: Reference | None = None


def outline(axes: Axes, averaged: Collection[str], given: object, where: str) -> Outline:
    """Return the outline that was written.

    Axes that are averaged over, or tuned, cannot be shown. Without a section there is a figure of all others.

    Raises:
        UserError: Something is misspelt or does not fit; the message says what would.
    """
    shown = [name for name in axes if name not in averaged]
    section = _mapping({} if given is None else given, KEYS, where)
    baseline = _baseline(axes, shown, section.get("baseline"), f"{where}: baseline")
    written = section.get("figures", _default(shown))
    if not isinstance(written, list):
        raise UserError(f"{where}: figures: wanted a list, got {written!r}")
    plans = tuple(
        _plan(axes, shown, one, f"{where}: figure {number}") for number, one in enumerate(written, start=1)
    )
    for number, plan in enumerate(plans, start=1):
        if plan.kind in OF_GAINS and not baseline:
            raise UserError(
                f"{where}: figure {number}: a {plan.kind} shows gains over a baseline; "
                "say which, such as baseline: {source: scratch}"
            )
    reference = section.get("reference")
    return Outline(
        title=str(section.get("title", "")),
        baseline=baseline,
        plans=plans,
        reference=None if reference is None else _reference(axes, reference, f"{where}: reference"),
    )


def _default(shown: list[str]) -> list[dict[str, str]]:
    """Return bars along the last axis, a panel for each value of the first."""
    if not shown:
        return []
    first = {"panels": shown[0]} if len(shown) > 1 else {}
    return [{"figure": "bars", "x": shown[-1], **first}]


def _baseline(axes: Axes, shown: list[str], given: object, where: str) -> Labels:
    if given is None:
        return {}
    wanted = condition(axes, given, where)
    for name, values in wanted.items():
        _shown(shown, name, where)
        if len(values) > 1:
            raise UserError(f"{where}: wanted one value of {name}, got {', '.join(map(str, values))}")
    return {name: values[0] for name, values in wanted.items()}


def _plan(axes: Axes, shown: list[str], given: object, where: str) -> Plan:
    kind = given.get("figure") if isinstance(given, Mapping) else None
    if kind not in ROLES:
        raise UserError(f"{where}: wanted {{figure: {'|'.join(ROLES)}, …}}, got {given!r}")
    section = _mapping(given, ("figure", "title", "where", "choose", *ROLES[kind]), where)
    roles = {role: known(axes, section[role], f"{where}: {role}") for role in ROLES[kind] if role in section}
    if lacking := [role for role in REQUIRED[kind] if role not in roles]:
        raise UserError(
            f"{where}: a {kind} needs {' and '.join(lacking)}: one of the axes {', '.join(shown)}"
        )
    choose = section.get("choose", [])
    chosen = tuple(
        known(axes, name, f"{where}: choose") for name in (choose if isinstance(choose, list) else [choose])
    )
    taken = [*roles.values(), *chosen]
    for name in taken:
        _shown(shown, name, where)
    if twice := [name for name in taken if taken.count(name) > 1]:
        raise UserError(f"{where}: the axis {twice[0]} has two roles; give it one")
    only = condition(axes, section["where"], f"{where}: where") if "where" in section else {}
    for name in only:
        _shown(shown, name, f"{where}: where")
    return Plan(kind, roles, str(section.get("title", "")), only, chosen)


def _shown(shown: list[str], name: str, where: str) -> None:
    if name not in shown:
        raise UserError(
            f"{where}: the axis {name} is averaged over or tuned and cannot be shown; "
            f"there are: {', '.join(shown)}"
        )


def _reference(axes: Axes, given: object, where: str) -> Reference:
    section = _mapping(given, REFERENCE_KEYS, where)
    if not isinstance(section.get("file"), str):
        raise UserError(f"{where}: wanted {{file: TABLE.csv, …}}, got {given!r}")
    columns: dict[str, Mapping[Label, Mapping[str, Label]] | str] = {}
    for name, values in _mapping(section.get("axes", {}), None, f"{where}: axes").items():
        axis = axes[known(axes, name, f"{where}: axes")]
        if isinstance(values, str):
            columns[axis.name] = values
            continue
        place = f"{where}: axes.{name}"
        try:
            columns[axis.name] = {
                axis.label(value): _mapping(wanted, None, f"{place}.{value}")
                for value, wanted in _mapping(values, None, place).items()
            }
        except UserError as error:
            raise UserError(str(error) if place in str(error) else f"{place}: {error}") from error
    return Reference(
        file=section["file"],
        name=str(section.get("name", section["file"])),
        where=_mapping(section.get("where", {}), None, f"{where}: where"),
        axes=columns,
    )


def _mapping(given: object, keys: Collection[str] | None, where: str) -> dict[Any, Any]:
    """Return what was written if it is a mapping with no other keys than these."""
    if not isinstance(given, Mapping):
        raise UserError(f"{where}: wanted keys with values, got {given!r}")
    if keys is not None and (unknown := [name for name in given if name not in keys]):
        raise UserError(
            f"{where}: there is no {unknown[0]!r}; there are: {', '.join(keys)}"
            f"{did_you_mean(unknown[0], keys)}"
        )
    return dict(given)
