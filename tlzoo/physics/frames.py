"""Energies, forces and stresses of many slightly changed copies of crystals, in batches of a potential."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tlzoo.backbones.potential import Potential
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.neighbours import Cells
from tlzoo.graphs.vectors import directed
from tlzoo.physics.primitive import Cell

Values = NDArray[np.float64]

# Farther than the cut-off, in Å, that neighbours are looked for once for all copies: changes are smaller.
MARGIN = 0.1

# Bonds that a potential reads at a time: more are no faster on a CPU, and take more memory.
BONDS = 6_000

GPA = 160.2176634  # of 1 eV/Å³


@dataclass(frozen=True, eq=False)
class Copy:
    """A crystal with its bonds, maybe with displaced atoms and strained.

    Attributes:
        numbers: Atomic numbers, ``(atoms,)``.
        source: Neighbour, ``(bonds,)``.
        target: Centre, ascending, ``(bonds,)``.
        reverse: The same bond the other way round, ``(bonds,)``.
        vector: From source to target before any change, ``(bonds, 3)``, Å.
        volume: Volume of the cell before any change, Å³.
        displacement: Of the atoms, before the strain, ``(atoms, 3)``, Å; None is none.
        strain: Symmetric, ``(3, 3)``; None is none.
    """

    numbers: NDArray[np.uint8]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    reverse: NDArray[np.int64]
    vector: Values
    volume: float
    displacement: Values | None = None
    strain: Values | None = None

    @classmethod
    def of(cls, cell: Cell, cutoff: float) -> Copy:
        """Return a crystal as it is, with neighbours within a cut-off, in Å, and a little beyond.

        Raises:
            UserError: An atom has no neighbour, or two are in one place.
        """
        cells = Cells(cell.lattice[None], np.array([len(cell.numbers)]), cell.numbers, cell.frac_coords)
        _, bonds, problems = directed(cells, cutoff + MARGIN)
        if problems:
            raise UserError(problems[0])
        return cls(cell.numbers, bonds.source, bonds.target, bonds.reverse, bonds.vector, cell.volume)

    def displaced(self, atom: int, vector: Values) -> Copy:
        """Return a copy of which one atom is displaced, by a vector in Å."""
        displacement = np.zeros((len(self.numbers), 3))
        displacement[atom] = vector
        return replace(self, displacement=displacement)

    def strained(self, strain: Values) -> Copy:
        """Return a copy under a symmetric strain, ``(3, 3)``."""
        return replace(self, strain=strain)

    def vectors(self) -> Values:
        """Return the bond vectors with all changes, ``(bonds, 3)``, Å."""
        vector = self.vector
        if self.displacement is not None:
            vector = vector + self.displacement[self.target] - self.displacement[self.source]
        return vector if self.strain is None else vector + vector @ self.strain


class Response(NamedTuple):
    """What a potential says of a copy.

    Attributes:
        energy: Of the cell, eV.
        forces: On the atoms, ``(atoms, 3)``, eV/Å.
        stress: Positive where the crystal would shrink, ``(3, 3)``, GPa.
    """

    energy: float
    forces: Values
    stress: Values


# Asks for the responses of copies, is sent these, maybe asks again, and returns arrays by name.
Computation = Generator[Sequence[Copy], Sequence[Response], Mapping[str, Any]]


def together(computations: Sequence[Computation], potential: Potential) -> list[Mapping[str, Any] | str]:
    """Run computations whose copies share batches; return what each returns, or why it could not."""
    results: list[Mapping[str, Any] | str] = [""] * len(computations)
    asked: dict[int, Sequence[Copy]] = {}

    def advance(number: int, answer: Sequence[Response] | None) -> None:
        try:
            # a generator starts with None
            asked[number] = computations[number].send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            results[number] = end.value
        except Exception as error:  # noqa: BLE001 (libraries raise all sorts; the crystal is named)
            results[number] = _reason(error)

    for number in range(len(computations)):
        advance(number, None)
    while asked:
        copies, asked = asked, {}
        for number, answer in _answers(copies, potential).items():
            if isinstance(answer, str):
                results[number] = answer
            else:
                advance(number, answer)
    return results


def _answers(asked: Mapping[int, Sequence[Copy]], potential: Potential) -> dict[int, list[Response] | str]:
    """Return the responses of the copies that each asks for, or why there are none."""
    try:
        found = responses([copy for copies in asked.values() for copy in copies], potential)
        return {number: [next(found) for _ in copies] for number, copies in asked.items()}
    except Exception as error:  # noqa: BLE001 (as above)
        if len(asked) == 1:
            return dict.fromkeys(asked, _reason(error))
    # one of them is to blame
    return {n: answer for n in asked for answer in _answers({n: asked[n]}, potential).values()}


def _reason(error: Exception) -> str:
    return f"{error}" if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def responses(copies: Sequence[Copy], potential: Potential) -> Iterator[Response]:
    """Yield what a potential says of copies, in their order."""
    some: list[Copy] = []
    bonds = 0
    for copy in copies:
        if some and bonds + len(copy.source) > BONDS:
            yield from _responses(some, potential)
            some, bonds = [], 0
        some.append(copy)
        bonds += len(copy.source)
    if some:
        yield from _responses(some, potential)


def _responses(copies: Sequence[Copy], potential: Potential) -> Iterator[Response]:
    # networks have float32; vectors are float64 until here
    kind = next((each.dtype for each in potential.parameters()), torch.float32)
    batch, ends = _batch(copies, potential.graph.cutoff, kind)
    vector = batch[keys.BOND_VECTOR].requires_grad_()
    energies = potential.energies(batch)
    (slope,) = torch.autograd.grad(energies.sum(), vector)
    # added up in double precision
    slope, vector = slope.double(), vector.detach().double()
    source, target = batch[keys.EDGE_INDEX]
    forces = slope.new_zeros(len(batch[keys.NUMBERS]), 3)
    forces = forces.index_add(0, source, slope).index_add(0, target, -slope)
    virial = torch.zeros(len(copies), 3, 3, dtype=torch.float64)
    virial = virial.index_add(0, batch[keys.BATCH][target], vector[:, :, None] * slope[:, None, :])
    parts = zip(copies, energies.tolist(), np.split(forces.numpy(), ends[:-1]), virial.numpy(), strict=True)
    for copy, energy, force, tensor in parts:
        change = 1.0 if copy.strain is None else float(np.linalg.det(np.eye(3) + copy.strain))
        yield Response(energy, force, (tensor + tensor.T) / 2 / (copy.volume * change) * GPA)


def _batch(copies: Sequence[Copy], cutoff: float, kind: torch.dtype) -> tuple[Batch, NDArray[np.int64]]:
    """Return copies as a batch, without bonds that are longer than the cut-off, and where their atoms end."""
    num_atoms = np.array([len(copy.numbers) for copy in copies])
    num_bonds = np.array([len(copy.source) for copy in copies])
    ends = np.cumsum(num_atoms)
    atom = np.repeat(ends - num_atoms, num_bonds)
    bond = np.repeat(np.cumsum(num_bonds) - num_bonds, num_bonds)
    vector = np.concatenate([copy.vectors() for copy in copies])
    length = np.linalg.norm(vector, axis=1)
    reverse = np.concatenate([copy.reverse for copy in copies]) + bond
    near = length <= cutoff
    near &= near[reverse]  # both directions, whatever rounding says
    place = np.cumsum(near) - 1
    index = np.stack(
        [np.concatenate([getattr(copy, end) for copy in copies]) for end in ("source", "target")]
    )
    vectors = torch.from_numpy(vector[near]).to(kind)
    batch = Batch(
        **{
            keys.NUMBERS: torch.from_numpy(
                np.concatenate([copy.numbers for copy in copies]).astype(np.int64)
            ),
            keys.ATOM_COUNT: torch.ones(int(ends[-1])),
            keys.BATCH: torch.from_numpy(np.repeat(np.arange(len(copies)), num_atoms)),
            keys.EDGE_INDEX: torch.from_numpy((index + atom)[:, near]),
            keys.BOND_LENGTH: vectors.norm(dim=1),
            keys.BOND_COUNT: torch.ones(len(vectors)),
            keys.BOND_VECTOR: vectors,
            keys.BOND_REVERSE: torch.from_numpy(place[reverse[near]]),
            keys.NUM_CRYSTALS: len(copies),
        }
    )
    return batch, ends
