"""AdamW with one operation for all parameters of a kind, to the bit as torch's own takes its steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Fused:
    """Parameters that AdamW treats alike: one operation for all of them, not one for each group."""

    group: dict[str, Any]
    parameters: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]
    count: Tensor

    def step(self) -> None:
        """Take a step, to the bit as the optimiser would."""
        group = self.group
        self.count.add_(1)
        torch._fused_adamw_(
            self.parameters,
            [p.grad for p in self.parameters if p.grad is not None],
            self.means,
            self.squares,
            [],
            self.steps,
            amsgrad=False,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def fused(optimizer: torch.optim.Optimizer) -> list[Fused]:
    """Return groups that an optimiser treats alike as one each; empty if it is none that is known.

    Which parameters have gradients must stay as it is.
    """
    plain = type(optimizer) is torch.optim.AdamW and all(
        group["fused"] and not (group["amsgrad"] or group["maximize"] or group["capturable"])
        for group in optimizer.param_groups
    )
    if not plain:
        return []
    alike: dict[str, tuple[dict[str, Any], list[Tensor]]] = {}
    for group in optimizer.param_groups:
        own = repr([group[name] for name in ("initial_lr", "betas", "weight_decay", "eps")])
        alike.setdefault(own, (group, []))[1].extend(p for p in group["params"] if p.grad is not None)
    found = []
    for group, some in alike.values():
        states = [optimizer.state[p] for p in some]
        first, second, steps = ([s[name] for s in states] for name in ("exp_avg", "exp_avg_sq", "step"))
        if steps:
            # one operation counts them all
            count = torch.stack(steps)
            steps = list(count.unbind())
            for state, step in zip(states, steps, strict=True):
                state["step"] = step
        found += [Fused(group, some, first, second, steps, count)] if some else []
    return found


class Stepper:
    """An optimiser in one epoch, in which the same parameters learn: after one step with fewer operations.

    Args:
        optimizer: The optimiser.
        before: Called between the gradients and the step.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, before: Callable[[], None]) -> None:
        self.optimizer, self.before = optimizer, before
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._plain = type(optimizer).zero_grad is torch.optim.Optimizer.zero_grad
        self._groups: list[Fused] | None = None
        self._learning = 0

    def zero_grad(self) -> None:
        """Forget the gradients."""
        if self._plain:
            for parameter in self._parameters:
                parameter.grad = None
        else:
            self.optimizer.zero_grad()

    def step(self, closure: Callable[[], Any]) -> Any:  # noqa: ANN401 (of the closure)
        """Compute the gradients and take a step."""
        loss = closure()
        self.before()
        learning = sum(parameter.grad is not None for parameter in self._parameters)
        if self._groups and learning == self._learning:
            for group in self._groups:
                group.step()
            return loss
        self.optimizer.step()
        if self._groups is None or learning != self._learning:
            self._groups, self._learning = fused(self.optimizer), learning
        return loss
