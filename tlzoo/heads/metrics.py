"""Measures of a part of the data, accumulated over its batches and computed once."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_f1_score,
    multiclass_auroc,
    multiclass_f1_score,
)
from torchmetrics.utilities.data import dim_zero_cat

from tlzoo.machine import distributed

NAN = float("nan")
LEAST_PROBABILITY = 1e-7


class Metrics(Metric):
    """Keeps predictions and targets of all batches and measures them together.

    The numbers of one part are few (a megabyte for 100,000 crystals), so every measure is that of the part
    and not a mean of batch means. Where a measure does not exist (no label, R² of one sample) it is NaN.
    """

    full_state_update = False
    prediction: list[Tensor]
    target: list[Tensor]

    def __init__(self, targets: Sequence[str]) -> None:
        # processes pool them where all take part; by itself torchmetrics would wait for those that do not
        super().__init__(sync_on_compute=False)
        self.targets = tuple(targets)
        self.add_state("prediction", default=[], dist_reduce_fx="cat")
        self.add_state("target", default=[], dist_reduce_fx="cat")

    def update(
        self, prediction: Float[Tensor, "crystals columns"], target: Float[Tensor, "crystals targets"]
    ) -> None:
        """Add a batch: what ``Head.predict`` gives, and targets, NaN where unknown; physical units."""
        self.prediction.append(prediction.detach())
        self.target.append(target.detach())

    def pool(self) -> None:
        """Add the batches of all other processes; all must call it."""
        if distributed.world() > 1:
            self.prediction = [torch.cat(distributed.gather(dim_zero_cat(self.prediction).cpu()))]
            self.target = [torch.cat(distributed.gather(dim_zero_cat(self.target).cpu()))]

    def compute(self) -> dict[str, Tensor]:
        """Return every measure by name."""
        # float64 does not exist on every accelerator
        prediction, target = (dim_zero_cat(state).cpu().double() for state in (self.prediction, self.target))
        return {
            name: torch.as_tensor(value, dtype=torch.float32, device=self.device)
            for name, value in self.measure(prediction, target).items()
        }

    def measure(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor | float]:
        """Return every measure of all crystals, given as float64 on the CPU."""
        raise NotImplementedError


class RegressionMetrics(Metrics):
    """Mean absolute error, root mean square error (units of the target) and R².

    Names: ``mae``, ``rmse``, ``r2`` for one target; ``mae_<target>`` … for several.

    Args:
        targets: Names of the targets.
        relative: Add ``relative_mae``, without a unit: the mean over the targets of MAE divided by the mean
            absolute deviation of the target's known values (by 1 where they are all equal). 1 is as bad as
            predicting the mean.
    """

    def __init__(self, targets: Sequence[str], *, relative: bool = False) -> None:
        super().__init__(targets)
        self.relative = relative

    def measure(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor | float]:
        """Return the measures of each target and, if wanted, their mean."""
        result: dict[str, Tensor | float] = {}
        ratios = []
        for i, name in enumerate(self.targets):
            known = ~target[:, i].isnan()
            truth = target[known, i]
            error = prediction[known, i] - truth
            end = f"_{name}" if len(self.targets) > 1 else ""
            # the mean of nothing is NaN, without a warning
            result[f"mae{end}"] = error.abs().mean()
            result[f"rmse{end}"] = error.square().mean().sqrt()
            result[f"r2{end}"] = _r2(error, truth)
            if len(truth):
                deviation = (truth - truth.mean()).abs().mean()
                ratios.append(error.abs().mean() / (deviation if deviation > 0 else 1.0))
        if self.relative:
            result["relative_mae"] = torch.stack(ratios).mean() if ratios else NAN
        return result


class IntervalMetrics(RegressionMetrics):
    """The regression metrics and ``coverage``, the share of targets inside the predicted interval.

    Args:
        targets: Name of the target.
        low: Column of the lower end, or None for ``y - y_std`` of a (y, y_std) pair.
        high: Column of the upper end, or None for ``y + y_std``.
    """

    def __init__(self, targets: Sequence[str], *, low: int | None = None, high: int | None = None) -> None:
        super().__init__(targets)
        self.low, self.high = low, high

    def measure(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor | float]:
        """Return the regression measures and the coverage."""
        known = ~target[:, 0].isnan()
        columns, truth = prediction[known], target[known, 0]
        low = columns[:, 0] - columns[:, 1] if self.low is None else columns[:, self.low]
        high = columns[:, 0] + columns[:, 1] if self.high is None else columns[:, self.high]
        inside = (low <= truth) & (truth <= high)
        return {**super().measure(prediction, target), "coverage": inside.double().mean()}


class ClassificationMetrics(Metrics):
    """``accuracy``, ``balanced_accuracy``, ``f1``, ``auroc`` and ``log_loss``.

    ``balanced_accuracy`` is the mean over the classes that occur of the share of their crystals that is
    found; for more than two classes ``f1`` and ``auroc`` are means over classes too. ``auroc`` is NaN unless
    every class occurs. ``log_loss`` is the mean cross entropy in nats.
    """

    def __init__(self, targets: Sequence[str], *, classes: int) -> None:
        super().__init__(targets)
        self.classes = classes

    def measure(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor | float]:
        """Return the measures of the known labels."""
        known = ~target[:, 0].isnan()
        prediction, truth = prediction[known], target[known, 0].long()
        if not len(truth):
            return dict.fromkeys(("accuracy", "balanced_accuracy", "f1", "auroc", "log_loss"), NAN)
        complete = bool(truth.bincount(minlength=self.classes).all())
        options: dict[str, Any] = {"num_classes": self.classes, "average": "macro"}
        if self.classes == 2:
            probability = prediction[:, 0]
            chosen = (probability > 0.5).long()
            f1 = binary_f1_score(probability, truth)
            auroc = binary_auroc(probability, truth) if complete else NAN
            given = torch.where(truth == 1, probability, 1 - probability)
        else:
            chosen = prediction[:, 0].long()
            f1 = multiclass_f1_score(chosen, truth, **options)
            auroc = multiclass_auroc(prediction[:, 1:], truth, **options) if complete else NAN
            given = prediction[:, 1:].gather(1, truth[:, None])[:, 0]
        right = (chosen == truth).double()
        return {
            "accuracy": right.mean(),
            "balanced_accuracy": torch.stack(
                [right[truth == i].mean() for i in range(self.classes) if bool((truth == i).any())]
            ).mean(),
            "f1": f1,
            "auroc": auroc,
            # a probability that float32 has rounded to 0 would cost infinitely much
            "log_loss": -given.clamp(min=LEAST_PROBABILITY).log().mean(),
        }


def _r2(error: Tensor, truth: Tensor) -> Tensor | float:
    spread = (truth - truth.mean()).square().sum()
    return 1 - error.square().sum() / spread if len(truth) > 1 and spread > 0 else NAN
