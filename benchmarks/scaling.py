"""Time against the size of the problem: atoms in a cell, neighbours of an atom, crystals, processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.driver import OURS, Processes
from benchmarks.parts import PUBLISHED, SMALL, Plan
from benchmarks.worker import Table
from tlzoo.machine.runtime import usable_cores

CELLS = 4  # crystals that are made larger
ATOMS = 8  # of each before that
MULTIPLES = ((1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (4, 2, 2), (4, 4, 2))
DISPLACED = 0.02  # Å, standard deviation; breaks the symmetry, so that nothing can be merged
NEIGHBOURS = (4, 8, 12, 16, 24, 32)
PARTS = (0.125, 0.25, 0.5, 1.0)  # of all crystals
COPIES = 8  # of each crystal for the processes, which take hundreds of crystals at a time


class Curve(NamedTuple):
    """One line of a plot.

    Attributes:
        name: What takes the time.
        x: Sizes.
        seconds: Median times.
        expected: Power of x that the time is to grow with.
    """

    name: str
    x: list[float]
    seconds: list[float]
    expected: int = 1


def supercell(table: Table, multiple: tuple[int, int, int], displaced: float) -> Table:
    """Return each crystal as a supercell, its atoms moved at random.

    Args:
        table: Crystals.
        multiple: Cells along a, b and c.
        displaced: Standard deviation of each coordinate, Å.
    """
    rng = np.random.default_rng(0)
    shifts = np.stack(np.meshgrid(*map(np.arange, multiple), indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = table.lattice * np.array(multiple)[None, :, None]
    coords: list[NDArray[np.float64]] = []
    for row in range(len(table)):
        frac = table.frac_coords[slice(*table.offsets[row : row + 2])]
        frac = ((frac[None] + shifts[:, None]) / np.array(multiple)).reshape(-1, 3)
        coords.append(frac + rng.normal(0.0, 1.0, frac.shape) * displaced @ np.linalg.inv(lattice[row]))
    numbers = [
        np.tile(table.numbers[slice(*table.offsets[row : row + 2])], len(shifts)) for row in range(len(table))
    ]
    return replace(
        table,
        lattice=lattice,
        offsets=table.offsets * len(shifts),
        numbers=np.concatenate(numbers),
        frac_coords=np.concatenate(coords),
    )


def copied(table: Table) -> Table:
    """Return the crystals several times over."""
    sizes = np.tile(np.diff(table.offsets), COPIES)
    return replace(
        table,
        lattice=np.tile(table.lattice, (COPIES, 1, 1)),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        numbers=np.tile(table.numbers, COPIES),
        frac_coords=np.tile(table.frac_coords, (COPIES, 1)),
        targets=np.tile(table.targets, COPIES),
    )


def small_cells(table: Table) -> Table:
    """Return the first crystals of the size that supercells are made of, or of the commonest size."""
    sizes = np.diff(table.offsets)
    wanted = ATOMS if (sizes == ATOMS).sum() >= CELLS else np.bincount(sizes).argmax()
    rows = np.flatnonzero(sizes == wanted)[:CELLS]
    atoms = np.concatenate([np.arange(*table.offsets[row : row + 2]) for row in rows])
    return replace(
        table,
        lattice=table.lattice[rows],
        offsets=np.arange(len(rows) + 1) * wanted,
        numbers=table.numbers[atoms],
        frac_coords=table.frac_coords[atoms],
        targets=table.targets[rows],
    )


def measure(plan: Plan, processes: Processes, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Return the curves of each plot."""
    timing = Timing(processes, min(repeats, 3))  # medians of a curve, not of a comparison
    plots = {
        "atoms in a cell": _atoms(plan, timing),
        "neighbours of an atom": _neighbours(plan, timing),
        "crystals": _crystals(plan, timing),
        "processes building graphs": _workers(plan, timing),
    }
    return {name: [curve._asdict() for curve in curves] for name, curves in plots.items()}


