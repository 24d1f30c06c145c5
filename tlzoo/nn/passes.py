"""What a layer does to its rows between matrix products, and with them, as few passes over them.

In fp32 on a CPU that has a compiler these are functions in C (``passes.c``), which read each number once.
Elsewhere the same formulas are operations of torch, each of which goes over all rows. The two agree to
rounding. None of them has a derivative of its own: layers call them in theirs. Those with products among the
passes are in C alone; where :func:`at_once` says no, layers do without.

Parts of the rows are shared out to the threads of torch; with the same number of threads results are the
same, to the bit.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Sequence
from ctypes import c_int64, c_void_p, cast
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from tlzoo.machine.compiled import compiled
from tlzoo.nn.edges import Edges
from tlzoo.nn.segment import arange, sum_rows

SOURCE: Final = Path(__file__).with_suffix(".c")

# Numbers for each thread at least: to hand work to another takes as long as a pass over some ten thousand.
FEWEST: Final = 1 << 14
MOST: Final = 32  # arguments of a function in C
SMALLEST: Final = 1e-6  # added to the sum of the gates
# Edges at a time: what they read and write is then some 100 kB at 64 columns, and stays in the second cache.
BLOCK: Final = 96


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
        nodes = tuple(edge.new_empty(len(ends), dim) for _ in range(3))
        given = (*_graph(edges, ends), *[None] * 8, edge, None, *nodes)
        _run("gated", len(ends), dim, given, shares=_shares(edges, dim)[0])
        return nodes[2], nodes[0], nodes[1]
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
        out = torch.empty_like(m)
        given = (*_graph(edges, ends), m, message, gates, dtotal, None if dm is None else dm.contiguous())
        given = (*given, *[None] * 9, out, None, None, None)
        (dends,) = _run_between(ends, edges, dim, given)
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


class EdgeVectors(NamedTuple):
    """Vectors of edges, of which e of :func:`gated` is to be computed.

    Attributes:
        y: Those of all edges, or of the different ones alone.
        weight: Of the linear layer from y to e; its bias is in ``ends``.
        which: Which of the different ones each edge has, ``(edges,)``; None if y is of all edges.
    """

    y: Float[Tensor, "values dim"]
    weight: Float[Tensor, "dim dim"]
    which: Tensor | None

    def arguments(self) -> tuple[Tensor | None, ...]:
        """Return y, its index, what the different ones are multiplied to, or the weight that does it."""
        if self.which is None:
            return self.y, None, None, panels(self.weight.t())
        return self.y, self.which, multiplied(self.y, self.weight.t()), None


def at_once(*tensors: Tensor) -> bool:
    """Return whether the functions that follow, of which torch has no equal, take such tensors."""
    return _fits(*tensors) and all(x.shape[1] % _panel() == 0 for x in tensors)


def multiplied(
    x: Float[Tensor, "rows inner"],
    matrix: Float[Tensor, "inner columns"],
    start: Float[Tensor, "*rows columns"] | None = None,
) -> Float[Tensor, "rows columns"]:
    """Return start + x matrix; a start of one row is that of all rows."""
    out, (rows, dim) = x.new_empty(len(x), matrix.shape[1]), (len(x), matrix.shape[1])
    following = 0 if start is None or start.dim() == 1 else dim
    given = (matrix.shape[0], x.contiguous(), panels(matrix), start, following, out)
    _run("multiplied", rows, dim, given)
    return out


def multiplied_transposed(
    left: Float[Tensor, "rows wide"], right: Float[Tensor, "rows dim"]
) -> Float[Tensor, "wide dim"]:
    """Return leftᵀ right."""
    wide, given = left.shape[1], (BLOCK, left.shape[1], left, right)
    return _run("multiplied_transposed", *_size(right), given, own=[(wide, right.shape[1])])[0]


def convolved(
    vectors: EdgeVectors, ends: Float[Tensor, "nodes four_dim"], edges: Edges, *, sums: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor] | None]:
    """Return m, h, its denominator and s + h of :func:`gated`; with ``sums`` mean and variance of m, too."""
    m = ends.new_empty(len(edges.source), ends.shape[1] // 4)
    nodes = tuple(ends.new_empty(len(ends), m.shape[1]) for _ in range(3))
    share = edges.rows.share if sums else None
    given = (*_graph(edges, ends), *vectors.arguments(), share, None, None, None, m, None, *nodes)
    found = _run("gated", *_size(nodes[0]), given, shares=_shares(edges, m.shape[1])[0], sums=sums)
    return (m, *nodes), _mean_and_variance(found[0], edges.rows.share) if sums else None


def convolved_at_once(
    vectors: EdgeVectors,
    ends: Float[Tensor, "nodes four_dim"],
    edges: Edges,
    scale: Float[Tensor, " dim"],
    shift: Float[Tensor, " dim"],
    *,
    eps: float | None = None,
    keep: bool = False,
) -> tuple[tuple[Tensor, ...], Float[Tensor, "edges dim"]]:
    """Return m if it is kept, h, its denominator and s + h of :func:`gated`; and y + SiLU(scale m + shift).

    With ``eps`` each m is normalised by itself.
    """
    dim = len(scale)
    m, following = (ends.new_empty(len(edges.source) if kept else 0, dim) for kept in (keep, True))
    nodes = tuple(ends.new_empty(len(ends), dim) for _ in range(3))
    given = (*_graph(edges, ends), *vectors.arguments(), None, scale, shift, _number_of(eps))
    given = (*given, m if keep else None, following, *nodes, None, None)
    spare = 0 if keep else max(BLOCK, edges.widest)
    _run("gated", *_size(nodes[0]), given, shares=_shares(edges, dim)[0], spare=spare)
    return (m, *nodes), following


def convolved_derivative(
    vectors: EdgeVectors,
    kept: Sequence[Float[Tensor, "_ dim"]],
    ends: Float[Tensor, "nodes four_dim"],
    edges: Edges,
    dtotal: Float[Tensor, "nodes dim"],
    following: Sequence[Float[Tensor, ...] | None],
    *,
    eps: float | None = None,
) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    """Return derivatives by ends, y and weight; with ``eps`` those by scale and shift.

    Args:
        vectors: The vectors.
        kept: m, h and its denominator.
        ends: s, a, b and v.
        edges: The edges.
        dtotal: The derivative by s + h.
        following: That by y + SiLU(scale m + shift); scale and shift, and by_x and constant of
            :func:`affine_derivative`; or five times None. If each m was normalised by itself, the first three
            and twice None.
        eps: Of the norm, if each m was normalised by itself.
    """
    dim, every = dtotal.shape[1], vectors.which is None
    dnext, scale, shift, by_x, constant = following
    of_norm = (scale, shift, _number_of(eps), edges.rows.share, by_x, constant)
    given = (*_graph(edges, ends), *kept, dtotal, dnext, *of_norm)
    dy = torch.empty_like(vectors.y) if every else None
    given = (*given, vectors.y, vectors.which, panels(vectors.weight) if every else None, None, dy)
    sums = eps is not None
    given = given if sums else (*given, None, None)
    values = None if every else vectors.y.shape
    own = [vectors.weight.shape if every else None, values, None if dnext is None else values]
    found = _run_between(ends, edges, dim, given, sums=sums, own=own, spare=max(BLOCK, edges.widest))
    by_norm = _of_gain_and_bias(found.pop(0)) if sums else None
    if dy is not None:
        return (found[0], dy, found[1]), by_norm
    dvalues, *residual = found[1:]
    dy = multiplied(dvalues, vectors.weight, *residual)
    return (found[0], dy, multiplied_transposed(dvalues, vectors.y)), by_norm


def panels(matrix: Float[Tensor, "inner columns"]) -> Float[Tensor, "panels inner width"]:
    """Return some columns after the others, as products in C read them."""
    width = _panel()
    return matrix.reshape(len(matrix), -1, width).transpose(0, 1).contiguous()


def _graph(edges: Edges, ends: Tensor) -> tuple[Tensor | int, ...]:
    return BLOCK, edges.by_target, edges.source.contiguous(), edges.count.to(ends.dtype), ends


def moments(
    x: Float[Tensor, "rows dim"], share: Float[Tensor, " rows"]
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Return mean and variance of each column; shares of the rows sum to 1."""
    if _fits(x, share) and len(x):
        return _mean_and_variance(_run("moments", *_size(x), (x, share), sums=True)[0], share)
    mean = x.t() @ share
    # about the mean: a difference of squares would lose the digits of a channel that hardly varies
    return mean, (x - mean).square_().t() @ share


