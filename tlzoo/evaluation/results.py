"""The results of a run as a table for people."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tlzoo.crystals import with_unit

PARTS = ("train", "val", "test")
# Measures over all targets of a head with several.
OVERALL = ("relative_mae",)

Row = Mapping[str, float | None]


def error_text(mean: float, spread: float | None = None, digits: int = 4) -> str:
    """Return an error, in significant digits, with its standard deviation where there is one.

    >>> error_text(217.94, 123.4), error_text(0.52341, 0.0213), error_text(1.5, float("nan"))
    ('217.9 ± 123', '0.5234 ± 0.021', '1.5')
    """
    if math.isnan(mean):
        return "–"
    text = f"{mean:.{digits}g}"
    if spread is None or math.isnan(spread):
        return text
    return f"{text} ± {spread:.0f}" if spread >= 100 else f"{text} ± {spread:.2g}"


def aligned(rows: Sequence[Sequence[str]], sides: str, between: str = "  ") -> list[str]:
    """Return a table's rows as lines, each column flush left (``<``) or right (``>``).

    >>> aligned([("model", "MAE"), ("a", "0.125")], "<>")
    ['model    MAE', 'a      0.125']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        between.join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True))
        for row in rows
    ]


def results_table(metrics: Mapping[str, Any], labels: Mapping[tuple[str, str], int] | None = None) -> str:
    """Render ``metrics.json``: one row per part and target and, after a test, per trivial baseline.

    ``labels`` has the number of known labels by part and target; by default each crystal has one.

    >>> part = {"crystals": 20, "mae": 0.5, "r2": 0.9}
    >>> print(results_table({"targets": {"gap": "eV"}, "val": part}))
                                  crystals           mae            r2
    val                                 20           0.5           0.9
    (gap in eV; mae in the unit of the target)
    """
    rows = list(measured_rows(metrics, labels or {}))
    names = list(dict.fromkeys(name for _, _, row in rows for name in row))
    lines = [f"{'':28}{'crystals':>10}" + "".join(f"{name:>{max(14, len(name) + 2)}}" for name in names)]
    for label, crystals, row in rows:
        lines.append(f"{label:28}{crystals:>10}" + "".join(_cell(name, row.get(name)) for name in names))
    units = ", ".join(with_unit(name, metrics["targets"][name], "{} in {}") for name in _labelled(metrics))
    errors = " and ".join(name for name in ("mae", "rmse") if name in names)
    note = f"; {errors} in the unit of the target" if errors else ""
    return "\n".join([*(line.rstrip() for line in lines), f"({units}{note})"])


def intervals_text(metrics: Mapping[str, Any]) -> str:
    """Say how wide intervals are, and what they held; empty if there are none.

    >>> gap = {"kind": "absolute", "widths": {"0.9": 0.5}, "crystals": 20, "left_out": "validation crystals"}
    >>> gap |= {"test": {"held": 17, "crystals": 20}}
    >>> print(intervals_text({"targets": {"gap": "eV"}, "intervals": {"gap": gap}}))
    gap ± 0.5 eV should contain 90 % (from 20 validation crystals); it contains 17 of 20 test crystals (85 %)
    """
    return "\n".join(
        _interval(name, metrics["targets"].get(name) or "", one)
        for name, one in (metrics.get("intervals") or {}).items()
    )


def _interval(name: str, unit: str, one: Mapping[str, Any]) -> str:
    width, number = one["widths"]["0.9"], one["crystals"]
    around = {
        "absolute": with_unit(f"{name} ± {width:.3g}", unit),
        # a factor has no more; the widths of other kinds may be of any size
        "factor": f"{name} within a factor of {10 ** min(width, 38):.3g}",
        "std": f"{name} ± {width:.3g} of its {name}_std",
        "quantiles": with_unit(f"{name}_q5 to {name}_q95, each moved out by {width:.3g}", unit),
    }[one["kind"]]
    # of fewer than 9 the largest error alone cannot promise 90 %
    promised = min(0.9, number / (number + 1))
    text = f"{around} should contain {promised:.0%} (from {number:,} {one['left_out']})".replace("%", " %")
    if tested := one.get("test"):
        share = tested["held"] / tested["crystals"]
        held = f"{tested['held']:,} of {tested['crystals']:,} test crystals ({share:.0%})"
        text += f"; it contains {held}".replace("%", " %")
    return text


def _labelled(metrics: Mapping[str, Any]) -> list[str]:
    """Return the targets of which a label is known in some part."""
    targets = list(metrics["targets"])
    if len(targets) == 1:
        return targets
    parts = [metrics[part] for part in PARTS if metrics.get(part) is not None]
    known = {
        target for target in targets for part in parts for value in _of(target, part).values() if _is(value)
    }
    return [target for target in targets if target in known]


def _is(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def measured_rows(
    metrics: Mapping[str, Any], labels: Mapping[tuple[str, str], int]
) -> Iterator[tuple[str, int, Row]]:
    """Yield what a table of results has in a row: what was measured, of how many crystals, its errors."""
    several = len(metrics["targets"]) > 1
    targets = _labelled(metrics)
    for part in PARTS:
        if (measured := metrics.get(part)) is None:
            continue
        for target in targets:
            label = f"{part}, {target}" if several else part
            row = {name: value for name, value in measured.items() if name != "crystals"}
            count = labels.get((part, target), measured["crystals"])
            yield label, count, _of(target, row) if several else row
        if len(targets) > 1:
            yield f"{part}, all", measured["crystals"], {name: measured.get(name) for name in OVERALL}
    for target, baselines in metrics.get("baselines", {}).items():
        for name, parts in baselines.items():
            if "test" in parts:
                label = f"test, {target}, {name}" if several else f"test, {name}"
                count = labels.get(("test", target), metrics["test"]["crystals"])
                yield label, count, parts["test"]


def _of(target: str, measured: Mapping[str, float | None]) -> Row:
    """Return the measures of one of several targets: ``mae`` for ``mae_<target>``."""
    end = f"_{target}"
    return {name.removesuffix(end): value for name, value in measured.items() if name.endswith(end)}


def _cell(name: str, value: float | None) -> str:
    width = max(14, len(name) + 2)
    return f"{value:>{width}.4g}" if value is not None and math.isfinite(value) else " " * width
