"""Networks of one shape as one, whose weights have one more axis: which network.

Its rows are those of the networks one after the other (:mod:`tlzoo.nn.row_blocks`). The networks keep their
own parameters and statistics, as views of the stacked ones: what an optimiser does to the parameters of one
of them, or a file says of them, is there for all to see.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import groupby
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tlzoo.nn.norm import BatchNorm, LayerNorm
from tlzoo.nn.pooling import Pool
from tlzoo.nn.row_blocks import Blocks
from tlzoo.nn.rows import Rows

Part = tuple[nn.Parameter, list[nn.Parameter]]


class StackedLinear(nn.Linear):
    """Linear layers, one for each network: weight ``(networks, out, in)``, bias ``(networks, out)``."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        nn.Module.__init__(self)
        share(self, layers, "weight")
        if layers[0].bias is None:
            self.bias = None
        else:
            share(self, layers, "bias")

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "rows in_dim"], blocks: Blocks
    ) -> Float[Tensor, "rows dim"]:
        """Apply to each row the layer of its network."""
        result: Tensor = _Linear.apply(x, self.weight, self.bias, blocks)  # type: ignore[no-untyped-call]
        return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, blocks: Blocks) -> Tensor:  # noqa: ANN401 (torch has no type)
        ctx.blocks = blocks
        ctx.save_for_backward(x, weight)
        result = blocks.products(x, weight.transpose(1, 2))
        if bias is not None:
            blocks.view(result).add_(blocks.spread(bias))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 (torch has no type)
        x, weight = ctx.saved_tensors
        blocks: Blocks = ctx.blocks
        dy = dy.contiguous()
        dx = blocks.products(dy, weight) if ctx.needs_input_grad[0] else None
        dweight = blocks.outer(dy, x) if ctx.needs_input_grad[1] else None
        return dx, dweight, blocks.sums(dy) if ctx.needs_input_grad[2] else None, None


class StackedEmbedding(nn.Embedding):
    """Tables of vectors, one for each network: weight ``(networks, numbers, dim)``."""

    def __init__(self, tables: Sequence[nn.Embedding]) -> None:
        nn.Module.__init__(self)
        share(self, tables, "weight")

    def forward(self, index: Int[Tensor, " rows"], blocks: Blocks) -> Float[Tensor, "rows dim"]:  # type: ignore[override]
        """Return for each row the vector of its network."""
        flat = self.weight.flatten(0, 1)
        return nn.functional.embedding(index + blocks.network * self.weight.shape[1], flat)


class StackedBatchNorm(BatchNorm):
    """Batch normalisations, one for each network, over its own rows; each in training mode or not."""

    def __init__(self, norms: Sequence[BatchNorm]) -> None:
        nn.Module.__init__(self)
        self.norms, self.eps, self.momentum = tuple(norms), norms[0].eps, norms[0].momentum
        share(self, norms, "weight", "bias", "running_mean", "running_var", "num_batches_tracked")

    @property
    def live(self) -> bool:
        """Whether the statistics of all are those of the batch."""
        return all(norm.training for norm in self.norms)

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "rows dim"], rows: Rows
    ) -> Float[Tensor, "rows dim"]:
        """Normalise the rows of each network."""
        blocks = of(rows)
        live = [norm.training for norm in self.norms]
        if not any(live):
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            shift = torch.addcmul(self.bias, self.running_mean, scale, value=-1.0)
            y = torch.addcmul(blocks.spread(shift), blocks.view(x), blocks.spread(scale))
            return y.view_as(x)
        fixed = None if all(live) else (~torch.tensor(live, device=x.device)[:, None])
        result: tuple[Tensor, Tensor, Tensor] = _BatchNorm.apply(
            x, self.weight, self.bias, rows, blocks, self.eps, fixed, self.running_mean, self.running_var
        )  # type: ignore[no-untyped-call]
        y, mean, variance = result
        with torch.no_grad():
            if fixed is not None:
                mean = torch.where(fixed, self.running_mean, mean)
                variance = torch.where(fixed, self.running_var, variance)
            self.num_batches_tracked += 1 if fixed is None else ~fixed[:, 0]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        return y


