"""How close to the machine's limits: its two ceilings, and what a training step cannot do without."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import steps
from benchmarks.worker import seconds
from tlzoo.graphs.batch import Batch
from tlzoo.nn import passes

# rows, inner and columns of products: square ones, and one as the layers have it
PRODUCTS = ((1024, 1024, 1024), (2048, 2048, 2048), (16384, 256, 256))
TRIAD = 1 << 25  # numbers in each of three arrays, 128 MiB: more than any cache
LISTED = 14  # operators of a profile


def _flops(into: torch.Size, left: torch.Size, right: torch.Size, **_: object) -> int:  # noqa: ARG001
    return 2 * left[0] * left[1] * right[1]


IN_PLACE = {torch.ops.aten.addmm_: _flops}  # torch does not count this product by itself


def ceilings(*, device: str = "cpu") -> dict[str, float]:
    """Measure the highest rates of the machine.

    Returns:
        ``fp32`` and ``bf16``: multiplications and additions in matrix products, GFLOP/s, the best of some
        sizes; ``bandwidth``: bytes read and written by ``a = b + 2 c`` on large arrays, GB/s.
    """
    scale = 4 if device == "cuda" else 1  # what fills two cores does not fill a GPU
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        found[name] = max(_product(scale * n, k, m, dtype, device) for n, k, m in PRODUCTS)
    a, b, c = (torch.ones(scale * TRIAD, device=device) for _ in range(3))
    found["bandwidth"] = 3 * a.nbytes / 1e9 / _seconds(lambda: torch.add(b, c, alpha=2.0, out=a), device)
    return found


def _product(rows: int, inner: int, columns: int, dtype: torch.dtype, device: str) -> float:
    a = torch.randn(rows, inner, device=device).to(dtype)
    b = torch.randn(columns, inner, device=device).to(dtype)
    out = torch.empty(rows, columns, dtype=dtype, device=device)
    time = _seconds(lambda: torch.mm(a, b.t(), out=out), device)
    return 2e-9 * rows * inner * columns / time


def _seconds(act: Callable[[], object], device: str) -> float:
    def once() -> None:
        act()
        steps.finish(device)

    once()
    return seconds(once)


def floor(
    loss: Callable[[Batch], Tensor], parts: Iterable[nn.Module], batches: list[Batch], *, low: bool
) -> dict[str, float]:
    """Count what training on some batches cannot do without.

    Operations are those of matrix products alone. Bytes are the least that go to and from memory if
    everything but the following stays in the caches: the inputs, read once; what forward keeps for backward,
    written once and read once; weights, read in forward and in backward, with gradients written and read and
    the state of AdamW read and written. Layers that one function in C does are taken in parts,
    whose products torch counts.

    Args:
        loss: Of a batch.
        parts: Whose parameters are trained.
        batches: Inputs.
        low: bf16 autocast.

    Returns:
        ``flops``, ``bytes``, and of these ``saved``, what forward keeps.
    """
    weights = [p for part in parts for p in part.parameters()]
    device = weights[0].device.type
    inputs = [[value for _, value in batch.items() if isinstance(value, Tensor)] for batch in batches]
    known = {_address(t) for t in weights} | {_address(t) for some in inputs for t in some}
    flops, saved = 0, 0
    for batch in batches:
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[_address(tensor)] = tensor.untyped_storage().nbytes()
            return tensor

        counter = FlopCounterMode(display=False, custom_mapping=IN_PLACE)
        with counter, patch.object(passes, "at_once", return_value=False):
            with (
                saved_tensors_hooks(keep, lambda tensor: tensor),
                torch.autocast(device, torch.bfloat16, enabled=low),
            ):
                value = loss(batch)
            value.backward()
        flops += counter.get_total_flops()
        saved += sum(size for address, size in kept.items() if address not in known)
    # weights: forward, backward, read and write by AdamW; gradients: write, read; two moments: read, write
    state = 10 * sum(p.nbytes for p in weights) * len(batches)
    read = sum(t.nbytes for some in inputs for t in some)
    return {"flops": flops, "saved": saved, "bytes": state + read + 2 * saved}


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def profile(act: Callable[[], Any]) -> dict[str, Any]:
    """Return the shares of the operators that take most of the time of an act."""
    act()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with torch.profiler.profile(activities=kinds) as watch:
        act()
    events = watch.key_averages()
    on_gpu = any(event.self_device_time_total for event in events)
    times = {
        event.key: float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)
        for event in events
    }
    total = sum(times.values())
    first = sorted(times.items(), key=lambda item: -item[1])[:LISTED]
    return {"shares": {name: time / total for name, time in first}}
