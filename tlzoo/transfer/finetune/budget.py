"""What of a comparison fits into some minutes: fewer candidates, then fewer epochs, on both sides alike."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from tlzoo.errors import UserError
from tlzoo.machine.files import write_text
from tlzoo.transfer.finetune.duration import Durations, minutes, told
from tlzoo.transfer.finetune.experiment import SIDES, Plan
from tlzoo.transfer.finetune.finetune_request import Request
from tlzoo.transfer.finetune.recipes import Recipe

FILE: Final = "budget.json"
# What a budget changes of a recipe.
CHANGED: Final = ("epochs", "rates", "kept_head_rates", "poolings")
# Part of the epochs that is left at least: with fewer, what is compared is how far training had come.
LEAST_EPOCHS: Final = 0.5
# Of a trainer, what lets several processes train.
SEVERAL: Final = ("devices", "num_nodes")


def seconds(plan: Plan, durations: Durations, request: Request) -> float:
    """Estimate how long all trainings of a comparison take, those that repeat what was chosen included."""
    total = 0.0
    for side in SIDES:
        each = [durations.seconds(plan.trees[side, choice.start]) for choice in plan.choices[side]]
        again = len(request.starts) - 1 if request.together and side == "scratch" else request.seeds - 1
        total += sum(each) + again * max(each)
    return total


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
    plan, less = planned(row), None
    if any(tree["trainer"].get(name, 1) not in (1, "1") for tree in plan.trees.values() for name in SEVERAL):
        if request.minutes is not None:
            raise UserError("--minutes is for one process: leave trainer.devices and num_nodes out")
        return plan, None
    if request.minutes is not None:
        less = kept(request.run_dir, row) or within(
            60 * request.minutes, row, lambda some: seconds(planned(some), durations, request)
        )
        keep(request.run_dir, less)
        plan = planned(less)
    took = seconds(plan, durations, request)
    if less is not None and (text := left_out(row, less)):
        say(f"--minutes {request.minutes:g} leave {text}")
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
        f"asked for, {told(shortest)}. Give --minutes {minutes(shortest)}, --from a smaller network, or learn "
        "from frozen features, which trains no network: tlzoo features"
    )


def _less(row: Recipe) -> Iterator[Recipe]:
    """Yield ever less of a recipe, itself first."""
    yield row
    yield (row := replace(row, rates=row.rates[-1:], kept_head_rates=row.kept_head_rates[-1:]))
    yield (row := replace(row, poolings=row.poolings[:1]))
    for epochs in range(row.epochs - 1, round(LEAST_EPOCHS * row.epochs) - 1, -1):
        yield replace(row, epochs=epochs)


def left_out(row: Recipe, less: Recipe) -> str:
    """Say what of a recipe was left out; empty if nothing was."""
    found = []
    if less.rates != row.rates:
        found.append(f"one learning rate instead of {len(row.rates)}")
    if less.poolings != row.poolings:
        found.append(f"{less.poolings[0]} pooling alone")
    if less.epochs != row.epochs:
        found.append(f"{less.epochs} epochs instead of {row.epochs}")
    return ", ".join(found)


def kept(folder: Path, row: Recipe) -> Recipe | None:
    """Return what was left of a recipe when a comparison began; it goes on with the same. None: it is new."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        found: dict[str, Any] = {name: tuple(content[name]) for name in CHANGED if name != "epochs"}
        return replace(row, **found, epochs=int(content["epochs"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def keep(folder: Path, less: Recipe) -> None:
    """Write down what is left of a recipe."""
    content = {name: value for name, value in asdict(less).items() if name in CHANGED}
    write_text(folder / FILE, json.dumps(content, indent=1) + "\n")
