"""What a layer does to its rows between matrix products, as few passes over them.

In fp32 on a CPU that has a compiler these are functions in C (``passes.c``), which read each number once.
Elsewhere the same formulas are operations of torch, each of which goes over all rows. The two agree to
rounding. None of them has a derivative of its own: layers call them in theirs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tlzoo.machine.compiled import compiled
from tlzoo.nn.edges import Edges
from tlzoo.nn.segment import arange, sum_rows

SOURCE: Final = Path(__file__).with_suffix(".c")

# Numbers for each thread at least: to hand work to another takes as long as a pass over some ten thousand.
FEWEST: Final = 1 << 16
SMALLEST: Final = 1e-6  # added to the sum of the gates


def gated(
    edge: Float[Tensor, "edges dim"], ends: Float[Tensor, "nodes four_dim"], edges: Edges
) -> tuple[Float[Tensor, "nodes dim"], Float[Tensor, "nodes dim"], Float[Tensor, "nodes dim"]]:
    r"""Overwrite ``edge`` with m; return :math:`s_i + h_i`, :math:`h_i` and its denominator.

    .. math::
        m_{ij} = e_{ij} + a_i + b_j, \qquad
        h_i = \frac{\sum_j \sigma(m_{ij}) \odot v_j}{\sum_j \sigma(m_{ij}) + 10^{-6}}

    Args:
        edge: e.
        ends: s, a, b and v, next to each other.
        edges: The edges.
    """
    count, dim = edges.count.to(edge.dtype), edge.shape[1]
    if _fits(edge, ends):
        message, gates, total = (edge.new_empty(len(ends), dim) for _ in range(3))
        graph = (edges.by_target, edges.source.contiguous(), count)
        _run("gated", len(ends), dim, (*graph, ends, edge, message, gates, total))
        return total, message, gates
    own, to_target, to_source, value = torch.split(ends, dim, dim=1)
    m = edge.add_(to_target.index_select(0, edges.target)).add_(to_source.index_select(0, edges.source))
    gate, every = m.sigmoid(), arange(m)
    gates = sum_rows(gate, every, edges.by_target, count).add_(SMALLEST)
    gate.mul_(value.index_select(0, edges.source))
    message = sum_rows(gate, every, edges.by_target, count).div_(gates)
    return own + message, message, gates


def gated_derivative(
    m: Float[Tensor, "edges dim"],
    ends: Float[Tensor, "nodes four_dim"],
    message: Float[Tensor, "nodes dim"],
    gates: Float[Tensor, "nodes dim"],
    edges: Edges,
    dtotal: Float[Tensor, "nodes dim"],
    dm: Float[Tensor, "edges dim"] | None,
) -> tuple[Float[Tensor, "edges dim"], Float[Tensor, "nodes four_dim"]]:
    """Return the derivatives by ``edge`` and ``ends`` of :func:`gated`, from those by its sum and by m."""
    count, dim = edges.count.to(m.dtype), m.shape[1]
    if _fits(m, ends, dtotal):
        out, dends = torch.empty_like(m), torch.zeros_like(ends)
        graph = (edges.by_target, edges.source.contiguous(), count)
        given = (ends, m, message, gates, dtotal, None if dm is None else dm.contiguous())
        # edges come from any node: threads share out columns, not rows
        _run("gated_derivative", len(ends), dim, (*graph, *given, out, dends), by_columns=True)
        return out, dends
    gate, value, every = m.sigmoid(), ends[:, 3 * dim :].index_select(0, edges.source), arange(m)
    each = dtotal / gates
    incoming = each.index_select(0, edges.target).mul_(count[:, None])
    to_value = sum_rows(gate * incoming, edges.order, edges.by_source)
    dgate = incoming.mul_(value).sub_((each * message).index_select(0, edges.target).mul_(count[:, None]))
    out = torch.ops.aten.sigmoid_backward.grad_input(dgate, gate, grad_input=dgate)
    if dm is not None:
        out.add_(dm)
    to_target, to_source = sum_rows(out, every, edges.by_target), sum_rows(out, edges.order, edges.by_source)
    return out, torch.cat([dtotal, to_target, to_source, to_value], dim=1)


def moments(
    x: Float[Tensor, "rows dim"], share: Float[Tensor, " rows"]
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Return mean and variance of each column; shares of the rows sum to 1."""
    if _fits(x, share) and len(x):
        sums = _run("moments", *_size(x), (x, share), sums=True)
        mean = sums[0]
        # shares sum to 1 but for rounding; where the mean is large that matters
        variance = sums[1] + mean.square() * (share.sum(dtype=torch.float64) - 2)
        return mean.to(x.dtype), variance.clamp_(min=0).to(x.dtype)
    mean = x.t() @ share
    # about the mean: a difference of squares would lose the digits of a channel that hardly varies
    return mean, (x - mean).square_().t() @ share


