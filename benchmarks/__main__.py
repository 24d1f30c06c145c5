"""Speed of tlzoo and its peers on this machine, in one run: ``python -m benchmarks [PART…]``.

Every package works on the same crystals in the same batches, with the same optimiser and number of threads,
each in a process of its own; their repeats take turns. Tables and plots go to ``benchmarks/results``; parts
measured earlier stay there, with their date and machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import large, report, scaling, screening, startup
from benchmarks.agreement import ALLOWED
from benchmarks.driver import OURS, PEERS, Comparison, Entry, Processes, WorkerError, measure
from benchmarks.parts import ALIGNN, CGCONV, COMPARISONS, LARGE, PUBLISHED, RECIPE, SMALL, Plan
from benchmarks.worker import Table
from tlzoo.data import named
from tlzoo.machine.runtime import usable_cores
from tlzoo.nn.element_embedding import feature_table

RESULTS = Path(__file__).parent / "results"
USUAL = ("neighbours", "line_graph", "store", "assembly", "training", "inference", "epoch", "memory")
NETWORKS = (
    ("ALIGNN 256 wide, 4 + 4", "alignn", LARGE),
    ("ALIGNN 64 wide, 2 + 2", "alignn", SMALL),
    ("CGCNN 64 wide, 3 layers", "cgcnn", PUBLISHED),
)
SAME_GRAPHS = {"training", "inference", "memory", "gpu"}  # also measured on the peers' own graphs
ALL = (*USUAL, "networks", "agreement", "roofline", "scaling", "gpu", "large", "startup", "screening")
TWO_CHECKOUTS = {"startup", "screening"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; 1 if a peer's numbers differ from tlzoo's or tlzoo failed."""
    given = parse(arguments)
    asked = given.parts or [*USUAL, "agreement", "roofline", "scaling", *["gpu"] * torch.cuda.is_available()]
    peers = PEERS.exists() and not given.no_peers
    if not peers:
        print("tlzoo alone: peers are installed by `make bench`", file=sys.stderr)
    given.results.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-") as folder:
        plan = prepare(given, folder)
        if peers and not SAME_GRAPHS.isdisjoint(asked):
            plan = foreign_graphs(plan)
        for part in asked:
            begun = time.monotonic()
            with Processes(given.threads, Path(folder), peers=peers) as processes:
                try:
                    found = take(part, plan, processes, given)
                except WorkerError as error:
                    wrong.append(f"{part}: {error}")
                    continue
                found |= facts(given, plan, processes)
            wrong += faults(part, found)
            took[part] = found["took"] = round(time.monotonic() - begun, 1)
            report.keep(given.results, part, found)
            print(f"{part}: {took[part]:.0f} s", file=sys.stderr)
    print(f"{len(took)} parts: {sum(took.values()) / 60:.1f} min", file=sys.stderr)
    print(report.write(given.results))
    for line in wrong:
        print(line, file=sys.stderr)
    return int(bool(wrong))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    default = "piezoelectric" if os.environ.get("TLZOO_DATA") else "semiconductors"
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"{', '.join(ALL)} (default: without networks, large, startup, screening; gpu if there is one)",
    )
    parser.add_argument("--data", default=default, help=f"data set (default: {default})")
    parser.add_argument("--crystals", type=int, default=1024, help="how many at most (default: 1024)")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement (default: 3)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="default: all usable cores")
    parser.add_argument("--no-peers", action="store_true", help="tlzoo alone")
    parser.add_argument("--results", type=Path, default=RESULTS, help="default: benchmarks/results")
    parser.add_argument("--against", type=Path, help="another checkout of tlzoo, for startup and screening")
    given = parser.parse_args(arguments)
    if unknown := set(given.parts) - set(ALL):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are: {', '.join(ALL)}")
    wanting = sorted(TWO_CHECKOUTS.intersection(given.parts))
    if wanting and not (given.against and (given.against / "tlzoo").is_dir()):
        parser.error(f"{wanting[0]} wants another checkout to compare with: --against PATH")
    return given


def prepare(given: argparse.Namespace, folder: str) -> Plan:
    """Write the crystals, in random order."""
    crystals = named.load(given.data)
    rng = np.random.default_rng(0)
    crystals = crystals.select(rng.permutation(len(crystals))[: given.crystals])
    table = Table(
        lattice=crystals.lattice,
        offsets=crystals.offsets,
        numbers=crystals.numbers.astype(np.int64),
        frac_coords=crystals.frac_coords,
        targets=rng.normal(size=len(crystals)).astype(np.float32),
        features=feature_table().numpy(),
    )
    path = f"{folder}/crystals.npz"
    table.write(path)
    return Plan(path, len(crystals), folder, {})


