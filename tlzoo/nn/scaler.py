"""Targets in physical units on one side, numbers of order one on the other."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.errors import UserError

Transform: TypeAlias = Literal["standard", "log10", "none"]

# Labels that differ by less than this share of their mean are one constant in float32.
CONSTANT = 1e-7


class Fitted(nn.Module):
    """What is fitted once on the training part; NaN in ``mean`` marks one that is not, in the file too."""

    mean: Tensor
    _fitted = False

    @property
    def fitted(self) -> bool:
        """Whether mean and standard deviation are known."""
        return self._fitted

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (torch's own signature)
        super()._load_from_state_dict(*args, **kwargs)
        self._fitted = not bool(self.mean.isnan().any())


class Scaler(Fitted):
    r"""Scale targets to mean 0 and standard deviation 1, each target on its own.

    .. math::
        s = \frac{f(y) - \mu}{\sigma}, \qquad y = f^{-1}(\mu + \sigma s)

    with :math:`f(y) = y` for ``standard`` and :math:`f(y) = \log_{10} y` for ``log10``; ``none`` leaves
    targets as they are. The mean μ and the (population) standard deviation σ of the known labels are buffers,
    so they travel with the weights. Where all known labels are equal, or there is only one, σ is 1.

    Args:
        targets: Number of targets.
        transform: What to do with labels before they are standardised, or that for each target.

    Attributes:
        transforms: What is done with each target.
    """

    std: Tensor
    log: Tensor

    def __init__(self, *, targets: int = 1, transform: Transform | Sequence[Transform] = "standard") -> None:
        super().__init__()
        each = [transform] * targets if isinstance(transform, str) else list(transform)
        if wrong := [name for name in each if name not in get_args(Transform)]:
            raise UserError(f"transform must be standard, log10 or none, got {wrong[0]!r}")
        self.transforms: tuple[Transform, ...] = tuple(each)
        start = torch.tensor([0.0 if name == "none" else float("nan") for name in each])
        self.register_buffer("mean", start)
        self.register_buffer("std", start + 1)
        # a hyper-parameter: stored with the constructor's arguments, not with the learnt numbers
        self.register_buffer("log", torch.tensor([name == "log10" for name in each]), persistent=False)
        self._fitted = {*each} == {"none"}

    def check(self, targets: Float[Tensor, "crystals targets"], names: Sequence[str] = ()) -> None:
        """Make sure that labels (physical units, NaN where unknown) can be transformed.

        Raises:
            UserError: There are infinite labels, or labels that have no logarithm under ``log10``.
        """
        for i, column in enumerate(targets.T):
            name = repr(names[i]) if names else f"number {i + 1}"
            if bad := int(column.isinf().sum()):
                raise UserError(f"target {name} has {bad} infinite label(s); remove them or leave them empty")
            if self.transforms[i] == "log10" and (bad := int((column <= 0).sum())):
                known = int((~column.isnan()).sum())
                raise UserError(
                    f"target {name} has {bad} of {known} labels that are zero or negative: no logarithm; "
                    "use transform: standard, or remove them"
                )

    @torch.no_grad()
    def fit(self, targets: Float[Tensor, "crystals targets"], names: Sequence[str] = ()) -> None:
        """Take mean and standard deviation from the labels of the training part; arguments of :meth:`check`.

        Raises:
            UserError: A target has no known label, or one that cannot be transformed.
        """
        if targets.shape[1] != len(self.mean):
            raise UserError(f"this model has {len(self.mean)} target(s), the data have {targets.shape[1]}")
        self.check(targets, names)
        for i, column in enumerate(targets.double().cpu().T):
            known = column[~column.isnan()]
            if not len(known):
                name = repr(names[i]) if names else f"number {i + 1}"
                raise UserError(f"target {name} has no known label in the training part")
            if self.transforms[i] == "none":
                continue
            values = known.log10() if self.transforms[i] == "log10" else known
            mean, std = values.mean(), values.std(correction=0)
            self.mean[i] = mean
            self.std[i] = std if std > CONSTANT * mean.abs() else 1.0
        self._fitted = True

    def transform(self, targets: Float[Tensor, "crystals targets"]) -> Float[Tensor, "crystals targets"]:
        """Take targets from physical units to scaled numbers; NaN stays NaN."""
        self._need_fit()
        if "log10" in self.transforms:
            targets = torch.where(self.log, targets.log10(), targets)
        return (targets - self.mean) / self.std

    def inverse(self, scaled: Float[Tensor, "crystals values"]) -> Float[Tensor, "crystals values"]:
        """Take scaled numbers to physical units; one target may have several values."""
        self._need_fit()
        values = scaled * self.std + self.mean
        if "log10" in self.transforms:
            # of the others no power: it might be infinite, and its gradient no number
            values = torch.where(self.log, torch.pow(10.0, torch.where(self.log, values, 0.0)), values)
        return values

    def extra_repr(self) -> str:
        """Say the transformation in ``print(model)``."""
        return f"transform={'/'.join(dict.fromkeys(self.transforms))}, fitted={self.fitted}"

    def _need_fit(self) -> None:
        if not self._fitted:
            raise UserError(
                "the target scaler has not been fitted: fit the head on the training targets, "
                "or load a trained model"
            )
