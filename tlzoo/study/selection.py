"""Which runs of a study are wanted, as far as the results at hand decide it. Test errors decide nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from tlzoo.study.axes import Label, Labels, holds
from tlzoo.study.grid import Study, StudyRun

Row = Mapping[str, Any]
Rows = Mapping[str, Row]
Group = tuple[tuple[str, Label], ...]


@dataclass(frozen=True)
class Decision:
    """What is to be run.

    Attributes:
        wanted: Runs that are part of the study for sure, those to choose from first.
        undecided: Values on all axes but the tuned ones, of runs that wait for a choice.
        hopeless: The same of runs for which nothing can be chosen: all that was tried has failed.
    """

    wanted: tuple[StudyRun, ...]
    undecided: tuple[Labels, ...] = ()
    hopeless: tuple[Labels, ...] = ()


def decide(study: Study, rows: Rows) -> Decision:
    """Return which runs are wanted, by the results that will not change any more."""
    if study.tune is None:
        return Decision(study.runs())
    best = chosen(study, rows)
    first = [run for run in study.runs() if holds(study.tune.where, run.labels)]
    second, undecided, hopeless = [], {}, {}
    for run in study.runs():
        if holds(study.tune.where, run.labels):
            continue
        group = tuning_group(study, run.labels)
        rest = {name: value for name, value in run.labels.items() if name not in study.tune.axes}
        if group not in best:
            undecided[tuple(rest.items())] = rest
        elif (found := best[group]) is None:
            hopeless[tuple(rest.items())] = rest
        elif all(run.labels[name] == value for name, value in found.items()):
            second.append(run)
    return Decision((*first, *second), tuple(undecided.values()), tuple(hopeless.values()))


def chosen(study: Study, rows: Rows) -> dict[Group, Labels | None]:
    """Return the values of the tuned axes with the least validation error, of groups where all were tried.

    None where all that was tried has failed. Of several runs in the place to try, the mean decides.
    """
    assert study.tune is not None
    tried: dict[Group, dict[Group, list[float]]] = {}
    unfinished = set()
    for run in study.runs():
        if not holds(study.tune.where, run.labels):
            continue
        group = tuning_group(study, run.labels)
        values = tuple((name, run.labels[name]) for name in study.tune.axes)
        if run.id in rows:
            tried.setdefault(group, {}).setdefault(values, []).append(validation_error(rows[run.id]))
        else:
            unfinished.add(group)
    found: dict[Group, Labels | None] = {}
    for group, errors in tried.items():
        if group in unfinished:
            continue
        least = min(errors, key=lambda values: sum(errors[values]) / len(errors[values]))
        found[group] = dict(least) if sum(errors[least]) < inf else None
    return found


def validation_error(row: Row) -> float:
    """Return the validation MAE of a result; inf if the run failed."""
    error = row.get("val_mae")
    return float(error) if row["status"] == "done" and error is not None else inf


def tuning_group(study: Study, labels: Labels) -> Group:
    """Return what the runs have in common of which tuning chooses one; without tuning, all labels."""
    fixed = {*study.tune.axes, *study.tune.where} if study.tune else set()
    return tuple((name, value) for name, value in labels.items() if name not in fixed)


def is_chosen(study: Study, run: StudyRun, best: Mapping[Group, Labels | None]) -> bool:
    """Whether a run has the chosen values of the tuned axes; without tuning, all have."""
    if study.tune is None:
        return True
    values = best.get(tuning_group(study, run.labels))
    return values is not None and all(run.labels[name] == value for name, value in values.items())


def once(runs: Iterable[StudyRun]) -> list[StudyRun]:
    """Return runs without those that compute the same as one before."""
    return list({run.id: run for run in reversed(list(runs))}.values())[::-1]
