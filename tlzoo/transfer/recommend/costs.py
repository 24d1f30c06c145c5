"""What it takes to learn from a model: crystals that it reads in a second, and fine-tuning."""

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Final

from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import UserError
from tlzoo.training.pace import FORWARD, SECONDS, Pace
from tlzoo.transfer.finetune.budget import least, seconds, total
from tlzoo.transfer.finetune.duration import Durations
from tlzoo.transfer.finetune.experiment import plan
from tlzoo.transfer.finetune.finetune_request import Request
from tlzoo.transfer.finetune.recipes import Recipe

# How often a regression is fitted: in ten folds, and to all crystals.
FITS: Final = 11


@dataclass(frozen=True)
class Cost:
    """Seconds that the trainings of a comparison take.

    Attributes:
        network: Models with equal networks are compared with the same trainings from scratch.
        transfer: The trainings that start from the model, scratch: the others, as the recipe has them.
        least: Part of these that has to be, at least.
    """

    network: str
    transfer: float
    scratch: float
    least: float


def together(costs: Iterable[Cost]) -> float:
    """Return the seconds of a comparison that starts from several models."""
    found = list(costs)
    scratch = {cost.network: cost.scratch for cost in found}
    return sum(cost.transfer for cost in found) + sum(scratch.values())


def fine_tuning(
    request: Request, data: CrystalDataModule, row: Recipe, paces: Mapping[str, float]
) -> dict[str, Cost]:
    """Estimate the trainings from each model that a request names; what cannot be trained is left out.

    Args:
        request: What to fine-tune on what.
        data: Its data.
        row: How many trainings there are by default.
        paces: Seconds in which each model reads a crystal. Where a step would take longer than what may be
            spent on timing it, it is estimated from that.
    """
    timing, found = Durations(data), {}
    for name, pace in paces.items():
        asked, slow = replace(request, starts=(name,)), pace * row.batch_size / FORWARD > SECONDS
        durations = Durations(data, assumed=Pace(pace / FORWARD, 0)) if slow else timing
        try:
            starts = asked.start_models()
            plans = [plan(asked, starts, each, data.targets) for each in (row, least(row))]
            full, less = (seconds(each, durations, asked) for each in plans)
        except UserError:
            continue
        backbone = deepcopy(plans[0].trees["scratch", None]["model"]["backbone"])
        backbone["init_args"].pop("pooling", None)
        network = json.dumps(backbone, sort_keys=True)
        found[name] = Cost(network, full["transfer"], full["scratch"], total(less) / total(full))
    return found