def affine(
    x: Float[Tensor, "rows dim"],
    residual: Float[Tensor, "rows dim"] | None,
    scale: Float[Tensor, " dim"],
    shift: Float[Tensor, " dim"],
    *,
    silu: bool,
) -> Float[Tensor, "rows dim"]:
    """Return the residual and SiLU(scale x + shift), or without either."""
    if _fits(x, scale):
        y = torch.empty_like(x)
        more = None if residual is None else residual.contiguous()
        _run("affine", *_size(x), (int(silu), x, more, scale, shift, y))
        return y
    y = torch.addcmul(shift, x, scale)
    if silu:
        F.silu(y, inplace=True)
    return y if residual is None else y.add_(residual)


def affine_sums(
    x: Float[Tensor, "rows dim"],
    dy: Float[Tensor, "rows dim"],
    scale: Float[Tensor, " dim"],
    shift: Float[Tensor, " dim"],
    mean: Float[Tensor, " dim"],
    *,
    silu: bool,
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Return the sums over the rows of the derivative by scale x + shift, and of that times x − mean."""
    if _fits(x, dy) and len(x):
        sums = _run("affine_sums", *_size(x), (int(silu), x, dy, scale, shift, mean), sums=True).to(x.dtype)
        return sums[0], sums[1]
    slope = _slope(x, dy, scale, shift, silu=silu)
    return slope.sum(0), (x - mean).mul_(slope).sum(0)


def affine_derivative(
    x: Float[Tensor, "rows dim"],
    dy: Float[Tensor, "rows dim"],
    scale: Float[Tensor, " dim"],
    shift: Float[Tensor, " dim"],
    share: Float[Tensor, " rows"],
    by_x: Float[Tensor, " dim"],
    constant: Float[Tensor, " dim"],
    *,
    silu: bool,
) -> Float[Tensor, "rows dim"]:
    """Return scale times the derivative by scale x + shift, less each row's share of by_x x + constant."""
    if _fits(x, dy):
        dx = torch.empty_like(x)
        _run("affine_derivative", *_size(x), (int(silu), x, dy, scale, shift, share, by_x, constant, dx))
        return dx
    slope = _slope(x, dy, scale, shift, silu=silu)
    return (slope * scale).addcmul_(torch.addcmul(constant, x, by_x), share[:, None], value=-1.0)


def _slope(x: Tensor, dy: Tensor, scale: Tensor, shift: Tensor, *, silu: bool) -> Tensor:
    slope: Tensor = torch.ops.aten.silu_backward(dy, torch.addcmul(shift, x, scale)) if silu else dy
    return slope


def _fits(*tensors: Tensor) -> bool:
    """Return whether the functions in C are there and take such tensors."""
    plain = all(x.dtype == torch.float32 and x.device.type == "cpu" and x.is_contiguous() for x in tensors)
    return plain and compiled(SOURCE) is not None


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[0], x.shape[1]


def _run(
    name: str,
    rows: int,
    dim: int,
    arguments: Sequence[Tensor | int | None],
    *,
    by_columns: bool = False,
    sums: bool = False,
) -> Tensor:
    """Call a function in C, in parts by as many threads as torch has.

    With ``sums`` each part writes two rows of numbers; returned are their sums, ``(2, dim)``.
    """
    function = getattr(compiled(SOURCE), name)
    pointers = [
        c_int64(x) if isinstance(x, int) else c_void_p(None if x is None else x.data_ptr()) for x in arguments
    ]
    length = dim if by_columns else rows
    threads = max(1, min(torch.get_num_threads(), rows * dim // FEWEST, length))
    edges = [length * part // threads for part in range(threads + 1)]
    out = torch.empty((threads if sums else 0, 2, dim), dtype=torch.float64)

    def part(number: int) -> None:
        some = (edges[number], edges[number + 1])
        columns, lines = (some, (0, rows)) if by_columns else ((0, dim), some)
        own = [c_void_p(row.data_ptr()) for row in out[number]] if sums else []
        function(*map(c_int64, (dim, *columns, *lines)), *pointers, *own)

    if threads == 1:
        part(0)
    else:
        list(_pool(threads).map(part, range(threads)))
    return out.sum(0)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="tlzoo-passes")


# the threads stay behind when a process forks
os.register_at_fork(after_in_child=_pool.cache_clear)
