"""The normalisation of a layer, by name."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tlzoo.errors import UserError
from tlzoo.machine import distributed
from tlzoo.nn import passes
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


def activated(
    x: Float[Tensor, "rows dim"],
    norm: "BatchNorm | LayerNorm",
    rows: Rows,
    residual: Float[Tensor, "rows dim"] | None = None,
) -> Float[Tensor, "rows dim"]:
    r"""Return :math:`r + \mathrm{SiLU}(N(x))`, or without r; for the derivative x alone is kept."""
    if rows.blocks is not None:
        y = F.silu(norm(x, rows))
        return y if residual is None else residual + y
    return norm.activate(x, rows, residual)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation, called as batch normalisation is."""

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "rows dim"],
        rows: Rows,  # noqa: ARG002 (as BatchNorm)
    ) -> Float[Tensor, "rows dim"]:
        """Normalise each row."""
        return super().forward(x)

    def activate(
        self,
        x: Float[Tensor, "rows dim"],
        rows: Rows,  # noqa: ARG002 (as BatchNorm)
        residual: Float[Tensor, "rows dim"] | None,
    ) -> Float[Tensor, "rows dim"]:
        """See :func:`activated`."""
        with torch.autocast(x.device.type, enabled=False):
            result: Tensor = _LayerNorm.apply(x, residual, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        return result


class BatchNorm(nn.BatchNorm1d):
    r"""Batch normalisation over rows that stand for several equal ones.

    In training

    .. math::
        y_r = \gamma \frac{x_r - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta, \qquad
        \mu = \sum_r p_r x_r, \qquad \sigma^2 = \sum_r p_r (x_r - \mu)^2

    with p the shares of the rows: the same as batch normalisation of all the rows they stand for (Ioffe &
    Szegedy 2015), running statistics included. Where several processes train together, the rows are those of
    all of them.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    @property
    def live(self) -> bool:
        """Whether statistics are those of the batch."""
        return self.training

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "rows dim"], rows: Rows
    ) -> Float[Tensor, "rows dim"]:
        """Normalise; statistics count each row as often as ``rows`` says."""
        if not self.training:
            scale, shift = self.known()
            return torch.addcmul(shift, x, scale)
        return self._of_batch(x, rows, None, silu=False)

    def activate(
        self, x: Float[Tensor, "rows dim"], rows: Rows, residual: Float[Tensor, "rows dim"] | None
    ) -> Float[Tensor, "rows dim"]:
        """See :func:`activated`."""
        if self.training:
            return self._of_batch(x, rows, residual, silu=True)
        scale, shift = self.known()
        if torch.is_grad_enabled():
            y = F.silu(torch.addcmul(shift, x, scale))
            return y if residual is None else residual + y
        return passes.affine(x, residual, scale, shift, silu=True)

    def known(self) -> tuple[Tensor, Tensor]:
        """Return what x is multiplied with, and what is then added, where mean and variance are known."""
        return Statistics.of(self.running_mean, self.running_var, self.weight, self.bias, self.eps)[:2]

    def _of_batch(self, x: Tensor, rows: Rows, residual: Tensor | None, *, silu: bool) -> Tensor:
        together = distributed.together()
        # to turn off what is off takes as long as to normalise a small batch
        low = torch.is_autocast_enabled(x.device.type)
        with torch.autocast(x.device.type, enabled=False) if low else nullcontext():
            result: tuple[Tensor, Tensor, Tensor] = _BatchNorm.apply(
                x, residual, self.weight, self.bias, rows, self.eps, together, silu
            )  # type: ignore[no-untyped-call]
        y, mean, variance = result
        take_in = partial(self.take_in, [self], [mean, variance], self.momentum)
        if together is None:
            take_in()
        else:
            together.later(take_in)
        return y

    @staticmethod
    @torch.no_grad()
    def take_in(norms: Sequence["BatchNorm"], found: Sequence[Tensor], momentum: float | None) -> None:
        """Let several take in mean and unbiased variance each, one after the other.

        Without momentum, as where weights are averaged, each batch counts the same.
        """
        torch._foreach_add_([norm.num_batches_tracked for norm in norms], 1)
        kept = [kept for norm in norms for kept in (norm.running_mean, norm.running_var)]
        weight = momentum if momentum is not None else 1.0 / int(norms[0].num_batches_tracked)
        torch._foreach_lerp_(kept, list(found), weight)


class Statistics(NamedTuple):
    r"""What normalises rows in a pass over them, and what of it the derivative needs, ``(dim,)`` each.

    Attributes:
        scale: What a row is multiplied with, :math:`\gamma / \sqrt{\sigma^2 + \epsilon}`.
        shift: What is then added.
        mean: The mean.
        inverse: The inverse of the standard deviation.
    """

    scale: Tensor
    shift: Tensor
    mean: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float) -> "Statistics":
        """Prepare the passes."""
        inverse = (variance + eps).rsqrt()
        scale = weight * inverse
        return cls(scale, torch.addcmul(bias, mean, scale, value=-1.0), mean, inverse)

    def sums(self, x: Tensor, dy: Tensor, *, silu: bool) -> tuple[Tensor, Tensor]:
        """Return the derivatives by weight and bias, from that by the result, or by SiLU of it."""
        dbias, products = passes.affine_sums(x, dy, self.scale, self.shift, self.mean, silu=silu)
        return products * self.inverse, dbias

    def through(self, dweight: Tensor, dbias: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``by_x`` and ``constant`` of :func:`tlzoo.nn.passes.affine_derivative`."""
        by_x = self.scale * self.inverse * dweight
        return by_x, torch.addcmul(self.scale * dbias, self.mean, by_x, value=-1.0)


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch has no type)
        x: Tensor,
        residual: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        rows: Rows,
        eps: float,
        together: distributed.Together | None,
        silu: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = x if x.dtype == torch.float64 else x.float()
        share, total = rows.share.to(x.dtype), rows.total
        mean, variance = passes.moments(x, share)
        if together is not None:
            own = total
            mean, variance, total = together.pooled(mean, variance, own)
            share = share * (own / total.clamp(min=1.0))
        statistics = Statistics.of(mean, variance, weight, bias, eps)
        ctx.together, ctx.silu = together, silu
        ctx.save_for_backward(x, share, *statistics)
        # for the running statistics unbiased, as in torch; one row alone has no variance
        unbiased = variance * (total / (total - 1).clamp(min=1.0))
        ctx.mark_non_differentiable(mean, unbiased)
        y = passes.affine(x, residual, statistics.scale, statistics.shift, silu=silu)
        return y, mean, unbiased

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 (torch has no type)
        x, share, *kept = ctx.saved_tensors
        statistics = Statistics(*kept)
        dy = dy.contiguous()
        found = statistics.sums(x, dy, silu=ctx.silu)
        through = found if ctx.together is None else ctx.together.sum(torch.stack(found))
        scale, shift, constants = *statistics[:2], statistics.through(*through)
        dx = passes.affine_derivative(x, dy, scale, shift, share, *constants, silu=ctx.silu)
        return dx, dy if ctx.needs_input_grad[1] else None, *found, None, None, None, None


