"""Equivariant convolutions as few large products of matrices; numbers as e3nn's tensor product has them.

The message along a bond couples the source's parts of degree l1 with the bond's harmonics: a matrix of
2 l1 + 1 times 2 l3 + 1 numbers, the same for all channels and layers. With each channel's weight multiplied
in before, the sum over the bonds of an atom is one product of matrices, over bonds and components at once,
and no message is ever written down. What the gradient needs is made anew: quicker than to fetch it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

# Rows worked on at once. On a CPU what they need stays in the cache of a core, with enough work in each call.
ROWS_ON_CPU, ROWS_ELSEWHERE = 512, 1 << 15


@dataclass(frozen=True)
class Paths:
    """All paths from the parts of one degree to those of another, in one set of channels.

    Attributes:
        channels: Channels of the input and of the output of each path.
        ins: Components of the input, 2 l1 + 1.
        outs: Components of the output, 2 l3 + 1.
        source: First column of the input.
        target: First column of the output of the first path; the others follow.
        weight: First column of the weights of the first path; the others follow.
        harmonics: Columns of the harmonics that each path reads.
        coupling: Of each path, ``(2 l2 + 1, ins · outs)`` float64.
    """

    channels: int
    ins: int
    outs: int
    source: int
    target: int
    weight: int
    harmonics: list[slice]
    coupling: list[Tensor]

    def follows(self, before: Paths) -> bool:
        """Whether the last path of ``before`` is directly followed by these, from the same input."""
        same = (self.channels, self.ins, self.outs, self.source)
        return (
            same == (before.channels, before.ins, before.outs, before.source)
            and self.target == before.target + len(before.coupling) * before.channels * before.outs
            and self.weight == before.weight + len(before.coupling) * before.channels
        )

    def __add__(self, after: Paths) -> Paths:
        columns, coupling = self.harmonics + after.harmonics, self.coupling + after.coupling
        return Paths(*self.layout, columns, coupling)

    @property
    def layout(self) -> tuple[int, int, int, int, int, int]:
        """Numbers of channels and components, and first columns."""
        return self.channels, self.ins, self.outs, self.source, self.target, self.weight

    @cached_property
    def key(self) -> Hashable:
        """What the matrices of the bonds depend on."""
        columns = tuple((each.start, each.stop) for each in self.harmonics)
        return columns, self.ins, self.outs, b"".join(each.numpy().tobytes() for each in self.coupling)


def paths_of(product: Any) -> list[Paths]:  # noqa: ANN401 (e3nn is optional)
    """Return the paths of e3nn's tensor product of features and harmonics, weighted channel by channel.

    Signs of 3j symbols are a convention, which e3nn has changed; what it made, or loaded with a network's
    weights, is what counts.

    Args:
        product: An ``e3nn.o3.TensorProduct``, each path with mode ``uvu``, weights and an output of its own.

    Raises:
        ValueError: The product is of another kind.
    """
    from e3nn.o3 import wigner_3j

    first, second, third = (
        list(zip(each, each.slices(), strict=True))
        for each in (product.irreps_in1, product.irreps_in2, product.irreps_out)
    )
    symbols = {name.rpartition("_w3j_")[2]: symbol for name, symbol in product.named_buffers()}
    found: list[Paths] = []
    weight = 0
    for path in product.instructions:
        (one, source), (two, columns), (out, target) = (
            first[path.i_in1],
            second[path.i_in2],
            third[path.i_out],
        )
        if path.connection_mode != "uvu" or not path.has_weight or two.mul != 1:
            raise ValueError(f"a convolution weights each channel of each path, got {path}")
        degrees = one.ir.l, two.ir.l, out.ir.l
        symbol = symbols.get("_".join(map(str, degrees)))
        if symbol is None:  # with a scalar there is but one way, and e3nn keeps no symbol
            symbol = wigner_3j(*degrees, dtype=torch.float64)
        coupling = symbol.detach().to("cpu", torch.float64) * path.path_weight
        coupling = coupling.transpose(0, 1).reshape(two.ir.dim, -1)
        sizes = (one.mul, one.ir.dim, out.ir.dim)
        new = Paths(*sizes, source.start, target.start, weight, [columns], [coupling])
        weight += one.mul
        if found and new.follows(found[-1]):
            found[-1] += new
        else:
            found.append(new)
    if len({path.i_out for path in product.instructions}) != len(third):
        raise ValueError("a path of a convolution has an output of its own")
    return found


@dataclass(frozen=True)
class Chunk:
    """Atoms with the same number of rows, worked on at once.

    Attributes:
        atoms: Where they are in the arrangement.
        rows: Rows of these atoms, ``len(atoms) · rows of each``.
    """

    atoms: slice
    rows: slice


class Matrices(NamedTuple):
    """What couples input and output.

    Attributes:
        couplings: Of each path, for any bond, ``(2 l2 + 1, ins · outs)``.
        chunks: Of each chunk, with the harmonics of its bonds, ``(paths · atoms, rows of each · ins, outs)``.
    """

    couplings: list[Tensor]
    chunks: list[Tensor]


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Bonds in rows, atoms with about the same number of bonds side by side and with the same number of rows.

    Attributes:
        order: The atoms in the arrangement, ``(atoms,)``.
        place: Where each atom is, ``(atoms,)``.
        bond: Bond of each row, 0 for one without a bond, ``(rows,)``.
        there: Whether the row has a bond, ``(rows,)``.
        chunks: What is worked on at once.
    """

    order: Int[Tensor, " atoms"]
    place: Int[Tensor, " atoms"]
    bond: Int[Tensor, " rows"]
    there: Tensor
    chunks: list[Chunk]
    matrices: dict[Hashable, Matrices] = field(default_factory=dict)

    @classmethod
    def of(cls, target: Int[Tensor, " bonds"], atoms: int) -> Arrangement:
        """Arrange bonds whose targets are ascending; no gradient passes."""
        device = target.device
        budget = ROWS_ON_CPU if device.type == "cpu" else ROWS_ELSEWHERE
        count = torch.bincount(target, minlength=atoms)
        start = torch.cumsum(count, 0) - count
        count_sorted, order = torch.sort(count, stable=True, descending=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(atoms, device=device)
        sizes, chunks, bond, there = count_sorted.tolist(), [], [], []
        atom = row = 0
        while atom < atoms and sizes[atom]:
            # as many as there is room for; of those, none with many fewer bonds than the first
            width = sizes[atom]
            stop = min(atoms, atom + max(1, budget // width))
            while sizes[stop - 1] < 0.85 * width:
                stop -= 1
            members = order[atom:stop, None]
            column = torch.arange(width, device=device)
            there.append((column < count[members]).flatten())
            bond.append((start[members] + column).flatten())
            size = (stop - atom) * width
            chunks.append(Chunk(slice(atom, stop), slice(row, row + size)))
            atom, row = stop, row + size
        none = target.new_empty(0)
        is_there = torch.cat([none.bool(), *there])
        return cls(order, place, torch.where(is_there, torch.cat([none, *bond]), 0), is_there, chunks)

    def matrices_of(self, paths: Paths, harmonics: Float[Tensor, "rows harmonics"]) -> Matrices:
        """Return what couples input and output; made once."""
        found = self.matrices.get(paths.key)
        if found is None:
            couplings = [coupling.to(harmonics) for coupling in paths.coupling]
            chunks = []
            for chunk in self.chunks:
                some, atoms = harmonics[chunk.rows], chunk.atoms.stop - chunk.atoms.start
                parts = [
                    some[:, columns] @ coupling
                    for columns, coupling in zip(paths.harmonics, couplings, strict=True)
                ]
                chunks.append(torch.stack(parts).view(len(parts) * atoms, -1, paths.outs))
            found = self.matrices[paths.key] = Matrices(couplings, chunks)
        return found


def convolve(
    x: Float[Tensor, "atoms dim"],
    harmonics: Float[Tensor, "rows harmonics"],
    weights: Float[Tensor, "bonds weights"],
    source: Int[Tensor, " rows"],
    bond: Int[Tensor, " rows"],
    arrangement: Arrangement,
    paths: list[Paths],
) -> Float[Tensor, "atoms out_dim"]:
    """Sum over the bonds of each atom features times harmonics times weights, coupled by the paths.

    Differentiable once. Features are in e3nn's layout, channels before components.

    Args:
        x: Features of the atoms.
        harmonics: Harmonics of the bond of each row, zero where there is none; the same in all calls with an
            arrangement.
        weights: Weights of all paths.
        source: Atom at the other end of each row's bond; any where there is none.
        bond: Row of ``weights`` of each row; any where there is none.
        arrangement: How rows are arranged by target.
        paths: From :func:`paths_of`.
    """
    with torch.autocast(x.device.type, enabled=False):
        of_atoms, of_bonds = x.to(harmonics.dtype), weights.to(harmonics.dtype)
        result: Tensor = _Convolve.apply(of_atoms, harmonics, of_bonds, source, bond, arrangement, paths)  # type: ignore[no-untyped-call]
    return result


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch has no type)
        x: Tensor,
        harmonics: Tensor,
        weights: Tensor,
        source: Tensor,
        bond: Tensor,
        arrangement: Arrangement,
        paths: list[Paths],
    ) -> Tensor:
        components = _by_component(x, paths)
        ctx.save_for_backward(components, harmonics, weights, source, bond)
        ctx.arrangement, ctx.paths = arrangement, paths
        width = sum(len(each.coupling) * each.channels * each.outs for each in paths)
        out = x.new_zeros(len(x), width)
        matrices = [arrangement.matrices_of(each, harmonics) for each in paths]
        room = _Room(components, weights, arrangement, paths)
        for i, chunk in enumerate(arrangement.chunks):
            atoms = chunk.atoms.stop - chunk.atoms.start
            near, weight = room.near(source[chunk.rows]), room.weight(bond[chunk.rows])
            for each, (_, of_chunks) in zip(paths, matrices, strict=True):
                weighted = room.weighted(near, weight, each)
                found = torch.bmm(of_chunks[i].transpose(1, 2), weighted.view(*of_chunks[i].shape[:2], -1))
                to = _part(out[chunk.atoms], each)
                to.copy_(found.view(-1, atoms, each.outs, each.channels).permute(1, 0, 3, 2))
        return out.index_select(0, arrangement.place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 (torch has no type)
        components, harmonics, weights, source, bond = ctx.saved_tensors
        arrangement, paths = ctx.arrangement, ctx.paths
        gradient = gradient.index_select(0, arrangement.order)
        inputs = (components, harmonics, weights)
        totals = [
            torch.zeros_like(each) if wanted else None
            for each, wanted in zip(inputs, ctx.needs_input_grad, strict=False)
        ]
        to_x, to_harmonics, to_weights = totals
        matrices = [arrangement.matrices_of(each, harmonics) for each in paths]
        room = _Room(components, weights, arrangement, paths)
        for i, chunk in enumerate(arrangement.chunks):
            near, weight = room.near(source[chunk.rows]), room.weight(bond[chunk.rows])
            to_near = None if to_x is None else torch.zeros_like(near)
            to_weight = None if to_weights is None else torch.zeros_like(weight)
            for each, (coupling, of_chunks) in zip(paths, matrices, strict=True):
                back = _part(gradient[chunk.atoms], each).permute(1, 0, 3, 2)
                back = back.reshape(len(of_chunks[i]), each.outs, each.channels)
                if to_harmonics is not None:
                    weighted = room.weighted(near, weight, each).view(*of_chunks[i].shape[:2], -1)
                    to_matrix = torch.bmm(weighted, back.transpose(1, 2))
                    _add_to_harmonics(to_harmonics[chunk.rows], to_matrix, coupling, each)
                held = room.product(each, len(near))
                torch.bmm(of_chunks[i], back, out=held.view(len(of_chunks[i]), -1, each.channels))
                if to_weight is not None:
                    _add_to_weights(_weights(to_weight, each), held, _inputs(near, each))
                if to_near is not None:
                    _add_to_inputs(_inputs(to_near, each), held, _weights(weight, each))
            if to_x is not None and to_near is not None:
                to_x.index_add_(0, source[chunk.rows], to_near)
            if to_weights is not None and to_weight is not None:
                to_weights.index_add_(0, bond[chunk.rows], to_weight)
        to_x = None if to_x is None else _by_channel(to_x, paths)
        return to_x, to_harmonics, to_weights, None, None, None, None


class _Room:
    """Memory for what a chunk needs, the same for all chunks: fresh memory costs as much as to fill it."""

    def __init__(
        self, components: Tensor, weights: Tensor, arrangement: Arrangement, paths: list[Paths]
    ) -> None:
        self._components, self._weights = components, weights
        rows = max((chunk.rows.stop - chunk.rows.start for chunk in arrangement.chunks), default=0)
        largest = max(len(each.coupling) * each.ins * each.channels for each in paths)
        self._near = components.new_empty(rows, components.shape[1])
        self._weight = weights.new_empty(rows, weights.shape[1])
        self._product = components.new_empty(rows * largest)

    def near(self, source: Tensor) -> Tensor:
        """Gather features."""
        return torch.index_select(self._components, 0, source, out=self._near[: len(source)])

    def weight(self, bond: Tensor) -> Tensor:
        """Gather weights."""
        return torch.index_select(self._weights, 0, bond, out=self._weight[: len(bond)])

    def product(self, paths: Paths, rows: int) -> Tensor:
        """Return room of the shape ``(paths, rows, ins, channels)``."""
        shape = (len(paths.coupling), rows, paths.ins, paths.channels)
        return self._product[: math.prod(shape)].view(shape)

    def weighted(self, near: Tensor, weight: Tensor, paths: Paths) -> Tensor:
        """Return the product of features and weights, ``(paths, rows, ins, channels)``."""
        by = _weights(weight, paths).transpose(0, 1)[:, :, None]
        return torch.mul(by, _inputs(near, paths), out=self.product(paths, len(near)))


def _add_to_harmonics(to: Tensor, to_matrix: Tensor, coupling: list[Tensor], paths: Paths) -> None:
    """Add what the gradient of a chunk's matrices means for its harmonics, ``(rows, harmonics)``."""
    for part, columns, each in zip(
        to_matrix.view(len(coupling), len(to), -1), paths.harmonics, coupling, strict=True
    ):
        to[:, columns].addmm_(part, each.T)


def _add_to_weights(to: Tensor, held: Tensor, inputs: Tensor) -> None:
    """Add the sum over components of ``held`` times inputs."""
    to = to.transpose(0, 1)
    for component in range(inputs.shape[1]):
        to.addcmul_(held[:, :, component], inputs[:, component])


def _add_to_inputs(to: Tensor, held: Tensor, weights: Tensor) -> None:
    """Add the sum over paths of ``held`` times weights."""
    for path, part in enumerate(held):
        to.addcmul_(part, weights[:, path, None])


def _inputs(x: Tensor, paths: Paths) -> Tensor:
    """View the columns that paths read, ``(rows, ins, channels)``."""
    part = x[:, paths.source : paths.source + paths.ins * paths.channels]
    return part.view(len(x), paths.ins, paths.channels)


def _weights(weights: Tensor, paths: Paths) -> Tensor:
    """View the columns of weights, ``(rows, paths, channels)``."""
    number = len(paths.coupling)
    part = weights[:, paths.weight : paths.weight + number * paths.channels]
    return part.view(len(weights), number, paths.channels)


def _part(out: Tensor, paths: Paths) -> Tensor:
    """View the columns that paths write, ``(atoms, paths, channels, outs)``."""
    number = len(paths.coupling)
    part = out[:, paths.target : paths.target + number * paths.channels * paths.outs]
    return part.view(len(out), number, paths.channels, paths.outs)


def _by_component(x: Tensor, paths: list[Paths]) -> Tensor:
    """Return features with components before channels."""
    found = x.clone()
    for each in {each.source: each for each in paths}.values():
        part = x[:, each.source : each.source + each.ins * each.channels]
        _inputs(found, each).copy_(part.view(len(x), each.channels, each.ins).transpose(1, 2))
    return found


def _by_channel(x: Tensor, paths: list[Paths]) -> Tensor:
    """Return features with channels before components."""
    found = x.clone()
    for each in {each.source: each for each in paths}.values():
        part = found[:, each.source : each.source + each.ins * each.channels]
        part.view(len(x), each.channels, each.ins).copy_(_inputs(x, each).transpose(1, 2))
    return found