class Timing:
    """Median times of tlzoo's jobs."""

    def __init__(self, processes: Processes, repeats: int) -> None:
        self.process = processes.get(OURS)
        self.repeats = repeats

    def seconds(self, job: str, **settings: Any) -> float:  # noqa: ANN401 (settings of any job)
        """Return the median time of a job."""
        self.process.ask(do="prepare", name=job, settings=settings, **{"as": job})
        times = [self.process.ask(do="repeat", **{"as": job})["seconds"] for _ in range(self.repeats)]
        self.process.ask(do="forget")
        return float(median(times))

    def curve(
        self, name: str, job: str, points: Sequence[tuple[float, dict[str, Any]]], expected: int = 1
    ) -> Curve:
        """Return the times of a job at each size."""
        times = [self.seconds(job, **settings) for _, settings in points]
        return Curve(name, [x for x, _ in points], times, expected)


def _atoms(plan: Plan, timing: Timing) -> list[Curve]:
    cells = small_cells(Table.read(plan.table))
    tables: dict[bool, list[tuple[float, dict[str, Any]]]] = {True: [], False: []}
    for symmetric, points in tables.items():
        for multiple in MULTIPLES:
            table = supercell(cells, multiple, 0.0 if symmetric else DISPLACED)
            path = Path(plan.folder) / f"supercell-{symmetric}-{table.offsets[1]}.npz"
            table.write(path)
            points.append(
                (float(table.offsets[1]), {"table": str(path), "crystals": len(table), "kind": "alignn"})
            )
    steps = {"batch": CELLS, "network_": SMALL}
    return [
        timing.curve("graphs and line graphs", "graphs", tables[False]),
        timing.curve("batch assembly", "assembly", [(x, {**s, "batch": CELLS}) for x, s in tables[False]]),
        timing.curve("ALIGNN training step", "training", [(x, {**s, **steps}) for x, s in tables[False]]),
        timing.curve(
            "CGCNN training step",
            "training",
            [(x, {**s, **steps, "kind": "cgcnn", "network_": PUBLISHED}) for x, s in tables[False]],
        ),
        timing.curve(
            "ALIGNN training step, perfect supercells",
            "training",
            [(x, {**s, **steps}) for x, s in tables[True]],
            expected=0,
        ),
    ]


def _neighbours(plan: Plan, timing: Timing) -> list[Curve]:
    few = {**plan.some(64), "batch": 64}
    curves = []
    # an atom with k neighbours has k² angles
    for name, kind, network, power in (("CGCNN", "cgcnn", PUBLISHED, 1), ("ALIGNN", "alignn", SMALL, 2)):
        points = [
            (float(k), {**few, "kind": kind, "options": {"neighbours": k, "merge_tolerance": 0.0}})
            for k in NEIGHBOURS
        ]
        graphs = [(x, {key: s[key] for key in s if key != "batch"}) for x, s in points]
        curves.append(timing.curve(f"{name} graphs", "graphs", graphs, power))
        steps = [(x, {**s, "network_": network}) for x, s in points]
        curves.append(timing.curve(f"{name} training step", "training", steps, power))
    return curves


def _crystals(plan: Plan, timing: Timing) -> list[Curve]:
    sizes = sorted({max(4, round(part * plan.crystals)) for part in PARTS})
    own = {"table": plan.table, "kind": "cgcnn"}
    trained = {**own, "batch": 128, "network_": PUBLISHED, "folder": plan.folder}
    return [
        timing.curve("graphs", "graphs", [(n, {**own, "crystals": n}) for n in sizes]),
        timing.curve(
            "opening the store",
            "store",
            [(n, {**own, "crystals": n, "folder": plan.folder}) for n in sizes],
        ),
        timing.curve("CGCNN epoch", "epoch", [(n, {**trained, "crystals": n}) for n in sizes]),
    ]


def _workers(plan: Plan, timing: Timing) -> list[Curve]:
    table = copied(Table.read(plan.table))
    path = Path(plan.folder) / "copies.npz"
    table.write(path)
    settings = {"table": str(path), "crystals": len(table), "kind": "alignn", "folder": plan.folder}
    most = usable_cores()
    counts = sorted({*(1 << i for i in range(most.bit_length())), most})
    points = [(float(count), {**settings, "workers": count}) for count in counts]
    return [timing.curve("building a store", "build", points, expected=-1)]


def exponent(curve: Curve) -> float:
    """Return the power of x that the time grows with: over the larger half of the sizes, or all if few."""
    half = len(curve.x) // 2 if len(curve.x) > 3 else 0
    if len(curve.x) < 2:
        return float("nan")
    return float(np.polyfit(np.log(curve.x[half:]), np.log(curve.seconds[half:]), 1)[0])
