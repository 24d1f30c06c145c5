"""Give checkpoints that a potential has taught the layer `teacher`: `python -m maintenance.teacher_maps`.

Fits what their states say of the teacher's numbers (:mod:`tlzoo.model.teacher_map`) to 5,000 of the crystals
that `make runs/teacher/table.json` has read, none of which `pretraining` keeps out; writes
`NAME.teacher.safetensors` beside the weights, which stay what they are, and names it on the card. What all
share, the components of what momentnet-u2 says, is in `pretraining.teacher.safetensors`; if it is there, it
stays. Names of checkpoints choose some; by default those to start from, for each map takes 0.2 MB.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from torch import Tensor

from maintenance.domains import pin, write
from tlzoo.cards.beside import TEACHER_ENDING, TEACHER_MAP, TEACHER_NUMBERS, Beside
from tlzoo.cards.card import Card
from tlzoo.crystals import Crystals
from tlzoo.data.atom_table import AtomTable
from tlzoo.data.atom_targets import AtomTargets, collected
from tlzoo.data.perturbed import MARK
from tlzoo.data.pretraining import exclusions
from tlzoo.descriptors.stores import Options, kind
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.model.teacher_map import CRYSTALS, TeacherMap, shared_numbers
from tlzoo.model.trained import load

ROOT: Final = Path(__file__).parents[1]
TABLE: Final = Path("runs/teacher")
READ: Final = Path("runs/teaching-small.parquet")
SHARED: Final = "pretraining.teacher.safetensors"
FIRST: Final = "momentnet-u2"  # whose components others share
STARTS: Final = (FIRST, "momentnet-u", "cgcnn-u", "alignn-s-u")
TOGETHER: Final = 128  # crystals in a batch


def drawn(crystals: Crystals, table: AtomTable) -> Crystals:
    """Return crystals that the teacher has read.

    Raises:
        UserError: One of them is kept out of pre-training.
    """
    some = crystals.select(np.random.default_rng(0).permutation(len(crystals))[: 2 * CRYSTALS])
    some = some.select(np.flatnonzero(table.holds(some))[:CRYSTALS])
    names = {str(name).partition(MARK)[0] for name in some.ids}
    listed = exclusions.read()
    if wrong := names.intersection(listed["data_set"] + ":" + listed["id"]):
        raise UserError(f"{len(wrong)} crystals are kept out of pre-training: {', '.join(sorted(wrong)[:5])}")
    sys.stdout.write(
        f"{len(some):,} crystals, none of the {len(listed):,} that are kept out of pre-training\n"
    )
    return some


class Taught:
    """Batches with what the teacher says of atoms, made once for all networks that read the same."""

    def __init__(self, crystals: Crystals, table: AtomTable, options: Options) -> None:
        self.store = kind(options).in_memory(crystals, options)
        self.targets = AtomTargets(self.store.atom_offsets, collected(table, crystals, self.store))
        self.count = len(crystals)

    def batches(self) -> Iterator[Batch]:
        """Yield all crystals."""
        for start in range(0, self.count, TOGETHER):
            rows = np.arange(start, min(start + TOGETHER, self.count))
            batch: Batch = self.store.batch(rows)
            batch[keys.ATOM_TARGETS] = self.targets.gathered(rows)
            yield batch


def main(arguments: Sequence[str], folder: Path = ROOT / "checkpoints") -> int:
    """Fit and write the maps."""
    parser = argparse.ArgumentParser(prog="python -m maintenance.teacher_maps", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"checkpoints; by default {', '.join(STARTS)}")
    given = parser.parse_args(arguments)
    table = AtomTable.open(TABLE)
    crystals = drawn(Crystals.read_parquet(READ), table)
    taught: dict[Options, Taught] = {}

    def fitted(name: str, numbers: Tensor | None = None) -> TeacherMap:
        backbone = load(folder / f"{name}.safetensors").backbone
        if backbone.graph not in taught:
            taught[backbone.graph] = Taught(crystals, table, backbone.graph)
        found = TeacherMap.fit(backbone, taught[backbone.graph].batches(), table.whitening, numbers=numbers)
        assert found is not None
        return found

    path = folder / SHARED
    if not path.is_file():
        write(path, fitted(FIRST).shared)
    shared = path.read_bytes()
    numbers = shared_numbers(shared, path)
    for name in given.names or STARTS:
        content = fitted(name, numbers).content(shared=True)
        own = Beside.describing(f"{name}{TEACHER_ENDING}", content)
        write(folder / own.file, content)
        pin(
            folder,
            Card.read(folder / f"{name}.json"),
            {TEACHER_MAP: own, TEACHER_NUMBERS: Beside.describing(SHARED, shared)},
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