def affine(
    x: Float[Tensor, "rows dim"],
    residual: Float[Tensor, "values dim"] | None,
    scale: Float[Tensor, " dim"],
    shift: Float[Tensor, " dim"],
    *,
    silu: bool,
    index: Int[Tensor, " rows"] | None = None,
) -> Float[Tensor, "rows dim"]:
    """Return the residual, or the rows of it that ``index`` names, and SiLU(scale x + shift), or without."""
    if _fits(x, scale):
        y = torch.empty_like(x)
        more = None if residual is None else residual.to(x.dtype).contiguous()
        _run("affine", *_size(x), (int(silu), x, more, index, scale, shift, y))
        return y
    y = torch.addcmul(shift, x, scale)
    if silu:
        F.silu(y, inplace=True)
    if residual is None:
        return y
    return y.add_(residual if index is None else residual.index_select(0, index))


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
        sums = _run("affine_sums", *_size(x), (int(silu), x, dy, scale, shift, mean), sums=True)[0].to(
            x.dtype
        )
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


def normalised(
    x: Float[Tensor, "rows dim"],
    residual: Float[Tensor, "rows dim"] | None,
    weight: Float[Tensor, " dim"],
    bias: Float[Tensor, " dim"],
    *,
    eps: float,
) -> Float[Tensor, "rows dim"]:
    """Return the residual and SiLU(N(x)), or without; N is layer normalisation."""
    if rows_fit(x, weight):
        y = torch.empty_like(x)
        more = None if residual is None else residual.to(x.dtype).contiguous()
        _run("normalised", *_size(x), (x, more, weight, bias, _number_of(eps), y))
        return y
    y = F.silu(F.layer_norm(x, weight.shape, weight, bias, eps), inplace=True)
    return y if residual is None else y.add_(residual)


