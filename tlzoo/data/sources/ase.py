"""Extended XYZ files and ASE databases."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlzoo.data.sources.parse import Sites
from tlzoo.data.sources.problems import Place, Problem
from tlzoo.data.sources.records import ID_NAMES, Columns, Record, Records, find_column
from tlzoo.errors import UserError, no_such

if TYPE_CHECKING:
    from ase import Atoms


def read_extxyz(path: Path, columns: Columns) -> Records:
    """Read extended XYZ: one crystal a frame, the keys of its comment line are the columns.

    Raises:
        UserError: The file is empty or no frame can be read.
    """
    if not path.read_bytes().strip():
        raise UserError(f"{path} is empty; wanted extended XYZ")
    return _collect(_frames(path), path, columns.id, "frame")


def read_database(path: Path, columns: Columns) -> Records:
    """Read an ASE database: one crystal a row, its key-value pairs are the columns.

    Raises:
        UserError: The file is no ASE database.
    """
    return _collect(_rows(path), path, columns.id, "row")


def _frames(path: Path) -> Iterator[tuple[int, Atoms, dict[str, Any]]]:
    from ase.io import iread

    for number, atoms in enumerate(iread(path, index=":", format="extxyz"), start=1):
        results = atoms.calc.results if atoms.calc is not None else {}
        yield number, atoms, {**results, **atoms.info}


def _rows(path: Path) -> Iterator[tuple[int, Atoms, dict[str, Any]]]:
    from ase.db import connect

    for row in connect(path).select():
        results = {name: row[name] for name in ("energy", "free_energy", "magmom") if name in row}
        yield row.id, row.toatoms(), {**results, **row.key_value_pairs}


def _collect(
    source: Iterable[tuple[int, Atoms, dict[str, Any]]], path: Path, id_column: str | None, word: str
) -> Records:
    records: list[Record] = []
    problems: list[Problem] = []
    number = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ase warns of its own renaming of keys
            for number, atoms, facts in source:
                place = Place(str(path), number, word)
                sites = _sites(atoms)
                if isinstance(sites, str):
                    problems.append(Problem(place, "not periodic", sites))
                else:
                    records.append(_record(place, sites, facts, id_column, f"{path.stem}-{number}"))
    except Exception as error:
        text = f"cannot be read after {word} {number} ({type(error).__name__}: {error}); is it complete?"
        if number == 0:
            raise UserError(f"{path} {text.replace(f' after {word} 0', '')}") from error
        problems.append(Problem(Place(str(path), number + 1, word), "unreadable", text))
    return records, problems


def _record(place: Place, sites: Sites, facts: dict[str, Any], id_column: str | None, default: str) -> Record:
    name = find_column(list(facts), [id_column.lower()] if id_column else ID_NAMES)
    if id_column and name is None:
        raise UserError(f"{place}: {no_such('key', id_column, facts)}")
    values = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in facts.items()
        if key != name and isinstance(value, numbers.Number | str | np.generic)
    }
    return Record(str(facts[name]) if name else default, place, sites, values)


def _sites(atoms: Atoms) -> Sites | str:
    if len(atoms) == 0:
        return "has no atoms"
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    if volume < 0.1 or not atoms.pbc.any():
        return (
            f"is not periodic (cell of {volume:.3g} Å³, pbc {' '.join('FT'[int(p)] for p in atoms.pbc)}); "
            "tlzoo knows periodic crystals only: give it a cell of three vectors and set pbc"
        )
    if (atoms.numbers == 0).any():
        return "has sites that are no element (X)"
    frac_coords = np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T
    return Sites(np.array(atoms.cell.array), np.array(atoms.numbers, dtype=np.int64), frac_coords)
