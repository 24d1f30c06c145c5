"""Time of a training step of several networks as one: ``python -m benchmarks.several [-o PICTURE.png]``.

Of CGCNN, MomentNet and ALIGNN, 64 wide, against the number of networks, on the same batches (candidates of
`tlzoo finetune`) and each on its own (seeds); against the crystals in a batch; and against the atoms of a
cell. Processor time of the steps alone, one thread: no start, no files, no validation.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from matplotlib import pyplot as plt

from benchmarks.parts import SMALL
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.training.configuration import Experiment
from tlzoo.training.fitting import Planned, calm
from tlzoo.training.pace import take_steps

NETWORKS: Final = {
    "CGCNN": {"class_path": "CGCNN"},
    "MomentNet": {"class_path": "MomentNet", "init_args": {"dim": 64}},
    "ALIGNN": {"class_path": "ALIGNN", "init_args": SMALL},
}
NUMBERS: Final = (1, 2, 4, 8, 12)
BATCHES: Final = (4, 8, 16, 32, 64)
ATOMS: Final = ((1, 4), (5, 8), (9, 14), (15, 20), (21, 40))
COLOURS: Final = ("#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#6b4c9a")
# Of the times, in ms.
TICKS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
# Crystals that are learned from, so that an epoch is short.
CRYSTALS: Final = 320


class Line(NamedTuple):
    """Seconds of a step for each of some sizes."""

    name: str
    sizes: list[float]
    seconds: list[float]


class Clock(pl.Callback):
    """Takes the processor time of the steps of each epoch but the first."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Begin."""
        self._begun = time.process_time()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End."""
        del pl_module
        self.times.append((time.process_time() - self._begun) / float(trainer.num_training_batches))


def tree(network: str, source: str, target: str, batch_size: int, seed: int) -> dict[str, Any]:
    """Return the configuration of one training."""
    return {
        "seed_everything": seed,
        "model": {
            "backbone": NETWORKS[network],
            "head": {"class_path": "Regression"},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 3e-3}},
        },
        "data": {"source": source, "targets": [target], "batch_size": batch_size},
        "trainer": {"accelerator": "cpu"},
    }


def step(experiments: Sequence[Experiment], epochs: int) -> float:
    """Return the seconds of a step of all, the median of the epochs after the first."""
    clock = Clock()
    for each in experiments[1:]:
        each.data.share(experiments[0].data)
    take_steps(experiments, clock, accelerator="cpu", max_epochs=epochs + 1)
    return median(clock.times[1:])


def measured(
    network: str,
    folder: Path,
    crystals: Crystals,
    target: str,
    number: int,
    batch_size: int,
    *,
    own: bool,
    epochs: int,
) -> float:
    """Return the seconds of a step of so many networks, each on its ``own`` batches or all on the same."""
    path = folder / f"{crystals.content_hash[:12]}.parquet"
    if not path.exists():
        crystals.write_parquet(path)
    trees = [tree(network, str(path), target, batch_size, seed if own else 0) for seed in range(number)]
    experiments = [Planned.of(each, folder / "run").experiment for each in trees]
    with calm(quiet=True):
        return step(experiments, epochs)


def lines(network: str, data: str, epochs: int) -> dict[str, list[Line]]:
    """Measure a network."""
    table = named.load(data)
    target = named.find(data).default_target or next(iter(table.columns))
    table = table.select(np.flatnonzero(~np.isnan(table.columns[target])))
    table = table.select(np.random.default_rng(0).permutation(len(table)))
    some = table.select(np.arange(min(CRYSTALS, len(table))))
    found: dict[str, list[Line]] = {}
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-several-") as name:

        def of(crystals: Crystals, number: int, batch_size: int = 16, *, own: bool = False) -> float:
            return measured(network, Path(name), crystals, target, number, batch_size, own=own, epochs=epochs)

        kinds = {"the same batches": False, "own batches": True}
        found["networks"] = [
            Line(kind, list(NUMBERS), [of(some, n, own=own) for n in NUMBERS]) for kind, own in kinds.items()
        ]
        found["crystals in a batch"] = [
            Line(f"{n} network{'s' * (n > 1)}", list(BATCHES), [of(some, n, size) for size in BATCHES])
            for n in (1, 8)
        ]
        sizes: dict[float, Crystals] = {}
        for low, high in ATOMS:
            rows = np.flatnonzero((table.num_atoms >= low) & (table.num_atoms <= high))[:160]
            if len(rows) >= 80:  # of which 64 are learned from: four steps
                sizes[float(table.select(rows).num_atoms.mean())] = table.select(rows)
        found["atoms in a cell"] = [
            Line(f"{n} network{'s' * (n > 1)}", list(sizes), [of(each, n) for each in sizes.values()])
            for n in (1, 8)
        ]
    return found


def draw(path: Path, found: dict[str, dict[str, list[Line]]]) -> None:
    """Draw a row of three plots for each network."""
    columns = len(next(iter(found.values())))
    size = (4.2 * columns, 3.1 * len(found))
    figure, axes = plt.subplots(len(found), columns, figsize=size, layout="constrained", squeeze=False)
    for row, (network, plots) in zip(axes, found.items(), strict=True):
        for ax, (against, several) in zip(row, plots.items(), strict=True):
            for line, colour in zip(several, COLOURS, strict=False):
                ax.plot(line.sizes, np.array(line.seconds) * 1e3, "o-", color=colour, label=line.name, ms=4)
            if against == "networks":
                one = several[0].seconds[0] * 1e3
                ax.plot(NUMBERS, one * np.array(NUMBERS), "k:", lw=0.8, label="one by one")
            ax.set(xscale="log", yscale="log", xlabel=against, ylabel="ms of a step")
            ax.set_title(network, loc="left", fontsize="medium")
            ax.set_xticks(several[0].sizes, [f"{x:.0f}" for x in several[0].sizes])
            low, high = ax.get_ylim()
            ticks = [tick for tick in TICKS if low <= tick <= high]
            ax.set_yticks(ticks, [str(tick) for tick in ticks])
            ax.minorticks_off()
            ax.legend(fontsize="small")
    figure.savefig(path, dpi=65, metadata={"Software": None})
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.several", description=__doc__)
    parser.add_argument("--data", default="phonons", help="data set (default: phonons)")
    parser.add_argument("--epochs", type=int, default=3, help="of which the median is taken (default: 3)")
    parser.add_argument("-o", "--output", type=Path, help="picture to draw")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = {}
    for network in NETWORKS:
        print(network)
        found[network] = lines(network, given.data, given.epochs)
        for against, several in found[network].items():
            print(f"  {against:22}" + "".join(f"{x:9.0f}" for x in several[0].sizes))
            for line in several:
                print(f"    {line.name + ', ms':20}" + "".join(f"{1e3 * s:9.2f}" for s in line.seconds))
    if given.output is not None:
        draw(given.output, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
