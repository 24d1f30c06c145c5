"""The gated convolution of ``gated_conv.c``, where there is a C compiler.

A step of a small network takes most of its time to start a hundred small operations, and to bring back
what they leave in the caches. What lies between the matrix products of a layer is one operation here.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from tlzoo.machine.compiled import compiled
from tlzoo.nn import passes
from tlzoo.nn.edges import Edges
from tlzoo.nn.rows import Rows

SOURCE: Final = Path(__file__).with_name("gated_conv.c")
# Loops with a maximum are vectorised only so. That all numbers are finite is not said: it would turn NaN into
# some number, and a training that diverges would go on.
FLAGS: Final = ("-fno-signed-zeros",)


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled functions; None where they cannot be had."""
    found = compiled(SOURCE, *FLAGS)
    if found is None:
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    start: list[Any] = [number, number, number, pointer, pointer, number, *[pointer] * 5]
    found.gated_conv.argtypes = [*start, *[pointer] * 6, ctypes.c_float, *[pointer] * 7]
    found.gated_conv_backward.argtypes = [*start, *[pointer] * 14]
    return found


def applies(z: Tensor) -> bool:
    """Whether rows of bonds are what the compiled functions take."""
    return z.dtype == torch.float32 and z.device.type == "cpu" and library() is not None


def forward(
    x: Tensor, both: Tensor, z: Tensor, norms: Sequence[Tensor], atoms: Rows, bonds: Edges, eps: float
) -> tuple[Tensor, ...]:
    """Return what :func:`tlzoo.nn.gated_conv.forward` does; ``z`` becomes its distance from the mean."""
    dim = x.shape[1]
    gates, core = torch.empty_like(z), z.new_empty(len(z), dim)
    total, before, after = (torch.empty_like(x) for _ in range(3))
    networks = () if atoms.blocks is None else (len(atoms.blocks),)
    statistics = z.new_empty(*networks, 9 * dim)
    given = [each.contiguous() for each in (x, both, *norms)]
    _call("gated_conv", dim, atoms, bonds, given, eps, (z, gates, core, total, before, after, statistics))
    return after, before, gates, core, total, statistics


def backward(
    dy: Tensor, saved: Sequence[Tensor], atoms: Rows, bonds: Edges
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what :func:`tlzoo.nn.gated_conv.backward` does, of what was saved for it."""
    before, z, statistics = saved[-2], saved[2], saved[-1]
    dim = before.shape[1]
    dx, dtotal = torch.empty_like(before), torch.empty_like(before)
    dz, dboth = torch.empty_like(z), z.new_empty(len(before), 4 * dim)
    derivatives = z.new_empty(*statistics.shape[:-1], 8 * dim)
    given = [each.contiguous() for each in (dy, *saved)]
    _call("gated_conv_backward", dim, atoms, bonds, given, None, (dx, dtotal, dz, dboth, derivatives))
    return dx, dz, dboth, derivatives


def _call(
    name: str,
    dim: int,
    atoms: Rows,
    bonds: Edges,
    given: Sequence[Tensor],
    eps: float | None,
    found: Sequence[Tensor],
) -> None:
    # held until the call has returned
    rows = [each.contiguous() for each in (bonds.target, bonds.source)]
    rows += [each.float().contiguous() for each in (bonds.count, bonds.rows.share, atoms.share)]
    pointers: list[Any] = [each.data_ptr() for each in rows + list(given)]
    pointers += [] if eps is None else [eps]
    pointers += [each.data_ptr() for each in found]
    starts, parts = (atoms.starts, bonds.rows.starts), 1
    number = passes.number_of_parts(2 * dim * len(bonds.target), bonds.nodes)
    if atoms.blocks is None and number > 1 and bonds.parts(number)[1]:
        cuts = torch.tensor(bonds.parts(number)[0])
        starts, parts = (cuts, bonds.by_target[cuts]), number
    sizes = ((len(starts[0]) - 1) // parts, parts, passes.threads())
    if getattr(library(), name)(*sizes, *(each.data_ptr() for each in starts), dim, *pointers):
        raise MemoryError
