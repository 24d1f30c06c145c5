"""The normalisation of a layer, by name."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tlzoo.errors import UserError
from tlzoo.nn.rows import Rows

Norm = Literal["batch", "layer"]


def norm_layer(norm: Norm, dim: int) -> "BatchNorm | LayerNorm":
    """Return batch normalisation (as published) or layer normalisation (blind to the rest of the batch).

    Raises:
        UserError: Another name.
    """
    if norm == "batch":
        return BatchNorm(dim)
    if norm == "layer":
        return LayerNorm(dim)
    raise UserError(f"norm must be 'batch' or 'layer', got {norm!r}")


class LayerNorm(nn.LayerNorm):
    """Layer normalisation, called as batch normalisation is."""

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "rows dim"],
        rows: Rows,  # noqa: ARG002 (as BatchNorm)
    ) -> Float[Tensor, "rows dim"]:
        """Normalise each row."""
        return super().forward(x)


class BatchNorm(nn.BatchNorm1d):
    r"""Batch normalisation over rows that stand for several equal ones.

    In training

    .. math::
        y_r = \gamma \frac{x_r - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta, \qquad
        \mu = \sum_r p_r x_r, \qquad \sigma^2 = \sum_r p_r (x_r - \mu)^2

    with p the shares of the rows: the same as batch normalisation of all the rows they stand for (Ioffe &
    Szegedy 2015), running statistics included.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "rows dim"], rows: Rows
    ) -> Float[Tensor, "rows dim"]:
        """Normalise; statistics count each row as often as ``rows`` says."""
        if not self.training:
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            shift = torch.addcmul(self.bias, self.running_mean, scale, value=-1.0)
            return torch.addcmul(shift, x, scale)
        with torch.autocast(x.device.type, enabled=False):
            result: tuple[Tensor, Tensor, Tensor] = _BatchNorm.apply(
                x, self.weight, self.bias, rows.share, self.eps
            )  # type: ignore[no-untyped-call]
        y, mean, variance = result
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            # unbiased, as in torch; one row alone has no variance
            self.running_var.lerp_(variance * (rows.total / (rows.total - 1).clamp(min=1.0)), self.momentum)
        return y


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch has no type)
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        share: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = x if x.dtype == torch.float64 else x.float()
        share = share.to(x.dtype)
        mean = x.t() @ share
        # about the mean: a difference of squares would lose the digits of a channel that hardly varies
        centred = x - mean
        variance = centred.square_().t() @ share
        inverse = (variance + eps).rsqrt()
        scale = weight * inverse
        ctx.save_for_backward(x, weight, share, mean, inverse)
        ctx.mark_non_differentiable(mean, variance)
        return torch.addcmul(torch.addcmul(bias, mean, scale, value=-1.0), x, scale), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 (torch has no type)
        x, weight, share, mean, inverse = ctx.saved_tensors
        normal = torch.addcmul(-mean * inverse, x, inverse)
        dx = dy * normal
        dbias, dweight, scale = dy.sum(0), dx.sum(0), weight * inverse
        torch.mul(dy, scale, out=dx)
        dx.sub_(normal.mul_(scale * dweight).add_(scale * dbias).mul_(share[:, None]))
        return dx, dweight, dbias, None, None