def normalised_derivative(
    x: Float[Tensor, "rows dim"],
    dy: Float[Tensor, "rows dim"],
    weight: Float[Tensor, " dim"],
    bias: Float[Tensor, " dim"],
    *,
    eps: float,
) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Return the derivatives of SiLU(N(x)) by x, weight and bias."""
    if rows_fit(x, dy, weight):
        dx = torch.empty_like(x)
        found = _run(
            "normalised_derivative", *_size(x), (x, dy, weight, bias, _number_of(eps), dx), sums=True
        )
        return dx, *_of_gain_and_bias(found[0])
    shape = list(weight.shape)
    normal, mean, inverse = torch.native_layer_norm(x, shape, weight, bias, eps)
    slope = torch.ops.aten.silu_backward.grad_input(dy, normal, grad_input=normal)
    given = (slope, x, shape, mean, inverse, weight, bias, [True, True, True])
    dx, dweight, dbias = torch.ops.aten.native_layer_norm_backward(*given)
    return dx, dweight, dbias


def rows_fit(*tensors: Tensor) -> bool:
    """Return whether rows of such tensors are normalised by themselves in C."""
    fits = _fits(*tensors) and all(len(x) > 0 for x in tensors)
    return fits and all(x.shape[-1] % _panel() == 0 and x.shape[-1] <= _widest() for x in tensors)


def _slope(x: Tensor, dy: Tensor, scale: Tensor, shift: Tensor, *, silu: bool) -> Tensor:
    slope: Tensor = torch.ops.aten.silu_backward(dy, torch.addcmul(shift, x, scale)) if silu else dy
    return slope


def _fits(*tensors: Tensor) -> bool:
    """Return whether the functions in C are there and take such tensors."""
    plain = all(x.dtype == torch.float32 and x.device.type == "cpu" and x.is_contiguous() for x in tensors)
    return plain and compiled(SOURCE) is not None


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[0], x.shape[1]


def _mean_and_variance(
    sums: Float[Tensor, "2 dim"], share: Float[Tensor, " rows"]
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Return those of rows from the sums of share x and of share x², in double precision."""
    mean = sums[0]
    # shares sum to 1 but for rounding; where the mean is large that matters
    variance = sums[1] + mean.square() * (share.sum(dtype=torch.float64) - 2)
    return mean.to(share.dtype), variance.clamp_(min=0).to(share.dtype)


def threads() -> int:
    """Return by how many threads functions in C may be done: those of torch.

    Of a process that was forked, by one: the others stay behind, and who waits for them waits for ever.
    """
    return 1 if _forked else torch.get_num_threads()


