"""What the layers of a network hold of each atom of many crystals: a folder that a student learns from.

The format is that of :mod:`tlzoo.data.atom_table`. Shards are computed as in a screening; the work goes on
where it was stopped.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlzoo.backbones.potential import Potential
from tlzoo.data import atom_table
from tlzoo.data.sources.problems import tell
from tlzoo.data.whitening import Whitening
from tlzoo.descriptors.stores import Options
from tlzoo.errors import UserError, no_such
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.formula_options import FormulaOptions
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.graphs.parts import consecutive
from tlzoo.graphs.vector_store import VectorStore
from tlzoo.graphs.workers import worker_count
from tlzoo.machine.progress import bar
from tlzoo.model.answerer import BATCH_SIZE
from tlzoo.model.answering import Make, Questions
from tlzoo.model.trained import Model, load
from tlzoo.screen import local
from tlzoo.screen.pool import Slice, open_pool
from tlzoo.screen.shards import Shards
from tlzoo.transfer.features.layers import is_computed

SHARD: Final = 256  # crystals: some seconds of a potential, which is all that an interruption costs
# Whitening is fitted to about so many crystals and at most so many atoms, of shards all over the inputs.
SAMPLED, SAMPLED_ATOMS, SAMPLED_SHARDS = 2000, 100_000, 16
PACKAGES: Final = ("tlzoo", "torch", "numpy", "vesin")
SHOWN: Final = 10  # crystals that a message lists

Floats = NDArray[np.float32]


def embed(
    model: str,
    inputs: Sequence[str],
    folder: Path,
    *,
    layer: str | None = None,
    whiten: int | None = None,
    jobs: int | None = None,
    skip_bad: bool = False,
    reading: Mapping[str, Any] | None = None,
) -> str:
    """Write the folder, or go on with it; return what there is to say.

    Args:
        model: A checkpoint, run directory or ``.safetensors`` file.
        inputs: Paths and names of data sets.
        folder: The folder.
        layer: A layer of atoms; by default all of them, side by side.
        whiten: How many principal components to keep; by default all numbers, as they are.
        jobs: Processes and threads; by default one per core.
        skip_bad: Leave out what cannot be read or computed instead of stopping.
        reading: Further arguments of :func:`tlzoo.data.sources.read_all`.

    Raises:
        UserError: The model, the inputs or the layer are no such thing, the folder belongs to others, a
            crystal is wrong, none is left, or the work was stopped.
    """
    count = worker_count(jobs)
    _check_folder(folder)
    if is_computed(model):
        raise UserError(f"{model} says nothing of single atoms: name a network, such as sevennet-0")
    work = Atoms(load(model), model, inputs, layer, skip_bad=skip_bad, reading=reading)
    if whiten is not None and not 1 <= whiten <= work.width:
        raise UserError(f"--whiten must be from 1 to {work.width}, the numbers of an atom, got {whiten}")
    shards = AtomShards(folder, "table", "-o")
    with shards.opened(work.manifest(whiten)):
        wanted = [number for number in range(work.size) if number not in shards.done()]
        try:
            if whiten is not None:
                work.whitening = _whitening(work, folder / atom_table.WHITENING, whiten, count)
            work.shards = shards
            done = _watched(local.run(work, wanted, count) if wanted else iter(()), work, wanted)
        except KeyboardInterrupt as stop:
            raise UserError(
                f"stopped. What is done is in {folder}; the same command goes on from there"
            ) from stop
        width = work.width if work.whitening is None else work.whitening.components.shape[1]
        table = atom_table.finish(folder, width, left_out=work.unreadable)
    return "\n".join(_said(work, table, done))


def _check_folder(folder: Path) -> None:
    """Refuse a folder with something else in it."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / atom_table.MANIFEST).is_file():
        raise UserError(f"{folder} holds other files; choose another -o, a folder that is new or empty")


class AtomShards(Shards):
    """Shards in the format of a table of atoms."""

    def _write(self, table: Any, path: Path) -> None:  # noqa: ANN401 (pyarrow has no types)
        atom_table.write_arrow(table, path)


class Sample(dict[int, Floats]):
    """Numbers of atoms by shard, in memory."""

    def write(self, number: int, table: Floats) -> None:
        """Keep those of a shard."""
        self[number] = table