class _LayerNorm(torch.autograd.Function):
    """With activation and residual."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch has no type)
        x: Tensor,
        residual: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        eps: float,
    ) -> Tensor:
        x = x if x.dtype == torch.float64 else x.float()
        ctx.eps = eps
        ctx.save_for_backward(x, weight, bias)
        return passes.normalised(x, residual, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 (torch has no type)
        x, weight, bias = ctx.saved_tensors
        dy = dy.contiguous()
        dx, *found = passes.normalised_derivative(x, dy, weight, bias, eps=ctx.eps)
        return dx, dy if ctx.needs_input_grad[1] else None, *found, None


def normalised(
    x: Float[Tensor, "rows dim"],
    weight: Float[Tensor, "*networks dim"],
    bias: Float[Tensor, "*networks dim"],
    rows: Rows,
    eps: float,
) -> tuple[Float[Tensor, "rows dim"], Tensor, Tensor, Tensor]:
    """Normalise with batch statistics, without a derivative; ``x`` becomes its distance from the mean.

    Returns:
        The result, and mean, variance and the inverse of the standard deviation, ``(*networks, dim)``.
    """
    y = torch.empty_like(x)
    found = []
    for part, w, b, share, result in _of_each(rows, x, (weight, bias), rows.share.to(x.dtype), y):
        mean = share @ part
        part.sub_(mean)
        variance = share @ (part * part)
        inverse = (variance + eps).rsqrt_()
        torch.addcmul(b, part, w * inverse, out=result)
        found.append((mean, variance, inverse))
    if rows.blocks is None:
        return y, *found[0]
    mean, variance, inverse = (torch.stack(each) for each in zip(*found, strict=True))
    return y, mean, variance, inverse


def normalised_backward(
    dy: Float[Tensor, "rows dim"],
    centred: Float[Tensor, "rows dim"],
    weight: Float[Tensor, "*networks dim"],
    inverse: Float[Tensor, "*networks dim"],
    rows: Rows,
) -> tuple[Float[Tensor, "*networks dim"], Float[Tensor, "*networks dim"]]:
    """Turn the derivative by the result of :func:`normalised` into that by what it read, in place.

    Returns:
        The derivatives by weight and bias.
    """
    found = []
    for slope, w, r, share, part in _of_each(rows, dy, (weight, inverse), rows.share.to(dy.dtype), centred):
        product = slope * part
        dbias = slope.sum(0)
        dweight = product.sum(0).mul_(r)
        torch.addcmul(dbias, part, dweight * r, out=product)
        slope.sub_(product.mul_(share[:, None])).mul_(w * r)
        found.append((dweight, dbias))
    if rows.blocks is None:
        return found[0]
    dweight, dbias = (torch.stack(each) for each in zip(*found, strict=True))
    return dweight, dbias


def _of_each(
    rows: Rows, x: Tensor, of_networks: tuple[Tensor, Tensor], share: Tensor, y: Tensor
) -> Iterable[tuple[Tensor, ...]]:
    """Return what belongs to each network, or to the one."""
    if rows.blocks is None:
        return [(x, *of_networks, share, y)]
    sizes = rows.blocks.sizes
    return zip(x.split(sizes), *of_networks, share.split(sizes), y.split(sizes), strict=True)  # type: ignore[no-untyped-call]
