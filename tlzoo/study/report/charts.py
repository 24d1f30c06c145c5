"""The figures of a study's page, as its outline wants them."""

from collections.abc import Iterator
from typing import Final

from tlzoo.crystals import with_unit
from tlzoo.study.axes import Condition
from tlzoo.study.report import error_charts, gain_charts
from tlzoo.study.report.drawing import Drawing, percent, style
from tlzoo.study.report.measures import Measures, filtered, rows
from tlzoo.study.report.outline import OF_GAINS
from tlzoo.study.report.view import View
from tlzoo.study.summary import best


def drawings(numbers: Measures, only: Condition) -> Iterator[Drawing]:
    """Yield the figures of a study's page.

    Raises:
        UserError: A panel would have errors in different units.
    """
    for number, plan in enumerate(numbers.study.report.plans, start=1):
        table = filtered(numbers.study, numbers.meant(only), plan.where)
        if plan.choose:
            table = best(table, [name for name in numbers.kept if name not in plan.choose])
        used = {*plan.roles.values(), *plan.choose}
        rest = [name for name in numbers.kept if name not in used and table[name].nunique() > 1]
        parts = list(table.groupby(rest, sort=False)) if rest else [((), table)]
        for place, (labels, part) in enumerate(parts, start=1):
            name = f"figure-{number}-{place}" if len(parts) > 1 else f"figure-{number}"
            which = ", ".join(f"{axis} {value}" for axis, value in zip(rest, labels, strict=True))
            yield _drawing(View(numbers, plan, part), name, which)


def _drawing(view: View, name: str, which: str) -> Drawing:
    gains, axes = view.plan.kind in OF_GAINS, " × ".join(view.plan.roles.values())
    own = f"Gain over {view.against}: {axes}" if gains else f"Test error against {axes}"
    title = ": ".join(filter(None, (view.plan.title or own, which)))
    if not view.part["gain" if gains else "test_mae"].notna().any():
        return Drawing(name, title, "", "", None)
    draw, caption, alternative = KINDS[view.plan.kind]
    with style():
        drawn = draw(view)
    return Drawing(name, title, caption(view), f"{title}. {alternative(view)}", drawn)


def _beside(view: View, text: str) -> str:
    return f" {text.format(view.publisher)}" if view.publisher else ""


def _heatmap_caption(view: View) -> str:
    return (
        f"How much lower the test MAE is than that of {view.against}, all trials together; below it the 95 % "
        "interval. In brackets: the interval contains zero. Hatched, with a minus: "
        f"{view.numbers.harm}." + _beside(view, "The other map: {}.")
    )


def _gain_caption(view: View) -> str:
    return (
        f"Gain in test MAE over {view.against} with its 95 % bootstrap interval. "
        f"Filled circle: better. Hollow: the interval contains zero. Triangle: {view.numbers.harm}."
        + _beside(view, "Diamond: {}.")
    )


def _curve_caption(view: View) -> str:
    spread = "Mean and standard deviation (band) of the trials; both axes are logarithmic where values allow."
    dashed = f" Dashed: {view.against}." if view.numbers.study.report.baseline else ""
    return spread + dashed + _beside(view, "On the right of each: {}.")


def _bars_caption(view: View) -> str:
    gains = ""
    if view.numbers.study.report.baseline:
        gains = (
            f" Dashed: {view.against}; at the foot the gain over it, in brackets where its 95 % interval "
            "contains zero. Hatched: worse than it."
        )
    return (
        "Mean of the trials with standard deviation; circles: single trials."
        + gains
        + _beside(view, "Diamond: {}.")
    )


def _gains_told(view: View) -> str:
    shown = view.part[view.part["gain"].notna()]
    ordered = rows(shown.sort_values("gain"))
    ends = (ordered[-1], ordered[0])
    told = [f"{percent(row['gain'])} ({', '.join(map(str, view.numbers.key(row)))})" for row in ends]
    negative = int((shown["gain"] < 0).sum())
    return f"{len(shown)} gains over {view.against}, from {told[1]} to {told[0]}; {negative} negative."


def _errors_told(view: View) -> str:
    parts = []
    for title, _, part in view.split("panels", view.part):
        ordered = rows(part.dropna(subset="test_mae").sort_values("test_mae"))
        if ordered:
            ends = [
                f"{row['test_mae']:.3g} ({', '.join(map(str, view.numbers.key(row)))})"
                for row in (ordered[0], ordered[-1])
            ]
            told = with_unit(" to ".join(ends), str(ordered[0]["unit"]))
            parts.append(f"{title}: test MAE from {told}")
    return "; ".join(parts) + "."


# What draws a kind of figure, says how to read it, and says what it shows without a picture.
KINDS: Final = {
    "heatmap": (gain_charts.heatmap, _heatmap_caption, _gains_told),
    "gain": (gain_charts.intervals, _gain_caption, _gains_told),
    "curve": (error_charts.curve, _curve_caption, _errors_told),
    "bars": (error_charts.bars, _bars_caption, _errors_told),
}
