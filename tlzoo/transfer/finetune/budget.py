"""What of a comparison fits into some minutes: fewer candidates, then fewer epochs, on both sides alike."""

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tlzoo.errors import UserError
from tlzoo.machine import children
from tlzoo.machine.device import shared
from tlzoo.machine.files import write_text
from tlzoo.machine.runtime import processes
from tlzoo.training.bundle import bundles
from tlzoo.transfer.finetune.duration import Durations, Tree, minutes, told
from tlzoo.transfer.finetune.experiment import SIDES, Plan, Side
from tlzoo.transfer.finetune.finetune_request import Request
from tlzoo.transfer.finetune.recipes import Recipe

FILE: Final = "budget.json"
# What a budget changes of a recipe.
CHANGED: Final = ("epochs", "rates", "kept_head_rates", "poolings")
# Part of the epochs that is left at least: with fewer, what is compared is how far training had come.
LEAST_EPOCHS: Final = 0.5
# Of a trainer, what lets several processes train.
SEVERAL: Final = ("devices", "num_nodes")


def seconds(plan: Plan, durations: Durations, request: Request) -> dict[Side, float]:
    """Estimate how long the trainings of each side take, those that repeat what was chosen included.

    Trainings of both sides that are done together, or at the same time, count for each by what they would
    take alone.
    """
    first = [(side, plan.trees[side, choice.start]) for side in SIDES for choice in plan.choices[side]]
    alone: dict[Side, list[float]] = {side: [] for side in SIDES}
    for side, tree in first:
        alone[side].append(durations.seconds(tree))
    rounds = [[tree for _, tree in first]]
    again: dict[Side, int] = {
        side: len(request.starts) - 1 if request.together and side == "scratch" else request.seeds - 1
        for side in SIDES
    }
    longest = {side: max(trees, key=durations.seconds) for side, trees in _by_side(first).items()}
    rounds.append([longest[side] for side in SIDES for _ in range(again[side])])
    at_once = jobs(request, plan)
    took = sum(_round(trees, durations, at_once) for trees in rounds if trees)
    weight = {side: sum(alone[side]) + again[side] * max(alone[side]) for side in SIDES}
    return {side: took * weight[side] / sum(weight.values()) for side in SIDES}


def _by_side(trees: Iterable[tuple[Side, Tree]]) -> dict[Side, list[Tree]]:
    found: dict[Side, list[Tree]] = {side: [] for side in SIDES}
    for side, tree in trees:
        found[side].append(tree)
    return found


def _round(trees: Sequence[Tree], durations: Durations, at_once: int) -> float:
    """Return the seconds of trainings that are begun together: the longest bundles first, to the idle."""
    shapes = [durations.shape(tree) for tree in trees]
    most = min(durations.most(tree) for tree in trees)
    ends = [0.0] * at_once
    costs = [
        sum(durations.seconds(trees[i]) for i in bundle) * durations.share(trees[bundle[0]], len(bundle))
        for bundle in bundles(shapes, at_once, most)
    ]
    for cost in sorted(costs, reverse=True):
        heapq.heapreplace(ends, ends[0] + cost)
    return max(ends)


def jobs(request: Request, plan: Plan) -> int:
    """Return how many trainings are done at a time: on an accelerator, or by several processes each, one."""
    trainers = [tree["trainer"] for tree in plan.trees.values()]
    several = any(each.get(name, 1) not in (1, "1") for each in trainers for name in SEVERAL)
    if shared(trainers) or several or not children.FORKS:
        return 1
    return request.jobs or processes()


def total(found: Mapping[Side, float]) -> float:
    """Return the seconds of both sides."""
    return sum(found.values())


def affordable(
    request: Request,
    row: Recipe,
    durations: Durations,
    planned: Callable[[Recipe], Plan],
    say: Callable[[str], None],
) -> tuple[Plan, float | None]:
    """Return the trainings of a comparison, as many as fit into the minutes asked for, and their seconds.

    A comparison that was begun goes on with the same, whatever the machine has to do meanwhile. Of trainings
    by several processes nothing is known.

    Raises:
        UserError: Not even the least of it fits, or nobody can tell.
    """
    plan = planned(row)
    if any(tree["trainer"].get(name, 1) not in (1, "1") for tree in plan.trees.values() for name in SEVERAL):
        if request.minutes is not None:
            raise UserError("--minutes is for one process: leave trainer.devices and num_nodes out")
        return plan, None
    if request.minutes is not None:
        less = kept(request, row) or within(
            60 * request.minutes, row, lambda some: total(seconds(planned(some), durations, request))
        )
        keep(request, less)
        full, plan = plan, planned(less)
        if text := left_out(full, plan):
            say(f"--minutes {request.minutes:g} leave {text}")
    took = total(seconds(plan, durations, request))
    return plan, took


def within(limit: float, row: Recipe, cost: Callable[[Recipe], float]) -> Recipe:
    """Return as much of a recipe as takes so many seconds at most.

    Left out are, one after the other: all learning rates but the largest, which did best most often
    (configs/studies/recipe-100.yaml); all poolings but the first; epochs, down to a half of them. What was
    asked for by name, the cost has anyway.

    Raises:
        UserError: Nothing fits.
    """
    for less in _less(row):
        if cost(less) <= limit:
            return less
    shortest = cost(less)
    raise UserError(
        f"--minutes {limit / 60:g} are too few: all that is to be compared takes {told(cost(row))} on this "
        "machine, and the least of it, one learning rate and pooling with half of the epochs where none are "
        f"asked for, {told(shortest)}. Give --minutes {minutes(shortest)}, or a smaller network, or learn "
        "from frozen features, which trains no network: tlzoo features"
    )


def _less(row: Recipe) -> Iterator[Recipe]:
    """Yield ever less of a recipe, itself first."""
    yield row
    yield (row := replace(row, rates=row.rates[-1:], kept_head_rates=row.kept_head_rates[-1:]))
    yield (row := replace(row, poolings=row.poolings[:1]))
    for epochs in range(row.epochs - 1, round(LEAST_EPOCHS * row.epochs) - 1, -1):
        yield replace(row, epochs=epochs)


def least(row: Recipe) -> Recipe:
    """Return the least of a recipe that is worth comparing."""
    *_, shortest = _less(row)
    return shortest


def left_out(full: Plan, less: Plan) -> str:
    """Say what of a plan was left out; empty if nothing was."""
    found = []
    for name, what in (("rate", "learning rate"), ("pooling", "pooling")):
        tried, left = ({getattr(one, name) for one in each.choices["transfer"]} for each in (full, less))
        if len(left) < len(tried):
            found.append(f"one {what} instead of {len(tried)}")
    epochs, fewer = (next(iter(each.trees.values()))["trainer"]["max_epochs"] for each in (full, less))
    if fewer < epochs:
        found.append(f"{fewer} epochs instead of {epochs}")
    return ", ".join(found)


def kept(request: Request, row: Recipe) -> Recipe | None:
    """Return what was left of a recipe when a comparison began; it goes on with the same. None: it is new."""
    try:
        content = json.loads((request.run_dir / FILE).read_text(encoding="utf-8"))
        found: dict[str, Any] = {name: tuple(content[name]) for name in CHANGED if name != "epochs"}
        less = replace(row, **found, epochs=int(content["epochs"]))
        return less if content["minutes"] == request.minutes else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def keep(request: Request, less: Recipe) -> None:
    """Write down what is left of a recipe."""
    content = {"minutes": request.minutes, **{name: getattr(less, name) for name in CHANGED}}
    write_text(request.run_dir / FILE, json.dumps(content, indent=1) + "\n")
