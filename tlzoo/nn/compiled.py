"""The gated convolution of ``gated_conv.c``, where there is a C compiler.

A step of a small network takes most of its time to start a hundred small operations, and to bring back
what they leave in the caches. What lies between the matrix products of a layer is one operation here. It is
compiled at the first training, in about a second, and kept in the folder of the caches.
``TLZOO_COMPILE=0`` leaves it out; then, and without a compiler, torch computes the same, to rounding.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from tlzoo.errors import UserError
from tlzoo.graphs.cache import default_dir
from tlzoo.machine.files import whole
from tlzoo.nn.edges import Edges
from tlzoo.nn.rows import Rows

logger = logging.getLogger(__name__)

SOURCE: Final = Path(__file__).with_name("gated_conv.c")
# No -ffast-math: linked with it, a library turns subnormal numbers off in the whole process. Loops with a
# maximum are vectorised only where numbers are said to be finite; others go through softplus all the same.
FLAGS: Final = (
    *("-O3", "-march=native", "-fPIC", "-shared"),
    *("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-ffinite-math-only"),
)
# Numbers in the rows of bonds; beyond them, several threads of torch's are faster than one of ours.
MOST: Final = 2**18


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled functions; None if there is no compiler, or it cannot do this."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if os.environ.get("TLZOO_COMPILE") == "0" or os.name != "posix" or not compiler:
        return None
    facts = [SOURCE.read_text(encoding="utf-8"), compiler, *FLAGS, platform.platform(), _processor()]
    path = default_dir() / "compiled" / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}.so"
    try:
        if not path.is_file():
            with whole(path) as partial:
                command = [*compiler.split(), *FLAGS, "-o", str(partial), str(SOURCE), "-lm"]
                subprocess.run(command, check=True, capture_output=True, timeout=60)  # noqa: S603 (the user's own compiler)
        found = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError, UserError) as error:
        logger.debug("training goes on without compiled layers: %s", error)
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    start: list[Any] = [number, pointer, pointer, number, *[pointer] * 5]
    found.gated_conv.argtypes = [*start, *[pointer] * 6, ctypes.c_float, *[pointer] * 7]
    found.gated_conv_backward.argtypes = [*start, *[pointer] * 14]
    return found


def _processor() -> str:
    """What machine code for this processor depends on: one cache may serve several."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")


def applies(z: Tensor) -> bool:
    """Whether rows of bonds are what the compiled functions take."""
    return (
        z.dtype == torch.float32
        and z.device.type == "cpu"
        and (z.numel() <= MOST or torch.get_num_threads() == 1)
        and library() is not None
    )


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
    function = getattr(library(), name)
    starts = (atoms.starts, bonds.rows.starts)
    if function(len(starts[0]) - 1, *(each.data_ptr() for each in starts), dim, *pointers):
        raise MemoryError
