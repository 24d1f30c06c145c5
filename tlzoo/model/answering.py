"""The one way from crystals to answers: elements and neighbours are looked at once, chunk after chunk."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.known_elements import check_elements, uncovered_rows, uncovered_text
from tlzoo.data.sources import read_all, standard_input
from tlzoo.data.sources.problems import Problem, remarks, tell
from tlzoo.descriptors.descriptor_chunk import DESCRIPTORS
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.physics_options import PhysicsOptions
from tlzoo.descriptors.stores import Options, Store, kind
from tlzoo.errors import UserError
from tlzoo.graphs.formula_options import FormulaOptions
from tlzoo.graphs.formulas import FORMULAS
from tlzoo.graphs.graph_chunk import Chunk, cells_of
from tlzoo.graphs.neighbours import Cells
from tlzoo.graphs.parts import consecutive
from tlzoo.graphs.vector_options import VectorOptions
from tlzoo.graphs.vectors import VECTORS
from tlzoo.graphs.workers import CHUNK, GRAPHS, NoGraphError, Product, lines
from tlzoo.machine.plural import counted
from tlzoo.machine.progress import bar
from tlzoo.physics.physics_chunk import KINDS

# Crystals, and atoms, whose graphs are in memory at a time.
MOST, ATOMS = 4096, 50_000
# Of bond vectors a quarter: they are of all neighbours within a cut-off, 2 kB for each atom.
VECTOR_ATOMS = ATOMS // 4
# Atoms whose neighbours are searched at a time: each has some 100 within 8 Å, of 48 bytes, several times.
CHUNK_ATOMS = 4096

Rows: TypeAlias = NDArray[np.int64]
Stores: TypeAlias = Mapping[Options, Store]
Columns: TypeAlias = dict[str, NDArray[Any]]
# From options and chunks of crystals to graphs or descriptors, in their order.
Make: TypeAlias = Callable[[Options, Iterator[Cells]], Iterator[Chunk]]
T = TypeVar("T")


class Part(NamedTuple):
    """Crystals that can be answered for (rows of the table, ascending), and what was made of them, if any."""

    rows: Rows
    stores: dict[Options, Store]


def product(options: Options) -> Product:
    """Return what is made of crystals with some options."""
    if isinstance(options, DescriptorOptions):
        return DESCRIPTORS
    if isinstance(options, PhysicsOptions):
        return KINDS[options.kind].product
    if isinstance(options, FormulaOptions):
        return FORMULAS
    return VECTORS if isinstance(options, VectorOptions) else GRAPHS


def alone(options: Options, cells: Iterator[Cells]) -> Iterator[Chunk]:
    """Make graphs or descriptors in this process."""
    return (product(options).compute(some, options) for some in cells)


class Questions:
    """Crystals to be answered for. What is wrong with some is found on the way and kept.

    Args:
        crystals: The table.
        options: What is to be made of each crystal; if several things, it must have all.
        rows: Which crystals, ascending; all by default.
        kept: What was made of the whole table before.

    Attributes:
        rows: The crystals of known elements.
        unknown: What is said of the others, by row.
        unmade: Why something cannot be made of a crystal, by options and row; complete at the end.
    """

    def __init__(
        self,
        crystals: Crystals,
        options: Sequence[Options],
        rows: Rows | None = None,
        *,
        kept: Stores | None = None,
    ) -> None:
        self.crystals, self.kept = crystals, kept or {}
        rows = np.arange(len(crystals)) if rows is None else rows
        strange = np.intersect1d(rows, uncovered_rows(crystals))
        self.unknown = {row: uncovered_text(crystals, row) for row in strange.tolist()}
        self.unmade: dict[Options, dict[int, str]] = {each: {} for each in options}
        self.rows = np.setdiff1d(rows, strange)

    @property
    def problems(self) -> dict[int, str]:
        """What is known to be wrong, by row."""
        found = (*self.unmade.values(), self.unknown)
        return {row: text for each in found for row, text in each.items()}

    def parts(self, *, most: int = MOST, atoms: int | None = ATOMS) -> Iterator[Part]:
        """Yield all that can be answered for, in the order of the table; one crystal may exceed the atoms."""
        if atoms == ATOMS and any(isinstance(each, VectorOptions) for each in self.unmade):
            atoms = VECTOR_ATOMS
        sizes = self.crystals.num_atoms[self.rows]
        with bar(len(self.rows), "crystals answered for") as shown:
            for piece in consecutive(sizes, most=most, budget=int(sizes.sum()) if atoms is None else atoms):
                part = self.made(self.rows[piece])
                if len(part.rows):
                    yield part
                shown.update(piece.stop - piece.start)

    def made(self, rows: Rows, make: Make = alone) -> Part:
        """Make all that is wanted of some of :attr:`rows`, ascending; by default in this process."""
        some, good = self.crystals.select(rows), np.ones(len(rows), dtype=bool)
        pieces = consecutive(some.num_atoms, most=CHUNK, budget=CHUNK_ATOMS)
        stores: dict[Options, Store] = {}
        there: dict[Options, NDArray[np.bool_]] = {}
        for options, problems in self.unmade.items() if len(rows) else ():
            there[options] = np.ones(len(rows), dtype=bool)
            if options in self.kept:
                stores[options] = self.kept[options].select(rows)
                continue
            cells = (cells_of(some, piece.start, piece.stop) for piece in pieces)
            chunks = list(make(options, cells))
            for piece, chunk in zip(pieces, chunks, strict=True):
                problems |= {int(rows[piece.start + row]): text for row, text in chunk.problems.items()}
                there[options][[piece.start + row for row in chunk.problems]] = False
            stores[options] = _store(chunks, options)
            good &= there[options]
        for options, here in there.items():
            # what could be made for one model, but not for another
            if (here & ~good).any():
                stores[options] = stores[options].select(np.flatnonzero(good[here]))
        return Part(rows[good], stores)


def answered(
    crystals: Crystals,
    options: Sequence[Options],
    answer: Callable[[Stores], T],
    *,
    kept: Stores | None = None,
    most: int = MOST,
    atoms: int | None = ATOMS,
) -> list[T]:
    """Return what is said of all crystals, part by part; as :func:`answered_beside`."""
    return answered_beside(
        crystals, options, lambda _, stores: answer(stores), kept=kept, most=most, atoms=atoms
    )


def answered_beside(
    crystals: Crystals,
    options: Sequence[Options],
    answer: Callable[[Crystals, Stores], T],
    *,
    kept: Stores | None = None,
    most: int = MOST,
    atoms: int | None = ATOMS,
) -> list[T]:
    """Return what is said of all crystals, part by part, from them and what was made of them.

    ``kept`` is what was made of the whole table before; a part has at most so many crystals, and atoms if
    there is a limit.

    Raises:
        UserError: There are unknown elements.
        NoGraphError: Something cannot be made of a crystal; all such are listed.
    """
    questions = Questions(crystals, options, kept=kept)
    if questions.unknown:
        check_elements(crystals)
    parts = questions.parts(most=most, atoms=atoms)
    # once something is wrong the rest is looked through, but nothing computed
    found = [answer(crystals.select(part.rows), part.stores) for part in parts if not questions.problems]
    for each, problems in questions.unmade.items():
        if problems:
            raise NoGraphError(crystals, problems, product(each))
    return found


def answer_inputs(
    inputs: Sequence[str],
    options: Sequence[Options],
    answer: Callable[[Crystals, Stores], Columns],
    *,
    skip_bad: bool,
    reading: Mapping[str, Any] | None = None,
    prepare: Callable[[Crystals], object] = lambda _: None,
) -> Columns:
    """Return ``id`` and what is said of all crystals that the inputs hold, in their order.

    Inputs are paths, names of data sets, and ``-`` for standard input. With ``skip_bad`` what cannot be read
    is left out, and that is said, instead of stopping. ``reading`` are further arguments of
    :func:`tlzoo.data.sources.read_all`; ``prepare`` is called with each table that is answered for.

    Raises:
        UserError: Something cannot be read and ``skip_bad`` is off; the message names all of it.
    """
    tables = _read(inputs, reading or {})
    for name, (crystals, read) in zip(inputs, tables, strict=True):
        tell(name, remarks(read, name), len(crystals))
    unread = any(problem.severity == "error" for _, read in tables for problem in read)
    list(map(prepare, (crystals for crystals, _ in tables if skip_bad or not unread)))
    wrong: list[str] = []
    ids, found, count = [], [], 0
    for crystals, read in tables:
        questions = Questions(crystals, options)
        wrong += [str(problem) for problem in read if problem.severity == "error"]
        count += sum(problem.severity == "error" for problem in read)
        for part in questions.parts():
            if skip_bad or not (unread or wrong or questions.problems):
                ids.append(crystals.ids[part.rows])
                found.append(answer(crystals.select(part.rows), part.stores))
        wrong += lines(crystals, questions.problems)
        count += len(questions.problems)
    listing = f"{counted(count, 'crystal')} cannot be predicted:\n  " + "\n  ".join(wrong)
    if wrong and not skip_bad:
        raise UserError(listing + "; correct them, or leave them out with --skip-bad")
    if wrong:
        sys.stderr.write(f"tlzoo: left out: {listing}\n")
    if not found:
        raise UserError(f"there is no crystal to predict in {', '.join(inputs)}")
    return {"id": np.concatenate(ids), **joined(found, list(found[0]))}


def _read(inputs: Sequence[str], reading: Mapping[str, Any]) -> list[tuple[Crystals, list[Problem]]]:
    """Return the crystals of inputs, and what is wrong with each."""
    if list(inputs).count(standard_input.NAME) > 1:
        raise UserError(f"{standard_input.NAME} is named twice, and standard input can be read once")

    def read(name: str) -> tuple[Crystals, list[Problem]]:
        if name == standard_input.NAME:
            return standard_input.read_standard_input()
        return (named.load(name), []) if named.known(name) else read_all(name, **reading)

    return list(map(read, inputs))


def joined(parts: Sequence[Columns], names: Sequence[str]) -> Columns:
    """Return the columns of all parts, one after another; of no part the columns are empty."""
    none = np.empty(0, np.float32)
    return {name: np.concatenate([none, *(part[name] for part in parts)]) for name in names}


def _store(chunks: Sequence[Chunk], options: Options) -> Store:
    store: Store = kind(options).of_chunks(chunks, options)
    return store
