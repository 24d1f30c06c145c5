"""From records, as every kind of file yields them, to one table of crystals and a list of problems."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.plausibility import findings
from tlzoo.data.sources.cellsize import large_cells
from tlzoo.data.sources.labels import as_numbers, as_text, is_unknown, no_numbers, with_classes
from tlzoo.data.sources.parse import Parsed, Sites, Source, parse_all
from tlzoo.data.sources.problems import Place, Problem, raise_errors, remarks, tell
from tlzoo.data.sources.repeats import SameId, one_id_each
from tlzoo.errors import UserError, no_such

# fmt: off
ID_NAMES = (
    "id", "material_id", "mp_id", "mpid", "mp-id", "jid", "cif_id", "identifier", "name", "uid", "mat_id",
    "immutable_id", "index",
)
STRUCTURE_NAMES = (
    "structure", "cif", "poscar", "atoms", "path", "file", "filename", "file_name", "cif_file",
    "structure_file",
)
# fmt: on


@dataclass(frozen=True)
class Columns:
    """Names of the columns that hold ids and structures; None: found by name, then by content.

    ``formulas`` is whether a column of formulas will do where there are no structures.
    """

    id: str | None = None
    structure: str | None = None
    formulas: bool = False


@dataclass
class Record:
    """One crystal before it is parsed.

    Attributes:
        id: Its identifier.
        place: Where its structure is.
        structure: What `parse` takes, or the sites if they are known already.
        values: Its columns.
        labels: Where its columns are, if elsewhere than its structure.
    """

    id: str
    place: Place
    structure: Source | Sites
    values: Mapping[str, Any] = field(default_factory=dict)
    labels: Place | None = None


Records: TypeAlias = tuple[list[Record], list[Problem]]


@dataclass
class Table:
    """What was read: crystals with unchecked columns, where each row and its columns are, and problems."""

    crystals: Crystals
    places: Sequence[Place]
    labels: Sequence[Place]
    problems: list[Problem]


def assemble(records: Sequence[Record], problems: Sequence[Problem] = ()) -> Table:
    """Parse records and set them up as columns; what cannot be parsed becomes a problem."""
    problems = list(problems)
    waiting = [record.structure for record in records if not isinstance(record.structure, Sites)]
    parsed = iter(parse_all(waiting))
    good: list[Record] = []
    sites: list[Sites] = []
    for record in records:
        result = Parsed(record.structure) if isinstance(record.structure, Sites) else next(parsed)
        problems += [Problem(record.place, "note", text, "note") for text in result.notes]
        if result.sites is None:
            problems.append(Problem(record.place, result.kind, result.message))
        else:
            good.append(record)
            sites.append(result.sites)
    names = list(dict.fromkeys(name for record in records for name in record.values))
    crystals = Crystals(
        ids=np.array([record.id for record in good], dtype=object),
        lattice=np.array([s.lattice for s in sites], dtype=np.float64).reshape(-1, 3, 3),
        offsets=np.cumsum([0, *(len(s.numbers) for s in sites)], dtype=np.int64),
        numbers=np.array([z for s in sites for z in s.numbers], dtype=np.uint8),
        frac_coords=np.concatenate([s.frac_coords for s in sites] or [np.empty((0, 3))]),
        columns={name: _objects([record.values.get(name) for record in good]) for name in names},
    )
    return Table(crystals, [r.place for r in good], [r.labels or r.place for r in good], problems)


def finish(
    read: Table,
    *,
    targets: Sequence[str] | None,
    units: Mapping[str, str],
    same_id: SameId | None = None,
) -> tuple[Crystals, list[Problem]]:
    """Turn columns into numbers, check targets, ids and distances, and leave out the rows that are wrong.

    Columns that need not be numbers and are none become text; those without a name are left out.
    """
    file = Place(read.labels[0].file if read.labels else "the input")
    crystals, problems = _named(read.crystals, targets or (), file)
    problems = [*read.problems, *problems]
    missing = [name for name in dict.fromkeys([*(targets or ()), *units]) if name not in crystals.columns]
    problems += [
        Problem(file, "missing column", no_such("column", name, crystals.columns))
        for name in (missing if len(crystals) else [])
    ]
    crystals, notes = with_classes(crystals, targets, file)
    keep = np.ones(len(crystals), dtype=bool)
    columns: dict[str, NDArray[Any]] = {}
    for name, values in crystals.columns.items():
        numbers, wrong = as_numbers(values)
        known = sum(not is_unknown(value) for value in values) if targets is None else 0
        is_target = 0 < len(wrong) < 0.5 * known if targets is None else name in targets
        if is_target or len(wrong) == 0:
            columns[name] = numbers
            keep[wrong] = False
            problems += no_numbers(read.labels, name, values, wrong.tolist())
        else:
            columns[name] = _objects([None if is_unknown(value) else value for value in values])
            problems += as_text(file, name, values) if targets is None else []
    origins = [str(place) for place in read.places]
    crystals = replace(crystals, columns=columns, units={**crystals.units, **units}, origins=origins)
    if large := large_cells(crystals):
        # left out at once: to look at all pairs of their atoms is what they are too large for
        problems += large.values()
        rest = np.setdiff1d(np.arange(len(crystals)), list(large))
        crystals, keep = crystals.select(rest), keep[rest]
        read = replace(
            read, places=[read.places[row] for row in rest], labels=[read.labels[row] for row in rest]
        )
    strange = strange_structures(crystals)
    problems += strange.values()
    keep[[row for row, problem in strange.items() if problem.severity == "error"]] = False
    crystals, keep, found = one_id_each(crystals, keep, same_id, places=read.places, labels=read.labels)
    problems += [*notes, *found]
    return (crystals if keep.all() else crystals.select(np.flatnonzero(keep))), problems


def is_unnamed(column: str) -> bool:
    """Whether a column has no name but what pandas gives to an index."""
    return not column.strip() or re.fullmatch(r"Unnamed: \d+|__index_level_\d+__", column) is not None


def _named(crystals: Crystals, targets: Sequence[str], file: Place) -> tuple[Crystals, list[Problem]]:
    """Leave out columns without a name, which nobody asked for."""
    left = [name for name in crystals.columns if is_unnamed(name) and name not in targets]
    if not left:
        return crystals, []
    columns = {name: values for name, values in crystals.columns.items() if name not in left}
    names = ", ".join(repr(name) for name in left if not all(map(is_unknown, crystals.columns[name])))
    text = f"a column without a name, as pandas writes its index, was not read: {names}"
    notes = [Problem(file, "unnamed column", text, "note")] if names else []
    return replace(crystals, columns=columns), notes


def strange_structures(crystals: Crystals) -> dict[int, Problem]:
    """Return errors for crystals that cannot be, and warnings for those that hardly can, by row."""
    found = findings(crystals)
    return {f.row: Problem(Place(crystals.origin(f.row)), f.kind, f.text, f.severity) for f in found}


def sound(name: str, crystals: Crystals, problems: Sequence[Problem]) -> Crystals:
    """Return crystals if nothing is wrong with what they were read from; what is unusual is said.

    Raises:
        UserError: There are errors, the first ten are listed, or there is no crystal.
    """
    raise_errors(name, problems)
    if len(crystals) == 0:
        raise UserError(f"{name} holds no crystals")
    tell(name, remarks(problems, name), len(crystals))
    return crystals


def find_column(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """Return the first of the wanted names that is there, whatever its case."""
    by_lower = {name.strip().lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in wanted if name in by_lower), None)


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