class _BatchNorm(torch.autograd.Function):
    """As that of one network; where ``fixed`` says so, mean and variance are known and have no derivative."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch has no type)
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        rows: Rows,
        blocks: Blocks,
        eps: float,
        fixed: Tensor | None,
        known_mean: Tensor,
        known_variance: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        share, total = rows.share.to(x.dtype), rows.total.to(x.dtype)[:, None]
        mean = blocks.sums(x, share)
        centred = blocks.view(x) - blocks.spread(mean)
        variance = blocks.sums(centred.square_().view_as(x), share)
        unbiased = variance * (total / (total - 1).clamp(min=1.0))
        ctx.mark_non_differentiable(mean, unbiased)
        used, inverse = mean, variance
        if fixed is not None:
            used, inverse = torch.where(fixed, known_mean, mean), torch.where(fixed, known_variance, variance)
        inverse = (inverse + eps).rsqrt()
        scale = weight * inverse
        ctx.blocks, ctx.share, ctx.fixed = blocks, share, fixed
        ctx.save_for_backward(x, weight, used, inverse)
        shift = torch.addcmul(bias, used, scale, value=-1.0)
        y = torch.addcmul(blocks.spread(shift), blocks.view(x), blocks.spread(scale))
        return y.view_as(x), mean, unbiased

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 (torch has no type)
        x, weight, mean, inverse = ctx.saved_tensors
        blocks: Blocks = ctx.blocks
        dy = dy.contiguous()
        normal = torch.addcmul(blocks.spread(-mean * inverse), blocks.view(x), blocks.spread(inverse))
        dx = blocks.view(dy) * normal
        dbias, dweight, scale = blocks.sums(dy), blocks.sums(dx.view_as(x)), weight * inverse
        by_bias, by_weight = scale * dbias, scale * dweight
        if ctx.fixed is not None:
            by_bias, by_weight = by_bias.masked_fill(ctx.fixed, 0.0), by_weight.masked_fill(ctx.fixed, 0.0)
        torch.mul(blocks.view(dy), blocks.spread(scale), out=dx)
        normal.mul_(blocks.spread(by_weight)).add_(blocks.spread(by_bias))
        dx.sub_(normal.mul_(blocks.view(ctx.share)[..., None]))
        return dx.view_as(x), dweight, dbias, *(None,) * 6


class StackedLayerNorm(LayerNorm):
    """Layer normalisations, one for each network."""

    def __init__(self, norms: Sequence[LayerNorm]) -> None:
        nn.Module.__init__(self)
        self.normalized_shape, self.eps = norms[0].normalized_shape, norms[0].eps
        share(self, norms, "weight", "bias")

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "rows dim"], rows: Rows
    ) -> Float[Tensor, "rows dim"]:
        """Normalise each row with the weights of its network."""
        blocks = of(rows)
        normal = nn.functional.layer_norm(x, self.normalized_shape, eps=self.eps)
        y = torch.addcmul(blocks.spread(self.bias), blocks.view(normal), blocks.spread(self.weight))
        return y.view_as(x)


class StackedPool(nn.Module):
    """Poolings, one for each network, of any kind; those of the same kind in a row are one operation."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        super().__init__()
        # attention has weights: each by itself
        kinds = groupby(
            enumerate(pools), lambda it: (it[1].pooling, it[0] if it[1].score is not None else -1)
        )
        self.runs = nn.ModuleList()
        self.ends = [0]
        for _, run in kinds:
            numbers, alike = zip(*run, strict=True)
            self.runs.append(alike[0])
            self.ends.append(numbers[-1] + 1)

    def forward(
        self,
        x: Float[Tensor, "atoms dim"],
        batch: Int[Tensor, " atoms"],
        count: Float[Tensor, " atoms"],
        crystals: Blocks,
    ) -> Float[Tensor, "crystals dim"]:
        """Pool; arguments as of :meth:`tlzoo.nn.pooling.Pool.forward`, but for the crystals' blocks."""
        if len(self.runs) == 1:
            return self.runs[0](x, batch, count, crystals.starts[-1])  # type: ignore[no-any-return]
        atoms = crystals.inside(batch).starts
        pooled = []
        for run, first, end in zip(self.runs, self.ends, self.ends[1:], strict=False):
            own, start = slice(atoms[first], atoms[end]), crystals.starts[first]
            pooled.append(run(x[own], batch[own] - start, count[own], crystals.starts[end] - start))
        return torch.cat(pooled)


KINDS: Final[dict[type[nn.Module], Callable[[Any], nn.Module]]] = {
    nn.Linear: StackedLinear,
    nn.Embedding: StackedEmbedding,
    BatchNorm: StackedBatchNorm,
    LayerNorm: StackedLayerNorm,
    Pool: StackedPool,
}


def of(rows: Rows) -> Blocks:
    """Return which rows are whose; a stacked layer cannot do without."""
    assert rows.blocks is not None
    return rows.blocks


def share(stack: nn.Module, modules: Sequence[nn.Module], *names: str) -> None:
    """Stack parameters and buffers of several modules, and let each have its own as a view of the stack."""
    for name in names:
        own = [getattr(module, name) for module in modules]
        together = torch.stack([each.detach() for each in own])
        for each, part in zip(own, together, strict=True):
            each.data = part
        parameter = isinstance(own[0], nn.Parameter)
        setattr(stack, name, nn.Parameter(together) if parameter else nn.Buffer(together))
        if parameter:
            stack.__dict__.setdefault("parts", []).append((getattr(stack, name), own))


def parts(module: nn.Module) -> list[Part]:
    """Return the stacked parameters, each with those of the networks that are views of it."""
    found: list[Part] = []
    for each in module.modules():
        found += each.__dict__.get("parts", [])
    return found


def stacked(modules: Sequence[nn.Module]) -> nn.Module:
    """Return one module that computes what several of one shape do; see the head of this file."""
    kind = KINDS.get(type(modules[0]))
    if kind is not None:
        return kind(modules)
    if list(modules[0].parameters(recurse=False)):
        raise TypeError(f"nobody has said how {type(modules[0]).__name__} is stacked")
    memo: dict[int, Any] = {}
    for name, child in modules[0].named_children():
        # what has no weights is shared
        parts = [module.get_submodule(name) for module in modules]
        memo[id(child)] = stacked(parts)
    return deepcopy(modules[0], memo)