class Atoms:
    """A network and crystals, ready to say of each atom what its layers hold.

    Attributes:
        whitening: What is made of the numbers, if anything.
        shards: Where shards go.
        unreadable: What could not be read, and why, by place.
    """

    shards: local.Sink

    def __init__(
        self,
        model: Model,
        name: str,
        inputs: Sequence[str],
        layer: str | None = None,
        *,
        skip_bad: bool = False,
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.name, self.skip_bad = model, name, skip_bad
        backbone = model.backbone
        if isinstance(backbone.graph, FormulaOptions):
            raise UserError(f"{name} reads formulas, and says nothing of the atoms of a crystal")
        there = {key: each.dim for key, each in backbone.atom_layers().items()}
        if not there:
            raise UserError(f"{name} has no layer of atoms")
        if layer is not None and layer not in there:
            raise UserError(no_such("layer of atoms", layer, there))
        self.layers = there if layer is None else {layer: there[layer]}
        self.whitening: Whitening | None = None
        self.pools = [open_pool(each, reading) for each in inputs]
        self.unreadable = {place: text for pool in self.pools for place, text in pool.unreadable}
        if self.unreadable and not skip_bad:
            raise UserError(_refused(self.unreadable))
        for pool in self.pools:
            if pool.remarks:
                tell(pool.name, pool.remarks, len(pool))
        self._own = threading.local()

    @property
    def width(self) -> int:
        """Numbers of an atom, before whitening."""
        return sum(self.layers.values())

    @property
    def options(self) -> Sequence[Options]:
        """What the backbone reads."""
        return self.model.options

    @property
    def size(self) -> int:
        """Number of shards."""
        return sum(-(-len(pool) // SHARD) for pool in self.pools)

    @property
    def crystals(self) -> int:
        """Number of crystals that could be read."""
        return sum(map(len, self.pools))

    def manifest(self, whiten: int | None) -> dict[str, Any]:
        """Return all that the numbers depend on."""
        card = self.model.card
        package = card.get("package") or {}
        packages = [*PACKAGES, *([package["name"]] if package else [])]
        return {
            "format": atom_table.FORMAT,
            "kind": atom_table.KIND,
            "model": {"name": self.name, "sha256": card["sha256"], "learned": learned(card)},
            "layers": self.layers,
            "whiten": whiten,
            "inputs": [
                {"name": pool.name, "sha256": pool.identity, "crystals": len(pool)} for pool in self.pools
            ],
            "shard": SHARD,
            "versions": {name: importlib.metadata.version(name) for name in packages},
        }

    def slices(self, wanted: Sequence[int]) -> Iterator[Slice]:
        """Read shards, which are numbered through all inputs, in order."""
        first = 0
        for pool in self.pools:
            count = -(-len(pool) // SHARD)
            here = {number - first for number in wanted if first <= number < first + count}
            for part in pool.slices(SHARD, here, []):
                yield part._replace(number=first + part.number)
            first += count

    def table(self, part: Slice, make: Make) -> Any:  # noqa: ANN401 (pyarrow has no types)
        """Return a shard.

        Raises:
            UserError: Something cannot be said of a crystal, and nobody asked to leave such out.
        """
        rows, numbers, energies, problems = self._numbers(part, make)
        crystals = part.crystals.select(rows)
        if problems and not self.skip_bad:
            raise UserError(_refused({part.crystals.origin(row): why for row, why in problems.items()}))
        values = numbers if self.whitening is None else self.whitening.apply(numbers)
        return atom_table.shard_of(
            crystals.ids,
            atom_table.hashes(crystals),
            crystals.num_atoms,
            values,
            energies,
            {str(part.crystals.ids[row]): why for row, why in problems.items()},
        )

    def _numbers(
        self, part: Slice, make: Make
    ) -> tuple[NDArray[np.int64], Floats, NDArray[np.float64] | None, dict[int, str]]:
        """Return of which crystals numbers are known, these, energies, and what is wrong with others."""
        questions = Questions(part.crystals, list(self.options))
        rows, stores = questions.made(questions.rows, make)
        problems = questions.problems
        found: list[Floats] = []
        if len(rows):
            store = stores[self.model.backbone.graph]
            assert isinstance(store, GraphStore | VectorStore)
            found = list(self._of_crystals(store))
        finite = np.array([np.isfinite(each).all() for each in found], dtype=np.bool_)
        problems |= dict.fromkeys(rows[~finite].tolist(), "the network gives no finite numbers")
        rows, found = rows[finite], [each for each, good in zip(found, finite, strict=True) if good]
        numbers = np.concatenate(
            [np.empty((0, self.width), np.float32), *(f[:, : self.width] for f in found)]
        )
        if not isinstance(self.model.backbone, Potential):
            return rows, numbers, None, problems
        energies = np.array([each[:, -1].sum(dtype=np.float64) for each in found])
        return rows, numbers, energies, problems

    def _of_crystals(self, store: GraphStore | VectorStore) -> Iterator[Floats]:
        """Yield numbers of the atoms of each cell, ``(sites, numbers)``, in the order of the store.

        The last number of a potential is the energy of the site.
        """
        order = np.argsort(store.num_rows, kind="stable")
        budget = self.model.backbone.cpu_rows
        found: dict[int, Floats] = {}
        for piece in consecutive(store.num_rows[order], most=BATCH_SIZE, budget=budget):
            rows = order[piece]
            with torch.inference_mode():
                states = self.model.budget.apply(self._states, store.batch(rows)).numpy()
            ends = np.cumsum(store.num_atoms[rows])[:-1]
            found |= dict(zip(rows.tolist(), np.split(states, ends), strict=True))
        for row in range(len(store)):
            if isinstance(store, GraphStore):
                yield found[row][store.place[store.site_offsets[row] : store.site_offsets[row + 1]]]
            else:
                yield found[row]

    def _states(self, batch: Batch) -> Tensor:
        """Return the layers side by side, ``(atoms, numbers)``; of a potential also the energies of sites."""
        backbone = self.model.backbone
        if isinstance(backbone, Potential):
            states, energies = backbone.states(batch)
            named = dict(zip(backbone.widths, states, strict=True))
            return torch.cat([*(named[name] for name in self.layers), energies[:, None]], dim=1).float()
        if not hasattr(self._own, "backbone"):
            # hooks would hear the batches of other threads too
            self._own.backbone = deepcopy(backbone)
        there, seen = self._own.backbone.layers(), dict[str, Tensor]()

        def keep(name: str, _: object, __: object, out: Any) -> None:  # noqa: ANN401 (what a module returns)
            seen[name] = out[0] if isinstance(out, tuple) else out

        with ExitStack() as hooks:
            for name in self.layers:
                hooks.enter_context(there[name].module.register_forward_hook(partial(keep, name)))
            self._own.backbone(batch)
        return torch.cat([seen[name] for name in self.layers], dim=1).float()


class Sampled(Atoms):
    """Some crystals of some shards, as a sample."""

    def __init__(self, atoms: Atoms) -> None:
        self.__dict__ |= atoms.__dict__
        self.numbers = np.unique(np.linspace(0, atoms.size - 1, min(atoms.size, SAMPLED_SHARDS)).astype(int))
        self.shards = self.found = Sample()

    def table(self, part: Slice, make: Make) -> Floats:
        """Return numbers of atoms, ``(atoms, numbers)``."""
        count = len(self.numbers)
        some = part.crystals.select(_evenly(len(part.crystals), SAMPLED // count))
        _, numbers, _, _ = self._numbers(part._replace(crystals=some), make)
        return numbers[_evenly(len(numbers), SAMPLED_ATOMS // count)]


def _whitening(work: Atoms, path: Path, kept: int, jobs: int) -> Whitening:
    """Return what was fitted before, else fit it."""
    if path.is_file():
        return Whitening.load(path)
    sampled = Sampled(work)
    for _ in local.run(sampled, sampled.numbers.tolist(), jobs):
        pass
    sample = np.concatenate([sampled.found[number] for number in sorted(sampled.found)])
    if not len(sample):
        raise UserError("there is no atom to fit --whiten to")
    fitted = Whitening.fit(sample, kept)
    fitted.save(path)
    return fitted


def learned(card: Mapping[str, Any]) -> str:
    """Say what a model has learned, and from what."""
    if card.get("package"):
        return str(card["package"]["learned"])
    source = (card.get("training") or card).get("source", "unknown data")
    return f"{', '.join(card['targets'])} of {source}"


def _evenly(total: int, count: int) -> NDArray[np.int64]:
    """Return about so many places from 0 to a total, evenly apart; all if there are no more."""
    return np.unique(np.linspace(0, total - 1, min(total, max(1, count))).astype(np.int64))


def _watched(counts: Iterator[int], work: Atoms, wanted: Sequence[int]) -> int:
    """Show how far it is, on a terminal; return how many crystals were computed."""
    done = 0
    left = len(wanted) / max(1, work.size)
    before = round(work.crystals * (1 - left))
    with bar(work.crystals, "atoms", initial=before) as shown:
        for count in counts:
            shown.update(count)
            done += count
    return done


def _said(work: Atoms, table: atom_table.AtomTable, done: int) -> Iterator[str]:
    facts = json.loads((table.folder / atom_table.TABLE).read_text(encoding="utf-8"))
    if without := facts["left_out"]:
        sys.stderr.write(f"tlzoo: left out: {_listed(without)}\n")
    if not facts["crystals"]:
        raise UserError(f"{table.folder} holds no crystal: all were left out")
    now = f"{done:,} of them now" if done else "all done before"
    yield (
        f"{facts['crystals']:,} crystals ({now}), {facts['atoms']:,} atoms, {table.dim} numbers each → "
        f"{table.folder}"
    )
    if work.whitening is not None:
        yield f"{work.whitening.explained:.0%} of the variance of {work.width} numbers is kept"


def _refused(problems: Mapping[str, str]) -> str:
    return f"{_listed(problems)}; correct them, or leave them out with --skip-bad"


def _listed(problems: Mapping[str, str]) -> str:
    lines = [f"{place}: {why}" for place, why in list(problems.items())[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"and {len(problems) - SHOWN} more")
    return f"{len(problems)} cannot be embedded:\n  " + "\n  ".join(lines)
