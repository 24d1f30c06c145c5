"""The table of crystals: flat arrays instead of one Python object per structure."""

from __future__ import annotations

import hashlib
import html
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
from numpy.typing import NDArray

import tlzoo
from tlzoo.crystals import columnar
from tlzoo.crystals.columns import as_column, known_values
from tlzoo.crystals.elements import SYMBOLS
from tlzoo.errors import UserError, no_such
from tlzoo.periodicity import set_apart

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure


SHOWN = 8  # columns that are named in one line


@dataclass(frozen=True, eq=False, repr=False)
class Crystals:
    """A table of crystals: one row per crystal, with their labels and other columns.

    ``crystals[3]`` is a pymatgen structure, and so is what a loop over crystals gives; its ``properties``
    hold the values of the columns. ``crystals[:10]``, ``crystals[mask]`` and ``crystals[rows]`` are tables.

    A crystal may be known by its formula alone: its atoms are then those of the smallest formula with whole
    numbers, in order of Z, and its lattice and coordinates are NaN. Only networks and descriptors that read
    formulas accept it.

    Attributes:
        ids: Ids, ``(crystals,)`` of str.
        lattice: Lattice vectors a, b, c as rows, in Å, ``(crystals, 3, 3)`` float64.
        offsets: Number of the first atom of each crystal, then the number of all atoms, ``(crystals + 1,)``
            int64.
        numbers: Atomic numbers of the atoms of all crystals, one after another, ``(atoms,)`` uint8.
        frac_coords: Fractional coordinates, ``(atoms, 3)`` float64.
        columns: Other columns by name, ``(crystals,)`` each: float64 with NaN for unknown values, or object.
        units: Units of columns, by name; ``"1"`` means dimensionless.
        origins: Where each row was read (``"a.cif"``, ``"table.csv row 7"``), for messages; may be empty.
    """

    ids: NDArray[np.object_]
    lattice: NDArray[np.float64]
    offsets: NDArray[np.int64]
    numbers: NDArray[np.uint8]
    frac_coords: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    origins: Sequence[str] = ()

    def __post_init__(self) -> None:
        n = len(self.ids)
        assert self.lattice.shape == (n, 3, 3)
        assert self.offsets.shape == (n + 1,)
        assert self.frac_coords.shape == (len(self.numbers), 3)
        assert all(len(values) == n for values in self.columns.values())

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Structure]:
        return (self._labelled(row) for row in range(len(self)))

    @overload
    def __getitem__(self, rows: int | np.integer[Any]) -> Structure: ...

    @overload
    def __getitem__(self, rows: slice | Sequence[int] | Sequence[bool] | NDArray[Any]) -> Crystals: ...

    def __getitem__(self, rows: Any) -> Structure | Crystals:
        """Return the crystal of a row as a pymatgen structure; those of several rows as a table.

        Rows are counted from 0, negative ones from the end. Several are a slice, a list or array of rows, or
        a mask with a truth value for each crystal.

        Raises:
            UserError: It is none of these, or a mask of another length.
            IndexError: There is no such row.
        """
        if isinstance(rows, slice):
            return self.select(np.arange(len(self))[rows])
        wanted = np.asarray(rows)
        if wanted.size == 0 and wanted.ndim == 1:
            wanted = wanted.astype(np.int64)
        if wanted.ndim > 1 or wanted.dtype.kind not in "biu" or (wanted.dtype == bool and wanted.ndim == 0):
            name = f"; crystals.column({rows!r}) is a column" if isinstance(rows, str) else ""
            raise UserError(f"crystals are asked for by row, a slice, rows or a mask, got {rows!r}{name}")
        if wanted.dtype == bool and len(wanted) != len(self):
            raise UserError(f"the mask has {len(wanted)} truth values for {len(self)} crystals")
        found = np.arange(len(self))[wanted]
        return self._labelled(int(found)) if wanted.ndim == 0 else self.select(found)

    def __repr__(self) -> str:
        """Say in a few lines what is in the table."""
        if not len(self):
            return "Crystals: none"
        atoms, known = self.num_atoms, sorted({SYMBOLS[z] for z in np.unique(self.numbers)})
        sizes = "1 atom" if atoms.max() == 1 else f"{atoms.max()} atoms"
        sizes = f"{atoms.min()} to {sizes}" if atoms.min() < atoms.max() else sizes
        elements = f"{len(known)} element{'s' * (len(known) > 1)}"
        elements += f": {', '.join(known)}" if len(known) <= SHOWN else ""
        lines = [f"Crystals: {len(self):,} of {sizes}, {elements}"]
        numeric = [name for name, values in self.columns.items() if values.dtype != object]
        told = [
            f"{with_unit(name, self.units.get(name, ''), '{} ({})')}: {int(self.known(name).sum()):,} known"
            for name in numeric
        ]
        others = [name for name in self.columns if name not in numeric]
        for word, names in (("numbers", told), ("other columns", others)):
            if names:
                more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                lines.append(f"  {word}: {', '.join(names[:SHOWN])}{more}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the first crystals as a table, in a notebook."""
        import pandas as pd

        head = self[:5]
        table = head.to_pandas(structures=False)
        formulas = [
            head.structure(row).formula if there else head.written[row]
            for row, there in enumerate(head.structured)
        ]
        table.insert(0, "formula", pd.Series(formulas, index=table.index, dtype=object))
        names = {name: with_unit(name, self.units.get(name, ""), "{} ({})") for name in table.columns}
        return f"<pre>{html.escape(repr(self))}</pre>{table.rename(columns=names).to_html(max_cols=12)}"

    @property
    def num_atoms(self) -> NDArray[np.int64]:
        """Atoms in each crystal, ``(crystals,)``."""
        return np.diff(self.offsets)

    @cached_property
    def structured(self) -> NDArray[np.bool_]:
        """Of which crystals there is a structure, not a formula alone, ``(crystals,)``."""
        return ~formulas_alone(self.lattice, self.num_atoms, self.frac_coords)

    @property
    def volume_per_atom(self) -> NDArray[np.float64]:
        """Volume of the cell over its atoms, Å³, ``(crystals,)``; NaN where there is no structure."""
        there = self.structured
        volumes = np.full(len(self), np.nan)
        volumes[there] = np.abs(np.linalg.det(self.lattice[there]))
        return volumes / self.num_atoms

    def origin(self, row: int) -> str:
        """Where a crystal came from, in words for a message."""
        return self.origins[row] if self.origins else f"crystal {self.ids[row]!r} (row {row + 1})"

    def column(self, name: str) -> NDArray[Any]:
        """Return a column.

        Raises:
            UserError: There is no such column; the message lists those there are.
        """
        if name not in self.columns:
            raise UserError(no_such("column", name, self.columns))
        return self.columns[name]

    def known(self, name: str) -> NDArray[np.bool_]:
        """Return which rows have a value in a column, ``(crystals,)``.

        Raises:
            UserError: There is no such column; the message lists those there are.
        """
        return known_values(self.column(name))

    def select(self, rows: NDArray[np.int64] | Sequence[int]) -> Crystals:
        """Return the crystals of the given rows, in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        counts = self.num_atoms[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        atoms = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], counts)
        return replace(
            self,
            ids=self.ids[rows],
            lattice=self.lattice[rows],
            offsets=offsets,
            numbers=self.numbers[atoms],
            frac_coords=self.frac_coords[atoms],
            columns={name: values[rows] for name, values in self.columns.items()},
            origins=[self.origins[i] for i in rows] if self.origins else (),
        )

    @cached_property
    def formulas(self) -> list[str]:
        """Reduced formula of each crystal with elements in order of Z, e.g. ``O3-Ti1-Ba1``: a key."""
        return ["-".join(f"{SYMBOLS[z]}{n}" for z, n in parts) for parts in self.compositions()]

    @property
    def written(self) -> list[str]:
        """Reduced formula of each crystal as it is written, elements in order of Z: ``O3TiBa``."""
        return [
            "".join(f"{SYMBOLS[z]}{n if n > 1 else ''}" for z, n in parts) for parts in self.compositions()
        ]

    def compositions(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the reduced composition of each crystal: atomic numbers, ascending, and atoms of each."""
        crystal = np.repeat(np.arange(len(self)), self.num_atoms)
        places, counts = np.unique(crystal * 256 + self.numbers, return_counts=True)
        parts = list(zip((places % 256).tolist(), counts.tolist(), strict=True))
        ends = np.searchsorted(places, 256 * np.arange(len(self) + 1)).tolist()
        for first, end in pairwise(ends):
            divisor = gcd(*(n for _, n in parts[first:end]))
            yield [(z, n // divisor) for z, n in parts[first:end]]

    @property
    def element_fractions(self) -> NDArray[np.float64]:
        """Fraction of atoms of each element, ``(crystals, elements)``; column Z - 1 is element Z."""
        last = len(SYMBOLS) - 1
        crystal = np.repeat(np.arange(len(self)), self.num_atoms)
        counts = np.bincount(crystal * last + self.numbers - 1, minlength=len(self) * last)
        fractions: NDArray[np.float64] = counts.reshape(len(self), last) / self.num_atoms[:, None]
        return fractions

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the structures alone (no ids, no targets), in hexadecimal."""
        digest = hashlib.sha256()
        for array in (self.lattice, self.offsets, self.numbers, self.frac_coords):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def structure(self, row: int) -> Structure:
        """Return one crystal as a pymatgen structure.

        Raises:
            UserError: Its formula alone is known.
        """
        if not self.structured[row]:
            raise UserError(f"{self.origin(row)} is a formula without a structure")
        from pymatgen.core import Lattice, Structure

        atoms = slice(self.offsets[row], self.offsets[row + 1])
        return Structure(
            Lattice(self.lattice[row]), [SYMBOLS[z] for z in self.numbers[atoms]], self.frac_coords[atoms]
        )

    def _labelled(self, row: int) -> Structure:
        """Return one crystal as a structure, whose ``properties`` are what the columns know of it."""
        structure = self.structure(row)
        for name, values in self.columns.items():
            if known_values(values[row : row + 1])[0]:
                structure.properties[name] = values[row] if values.dtype == object else float(values[row])
        return structure

    @classmethod
    def read(cls, path: str | Path, **options: Any) -> Crystals:  # noqa: ANN401 (of another function)
        """Read crystals from any file or folder that the commands read, or a data set by its name.

        Args:
            path: See :func:`tlzoo.data.sources.read`.
            **options: ``targets``, ``units``, ``id_column``, ``structure_column`` and ``same_id`` of
                :func:`tlzoo.data.intake.crystals_from`.

        Raises:
            UserError: Something cannot be read; the message says what, by file and row.
        """
        return tlzoo.read(path, **options)

    @classmethod
    def from_dataframe(
        cls,
        table: pd.DataFrame,
        *,
        structure: str | None = None,
        id: str | None = None,  # noqa: A002 (what the column is called)
        targets: Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Crystals:
        """Make a table from a pandas DataFrame; all other columns are kept.

        Args:
            table: The data frame. One of its columns holds pymatgen structures, ASE atoms, texts of CIFs, or
                paths.
            structure: Name of this column; by default it is recognised by its name or content.
            id: Name of the column with the ids; by default it is recognised by its name, otherwise the index
                is taken.
            targets: Columns that must be numbers, with NaN or None for unknown values. By default all columns
                that are mostly numbers.
            units: Units of columns; those in ``table.attrs["units"]`` are used, too.

        Raises:
            UserError: A row cannot be read; the message says which.
        """
        return tlzoo.read(table, structure_column=structure, id_column=id, targets=targets, units=units)

    def to_pandas(self, *, structures: bool = True) -> pd.DataFrame:
        """Return a pandas DataFrame with the ids as index: a column of pymatgen structures, then all columns.

        Formulas take the place of structures if no crystal has one.

        Units are in its ``attrs["units"]``. :meth:`from_dataframe` makes the same crystals of it again.
        """
        import pandas as pd

        index = pd.Index(self.ids, name="id")
        table = pd.DataFrame(dict(self.columns), index=index)
        if structures and not self.structured.any():
            table.insert(0, "formula", pd.Series(self.written, index=index, dtype=object))
        elif structures:
            column = np.empty(len(self), dtype=object)
            column[:] = [self.structure(row) if there else None for row, there in enumerate(self.structured)]
            table.insert(0, "structure", column)
        table.attrs["units"] = dict(self.units)
        return table

    @classmethod
    def concatenated(cls, tables: Sequence[Crystals]) -> Crystals:
        """Return tables as one, in their order, with the columns and units of the first."""
        first = tables[0]
        sizes = np.concatenate([table.num_atoms for table in tables])
        named = any(table.origins for table in tables)
        return cls(
            ids=np.concatenate([table.ids for table in tables]),
            lattice=np.concatenate([table.lattice for table in tables]),
            offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            numbers=np.concatenate([table.numbers for table in tables]),
            frac_coords=np.concatenate([table.frac_coords for table in tables]),
            columns={name: np.concatenate([t.columns[name] for t in tables]) for name in first.columns},
            units=first.units,
            origins=[table.origin(row) for table in tables for row in range(len(table))] if named else (),
        )

    @classmethod
    def from_structures(
        cls,
        structures: Sequence[Structure],
        *,
        ids: Sequence[str] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
        units: Mapping[str, str] | None = None,
        origins: Sequence[str] = (),
    ) -> Crystals:
        """Build the table from ordered pymatgen structures, layers and chains set apart (`set_apart`).

        Raises:
            UserError: A structure is none, empty, disordered, not periodic, or has sites that are no element;
                the message names it. Or there are not as many ids, or values of a column.
        """
        ids = [str(i) for i in (range(len(structures)) if ids is None else ids)]
        _check_lengths(structures, ids, columns or {})
        numbers: list[list[int]] = []
        lattices, frac_coords, notes = [], [], []
        for row, structure in enumerate(structures):
            name = origins[row] if origins else f"structure {ids[row]!r}"
            _check_structure(name, structure)
            numbers.append([site.specie.Z for site in structure])
            lattice, coords = structure.lattice.matrix, structure.frac_coords
            if not all(structure.lattice.pbc):
                try:
                    lattice, coords, note = set_apart(lattice, structure.cart_coords, structure.lattice.pbc)
                except ValueError as error:
                    raise UserError(f"{name} {error}") from error
                notes.append(f"{name} {note}")
            lattices.append(lattice)
            frac_coords.append(coords)
        if notes:
            more = f" (and {len(notes) - 1} more of {len(structures)})" if len(notes) > 1 else ""
            logging.getLogger("tlzoo").info("%s%s", notes[0], more)
        return cls(
            ids=np.array(ids, dtype=object),
            lattice=np.array(lattices, dtype=np.float64).reshape(-1, 3, 3),
            offsets=np.concatenate([[0], np.cumsum([len(n) for n in numbers])]).astype(np.int64),
            numbers=np.array([z for zs in numbers for z in zs], dtype=np.uint8),
            frac_coords=np.concatenate([*frac_coords, np.empty((0, 3))]),
            columns={name: as_column(values) for name, values in (columns or {}).items()},
            units=dict(units or {}),
            origins=origins,
        )

    def write_parquet(self, path: str | Path, **metadata: Any) -> None:  # noqa: ANN401 (anything JSON can hold)
        """Write the columnar format: id, lattice (9), numbers, frac_coords (3 per site), then the columns.

        Args:
            path: File to write; complete or absent, never half-written.
            **metadata: Further facts for the ``tlzoo`` key of the schema (source, citation, licence …).

        Raises:
            UserError: It cannot be written.
        """
        fields = {name: getattr(self, name) for name in columnar.Fields.__annotations__}
        columnar.write(path, cast("columnar.Fields", fields), **metadata)

    @classmethod
    def read_parquet(cls, path: str | Path) -> Crystals:
        """Read the columnar format.

        Raises:
            UserError: The file is missing, damaged, or lacks one of the four structure columns.
        """
        return cls(**columnar.read(path))

    @classmethod
    def from_arrow(cls, table: Any, path: str | Path, *, start: int = 0) -> Crystals:  # noqa: ANN401 (pyarrow has no types)
        """Return crystals of a ``pyarrow.Table`` in the columnar format, or of a slice of one, of a file.

        Args:
            table: The table.
            path: The file, for messages.
            start: Row of the file at which the table begins.

        Raises:
            UserError: It lacks one of the four structure columns, or has a damaged row.
        """
        return cls(**columnar.fields_of(table, path, start=start))


def formulas_alone(
    lattice: NDArray[np.float64], num_atoms: NDArray[np.int64], frac_coords: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return of which crystals neither cell nor any coordinate is known, ``(crystals,)``.

    Where some numbers are there, the crystal is damaged.
    """
    alone = np.asarray(np.isnan(lattice).all(axis=(1, 2)), dtype=np.bool_)
    if alone.any():
        first = np.cumsum(num_atoms) - num_atoms
        alone &= np.logical_and.reduceat(np.isnan(frac_coords).all(axis=1), first)
    return alone


def with_unit(text: str, unit: str, form: str = "{} {}") -> str:
    """Return a number or a name with its unit, alone if that is unknown, ``""``, or none, ``"1"``.

    >>> with_unit("0.028", "eV"), with_unit("0.028", "1"), with_unit("gap", "eV", "{} ({})")
    ('0.028 eV', '0.028', 'gap (eV)')
    """
    return text if unit in {"", "1"} else form.format(text, unit)


def _check_lengths(
    structures: Sequence[Structure], ids: Sequence[str], columns: Mapping[str, Sequence[Any]]
) -> None:
    from pymatgen.core import IStructure

    if isinstance(structures, IStructure):
        raise UserError("wanted a list of pymatgen structures, got one structure: write [structure]")
    for name, values in {"ids": ids, **{f"column {name!r}": v for name, v in columns.items()}}.items():
        if len(values) != len(structures):
            raise UserError(f"{name}: there are {len(values)} for {len(structures)} structures")


def _check_structure(name: str, structure: object) -> None:
    from pymatgen.core import DummySpecies, IStructure

    if not isinstance(structure, IStructure):
        kind = type(structure).__name__
        raise UserError(
            f"{name} is no pymatgen structure but of type {kind}; tlzoo.read takes other kinds, too"
        )
    if len(structure) == 0:
        raise UserError(f"{name} has no atoms")
    if not structure.is_ordered:
        raise UserError(
            f"{name} ({structure.formula}) has sites with partial occupancy; "
            "tlzoo needs ordered structures: choose one ordering, for example with pymatgen's "
            "OrderDisorderedStructureTransformation"
        )
    if any(isinstance(site.specie, DummySpecies) for site in structure):
        raise UserError(f"{name} ({structure.formula}) has sites that are no element")