def foreign_graphs(plan: Plan) -> Plan:
    """Write the graphs that the peers make of the crystals."""
    graphs = {}
    with Processes(1, Path(plan.folder), peers=True) as processes:
        for name, module, most in (("alignn", ALIGNN, 512), ("recipe", RECIPE, 896)):
            graphs[name] = f"{plan.folder}/graphs-{name}.npz"
            settings = {**plan.some(most), "path": graphs[name]}
            processes.get(module).ask(do="answer", name="export", settings=settings)
    return plan._replace(graphs=graphs)


def take(part: str, plan: Plan, processes: Processes, given: argparse.Namespace) -> dict[str, Any]:
    """Measure one part."""
    if part == "gpu":
        found = [measure(one, processes, given.repeats) for one in COMPARISONS[part](plan)]
        return {"comparisons": found, "roofline": roofline(plan, processes, given.repeats, "cuda")}
    if part in COMPARISONS:
        return {"comparisons": [measure(one, processes, given.repeats) for one in COMPARISONS[part](plan)]}
    others: dict[str, Callable[[], Any]] = {
        "agreement": lambda: agreement(plan, processes),
        "roofline": lambda: roofline(plan, processes, given.repeats),
        "scaling": lambda: scaling.measure(plan, processes, given.repeats),
        "large": lambda: large.measure(processes, given.repeats),
        "screening": lambda: screening.measure(given.against, given.data, given.crystals, given.threads),
        "startup": lambda: startup.measure(given.against, given.repeats, given.threads),
    }
    return {part: others[part]()}


def agreement(plan: Plan, processes: Processes) -> list[dict[str, Any]]:
    """Put the peers' weights and bonds into tlzoo and compare predictions and gradients."""
    if not processes.peers:
        return []
    few = {**plan.some(32), "batch": 16}
    found: list[dict[str, Any]] = []
    for peer, module, kind, name, network in (
        ("alignn", ALIGNN, "alignn", "ALIGNN 256 wide, 4 + 4: alignn", LARGE),
        ("alignn", ALIGNN, "alignn", "ALIGNN 64 wide, 2 + 2: alignn", SMALL),
        ("cgconv", CGCONV, "cgcnn", "CGCNN: torch-geometric CGConv", PUBLISHED),
        ("recipe", RECIPE, "cgcnn", "CGCNN: concatenation recipe", PUBLISHED),
    ):
        settings = {**few, "network_": network, "path": f"{plan.folder}/reference-{len(found)}.npz"}
        processes.get(module).ask(do="answer", name="reference", settings=settings)
        found.append({"name": name, **processes.ours("compare", kind=kind, peer=peer, **settings)})
    return found


def roofline(plan: Plan, processes: Processes, repeats: int, device: str = "cpu") -> dict[str, Any]:
    """Measure the ceilings, and training steps below them."""
    ceilings = [processes.ours("ceilings", device=device) for _ in range(2)]
    points = []
    cells = ((16, 32), (32, 128), (128, 512)) if device == "cpu" else ((64, 512), (64, 512), (448, 896))
    for (name, kind, network), (batch, most) in zip(NETWORKS, cells, strict=True):
        settings = {"batch": batch, "kind": kind, "network_": network, "device": device}
        for low in (False, True):
            own = {**plan.some(most), **settings, "low": low}
            who = f"{name}, batch {batch}, {'bf16-mixed' if low else 'fp32'}"
            row = measure(Comparison(who, [Entry(who, OURS, "training", own)]), processes, repeats)["rows"][0]
            if "error" in row:
                raise WorkerError(row["error"])
            points.append({**row, "low": low, "floor": processes.ours("floor", **own)})
            points[-1]["profile"] = processes.ours("profile", **own)["shares"]
    ceilings.append(processes.ours("ceilings", device=device))
    return {"ceilings": {name: max(one[name] for one in ceilings) for name in ceilings[0]}, "points": points}


def facts(given: argparse.Namespace, plan: Plan, processes: Processes) -> dict[str, Any]:
    """Return when, where and with what something was measured."""
    atoms = int(Table.read(plan.table).offsets[-1])
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": {
            "cpu": cpu(),
            "cores": usable_cores(),
            "threads": given.threads,
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "data": {"name": given.data, "crystals": plan.crystals, "atoms": atoms},
        "repeats": given.repeats,
        "versions": processes.versions(),
    }


def cpu() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def faults(part: str, found: dict[str, Any]) -> list[str]:
    """Return what went wrong, in words: disagreement with a peer, or a failure of tlzoo's own."""
    lines = [
        f"{row['name']}: {what} differ by {row[what]:.1e}, more than {allowed:.0e}"
        for row in found.get("agreement", [])
        for what, allowed in ALLOWED.items()
        if not row[what] <= allowed
    ]
    lines += [
        f"{part}, {comparison['title']}: {row['who']}: {row['error']}"
        for comparison in found.get("comparisons", [])
        for row in comparison["rows"]
        if row["ours"] and "error" in row
    ]
    return lines


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WorkerError as error:
        sys.exit(str(error))