def number_of_parts(numbers: int, rows: int) -> int:
    """Return in how many parts to do so many numbers."""
    return max(1, min(torch.get_num_threads(), numbers // FEWEST, rows))


def _shares(edges: Edges, dim: int) -> tuple[list[list[tuple[int, int]]], bool]:
    """Return the ranges of nodes of each part; and whether no edge is between parts."""
    return edges.shares(number_of_parts(len(edges.source) * dim, edges.nodes))


def _run_between(
    ends: Tensor,
    edges: Edges,
    dim: int,
    arguments: Sequence[Tensor | int | None],
    *,
    sums: bool = False,
    own: Sequence[Sequence[int] | None] = (None, None, None),
    spare: int = 0,
) -> list[Tensor]:
    """Call the derivative of edges; what is found of the ends comes after the sums.

    Parts without an edge between them add to one derivative by the ends, others each to its own.
    """
    shares, closed = _shares(edges, dim)
    to_ends = torch.zeros_like(ends) if closed else ends.shape
    given = {"shares": shares, "sums": sums, "own": [to_ends, *own], "spare": spare}
    return _run("gated_derivative", edges.nodes, dim, arguments, **given)  # type: ignore[arg-type]


def _run(
    name: str,
    rows: int,
    dim: int,
    arguments: Sequence[Tensor | int | None],
    *,
    shares: list[list[tuple[int, int]]] | None = None,
    sums: bool = False,
    own: Sequence[Sequence[int] | Tensor | None] = (),
    spare: int = 0,
) -> list[Tensor]:
    """Call a function in C, in parts by the threads that torch has.

    Args:
        name: Of the function.
        rows: How many there are.
        dim: How many numbers each has.
        arguments: Of the function, after those that say which rows.
        shares: Ranges of the rows of each part; by default one each, as long as each other.
        sums: Whether the function adds up in two rows of double precision.
        own: What all parts add to, or shapes of what each has for itself; None for a null pointer.
        spare: Rows that each part needs for itself.

    Returns:
        ``(2, dim)`` if there are sums, and what else was added up, of all parts.
    """
    if shares is None:
        parts = number_of_parts(rows * dim, rows)
        shares = [[(rows * part // parts, rows * (part + 1) // parts)] for part in range(parts)]
    parts = len(shares)
    out = torch.zeros((parts if sums else 0, 2, dim), dtype=torch.float64)
    # whatever torch makes by default: programs in the same process may have chosen double precision
    added = [
        x if x is None or isinstance(x, Tensor) else torch.zeros((parts, *x), dtype=torch.float32)
        for x in own
    ]
    shared = {id(x) for x in own}
    scratch = [torch.empty(parts, spare, dim, dtype=torch.float32)] if spare else []
    given = [x if isinstance(x, int) else 0 if x is None else x.data_ptr() for x in arguments]
    mine = [*(out.unbind(1) if sums else ()), *added, *scratch]
    each = [
        (0, 0) if x is None else (x.data_ptr(), 0 if id(x) in shared else x.stride(0) * x.element_size())
        for x in mine
    ]
    every, first = array("q"), array("q", [0])
    for part, ranges in enumerate(shares):
        pointers = [begin + part * step for begin, step in each]
        unused = [0] * (MOST - 3 - len(given) - len(pointers))
        for ends in ranges:
            every.extend((dim, *ends, *given, *pointers, *unused))
        first.append(first[-1] + len(ranges))
    function, in_parts = _function(name, dim)
    in_parts(function, parts, threads() if parts > 1 else 1, first.buffer_info()[0], every.buffer_info()[0])
    found = [*([out] if sums else []), *(x for x in added if x is not None)]
    return [x if id(x) in shared else x[0] if parts == 1 else x.sum(0) for x in found]


@cache
def _function(name: str, dim: int) -> tuple[int, Callable[..., None]]:
    """Return the address of a function in C, compiled for the width if it is a usual one, and its caller."""
    library: Any = (compiled(SOURCE, f"-DDIM={dim}") if dim % _panel() == 0 else None) or compiled(SOURCE)
    library.in_parts.argtypes, library.in_parts.restype = [c_int64] * 5, None
    return cast(getattr(library, name), c_void_p).value or 0, library.in_parts


@cache
def _number_of(eps: float | None) -> Tensor | None:
    """Return where a function in C finds the number."""
    return None if eps is None else torch.tensor([eps], dtype=torch.float32)


def _of_gain_and_bias(sums: Float[Tensor, "2 dim"]) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Return the derivatives by weight and bias of a norm from their sums, which come the other way round."""
    found = sums.to(torch.float32)
    return found[1], found[0]


def _widest() -> int:
    """Return the width of the widest rows that are normalised by themselves in C."""
    return int(compiled(SOURCE).widest())  # type: ignore[union-attr]


def _panel() -> int:
    """Return of what the widths are multiples that products in C take."""
    return int(compiled(SOURCE).panel())  # type: ignore[union-attr]


def _after_fork() -> None:
    global _forked  # noqa: PLW0603
    _forked = True


_forked = False
os.register_at_fork(after_in_child=_after_fork)
