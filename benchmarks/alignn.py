"""ALIGNN against another checkout: ``python -m benchmarks.alignn --against PATH``.

Each checkout is a process of its own with the same crystals; they take turns. On one thread a figure is the
time that the processor spent in the median turn, for the wall says more of what else the machine does; on
several it is the wall, and the machine must have nothing else to do. Memory is what training adds to the
process at its highest. With ``--device cuda`` gradients are first compared with
those of the CPU, then steps are timed by the wall; that takes some three minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch

from benchmarks import ours, steps
from benchmarks.__main__ import prepare
from benchmarks.parts import LARGE, SMALL

HERE: Final = Path(__file__).parents[1]
NETWORKS: Final = {"64": (SMALL, 32, 8), "256": (LARGE, 16, 4)}  # with crystals of a batch, and batches
GPU_BATCH: Final = 128
# Fused as in `tlzoo fit` of either checkout; benchmarks of older ones have torch's loop over the parameters.
START: Final = """
import functools, runpy, torch
AdamW = torch.optim.AdamW
AdamW.__init__ = functools.partialmethod(AdamW.__init__, fused=True)
runpy.run_module("benchmarks.ours", run_name="__main__")
"""
# Largest difference of a gradient by its largest number: fp32 sums in another order.
ALLOWED: Final = 1e-3


class Checkout:
    """A process that measures a checkout; see :mod:`benchmarks.worker`."""

    def __init__(self, path: Path, threads: int) -> None:
        own = {"PYTHONPATH": str(path), "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", START],
            cwd=path,
            env=os.environ | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 (anything JSON can hold)
        """Send a request and return the answer.

        Raises:
            RuntimeError: It could not be done.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(
            self._process.stdout.readline() or '{"error": "the process ended"}'
        )
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def spent(self) -> float:
        """Return the seconds that processors have spent on it."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def turn(checkout: Checkout, name: str, *, wall: bool) -> float:
    """Return the seconds of one pass over the batches: of processors, or by the wall."""
    spent, begun = checkout.spent(), time.monotonic()
    seconds = float(checkout.ask(do="repeat", **{"as": name})["seconds"])
    if wall:
        return seconds
    return seconds * (checkout.spent() - spent) / (time.monotonic() - begun)


def gradients_agree(table: str, crystals: int, network: dict[str, Any], device: str) -> float:
    """Return the largest difference of a gradient from the CPU's, by the largest number of that gradient."""
    graph = ours.options_of("alignn", None)
    found = []
    for place in ("cpu", device):
        model = ours.model_of("alignn", network, graph, place)
        batches = ours.ready(table, crystals, crystals, graph, None, place)
        parts: dict[str, torch.nn.Module] = {"backbone": model.backbone, "head": model.head}
        found.append(steps.outputs_and_gradients(model.forward, parts, batches)[1])
    return max(
        float((found[1][name].cpu() - wanted).abs().max() / wanted.abs().max().clamp(min=1e-6))
        for name, wanted in found[0].items()
    )


def peak(checkout: Path, settings: dict[str, Any], threads: int) -> float:
    """Return how many MB training adds to a process of its own at its highest."""
    fresh = Checkout(checkout, threads)
    found = fresh.ask(do="memory", name="training", settings=settings)
    fresh.close()
    return float(found["peak"] - found["before"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if gradients differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alignn", description=__doc__)
    parser.add_argument("--against", type=Path, required=True, help="another checkout of tlzoo")
    parser.add_argument("--data", default="piezoelectric", help="data set (default: piezoelectric)")
    parser.add_argument("--network", choices=NETWORKS, nargs="*", default=[*NETWORKS], help="how wide")
    parser.add_argument("--batches", type=int, help="how many (default: 8 of 64 wide, 4 of 256)")
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    given = parser.parse_args(arguments)
    sides = {"then": given.against.resolve(), "now": HERE}
    wrong = False
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-alignn-") as folder:
        given.crystals = 1024
        plan = prepare(given, folder)
        for width in given.network:
            network, batch, number = NETWORKS[width]
            if given.device != "cpu":
                batch = GPU_BATCH
                largest = gradients_agree(plan.table, 32, network, given.device)
                wrong |= not largest <= ALLOWED
                print(f"{width} wide: gradients differ from the CPU's by {largest:.1e} at most")
            crystals = min(batch * (given.batches or number), plan.crystals)
            settings = {
                "table": plan.table,
                "crystals": crystals,
                "batch": batch,
                "kind": "alignn",
                "network_": network,
                "device": given.device,
            }
            running = {side: Checkout(path, given.threads) for side, path in sides.items()}
            wall = given.device != "cpu" or given.threads > 1
            for job in ("training", "inference"):
                for checkout in running.values():
                    checkout.ask(do="prepare", name=job, settings=settings, **{"as": job})
                turns = [
                    {side: turn(checkout, job, wall=wall) for side, checkout in running.items()}
                    for _ in range(given.repeats)
                ]
                then, now = (1e3 * median(one[side] for one in turns) * batch / crystals for side in sides)
                ratios = sorted(one["then"] / one["now"] for one in turns)
                print(
                    f"{width} wide: {job:9} {then:8.1f} -> {now:8.1f} ms a batch of {batch}, faster by "
                    f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                    flush=True,
                )
            for checkout in running.values():
                checkout.close()
            if given.device == "cpu":
                before, after = (peak(path, settings, given.threads) for path in sides.values())
                print(
                    f"{width} wide: peak      {before:8.0f} -> {after:8.0f} MB, {after / before:.2f} x",
                    flush=True,
                )
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
