"""SevenNet here and as the package computes it, in one run: ``python -m benchmarks.potentials``.

The same weights, as drawn, and the same crystals; one thread; processor seconds of the best of the repeats,
for what else the machine does has no part in them. The two take turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tlzoo.backbones.sevennet import ARCHITECTURES, SevenNet
from tlzoo.data import named
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.vector_store import VectorStore


def of_package(network: SevenNet, batch: Batch) -> Tensor:
    """Return site energies, ``(atoms,)`` eV, by the package's modules one after the other."""
    source, target = batch[keys.EDGE_INDEX]
    data = {"x": network.kinds(batch[keys.NUMBERS]), "edge_index": torch.stack([target, source])}
    data |= {"edge_vec": -batch[keys.BOND_VECTOR], "batch": batch[keys.BATCH]}
    for module in network.parts.values():
        data = module(data)
    return data["atomic_energy"].reshape(-1)


def best(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the processor seconds of each, after a run that is not counted."""
    found = dict.fromkeys(functions, float("inf"))
    for turn in range(repeats + 2):  # TorchScript compiles in its first two
        for name, function in functions.items():
            start = time.process_time()
            function()
            if turn > 1:
                found[name] = min(found[name], time.process_time() - start)
    return found


def gradient(energies: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
    """Return the gradient of the energy with respect to the bond vectors, eV/Å."""
    vector = batch[keys.BOND_VECTOR].detach().requires_grad_()
    changed = Batch(**{**dict(batch.items()), keys.BOND_VECTOR: vector})
    return torch.autograd.grad(energies(changed).sum(), vector)[0]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.potentials", description=__doc__)
    parser.add_argument("--data", default="phonons", help="data set (default: phonons)")
    parser.add_argument("--crystals", type=int, default=32, help="in the one batch (default: 32)")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement (default: 5)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    crystals = named.load(given.data)
    chosen = np.random.default_rng(0).permutation(len(crystals))[: given.crystals]
    for architecture in ARCHITECTURES:
        network = SevenNet(architecture=architecture).requires_grad_(False)  # type: ignore[arg-type]
        batch = VectorStore.in_memory(crystals.select(chosen), network.graph).batch(np.arange(len(chosen)))
        sides: dict[str, Callable[[Batch], Tensor]] = {
            "package": lambda each, network=network: of_package(network, each),  # type: ignore[misc]
            "tlzoo": lambda each, network=network: network.states(each)[1],  # type: ignore[misc]
        }
        with torch.no_grad():
            forward = best({k: lambda f=f, b=batch: f(b) for k, f in sides.items()}, given.repeats)  # type: ignore[misc]
        forces = best({k: lambda f=f, b=batch: gradient(f, b) for k, f in sides.items()}, given.repeats)  # type: ignore[misc]
        atoms, bonds = len(batch[keys.NUMBERS]), len(batch[keys.BOND_VECTOR])
        print(f"SevenNet {architecture}: {len(chosen)} crystals, {atoms} atoms, {bonds} directed bonds")
        for side in sides:
            ahead = forward["package"] / forward[side], forces["package"] / forces[side]
            print(
                f"  {side:8} {len(chosen) / forward[side]:7.1f} crystals/s, {ahead[0]:.1f} times; "
                f"energies and gradient {atoms / forces[side]:7.1f} atoms/s, {ahead[1]:.1f} times"
            )


if __name__ == "__main__":
    main()
