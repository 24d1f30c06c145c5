"""A folder of structure files, with or without a CSV of labels; also zipped."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Literal

from tlzoo.data.sources.csvfile import Rows, may_be_units, read_rows
from tlzoo.data.sources.formula import FORMULA_NAMES
from tlzoo.data.sources.problems import Place, Problem, option
from tlzoo.data.sources.records import ID_NAMES, STRUCTURE_NAMES, Record, Records, is_unnamed
from tlzoo.errors import UserError

PATTERNS = ("*.cif", "*.mcif", "*.vasp", "*.poscar", "POSCAR*", "CONTCAR*", "*.xsf", "*.json")
# Endings that are no part of an id.
ENDINGS = tuple(pattern[1:] for pattern in PATTERNS if pattern.startswith("*"))
TABLES = (".csv", ".tsv")
# Tables that may hold labels too, but are not read in a folder.
OTHER_TABLES = (".xlsx", ".xls", ".ods", ".parquet", ".pq", ".csv.gz", ".tsv.gz")
# Files of several crystals, which are read alone.
SEVERAL = (".extxyz", ".xyz", ".db")
MAX_BYTES = 20 * 1024**3
MAX_RATIO = 500
BARE = re.compile(r"(POSCAR|CONTCAR)(\.vasp)?$", re.IGNORECASE)
HIDDEN = (".", "__MACOSX")

# Of what is not read, in sub-folders beside crystals, more files than these (0.1 s) are not looked at.
LOOKED_AT = 10_000


def is_structure_file(path: Path) -> bool:
    """Whether the name is that of a CIF, POSCAR, XSF or JSON file."""
    name = path.name.lower()
    return not name.startswith(".") and any(fnmatchcase(name, pattern.lower()) for pattern in PATTERNS)


def read_folder(
    folder: Path, label: str, *, id_column: str | None, labels_wanted: bool, table: Path | None = None
) -> Records:
    """Read a folder: one crystal a file, in the order of the CSV if there is one, else of the names.

    A structure without labels is an error if they are wanted, unless the ``table`` is given: then that says
    what is read.

    Raises:
        UserError: There are no structure files, several CSV files, no column of the CSV names the files, or
            several do and not the same ones.
    """
    inside = _contents(folder, label)
    problems = inside.problems
    if not inside.files:
        told = [str(problem) for problem in problems if problem.severity != "note"]
        wanted = f"{label} holds no structure files; wanted: {', '.join(PATTERNS)}"
        raise UserError("\n  ".join([wanted, *told]))
    files = _Files(folder, inside)
    used = table or _table(inside, label)
    if used is None:
        records = [Record(files.ids[path], _place(path, folder, label), path) for path in inside.files]
        named = set(inside.files)
    else:
        records, named = _joined(files, label, used, id_column, problems, given=table is not None)
    if unread := [path for path in inside.deeper if path not in named]:
        text = (
            f"{_listed(unread, folder)} in sub-folders, beside structure files at the top: not read; name "
            "them in the table of labels, move them to the top, or give their folder"
        )
        problems.append(Problem(Place(label), "other folders", text, "warning"))
    rest = [path for path in inside.files if path not in named]
    if used and table is None:
        text = f"has no row in {used.name}" + ("; add one, or remove the file" if labels_wanted else "")
        severity: Literal["error", "warning"] = "error" if labels_wanted else "warning"
        problems += [Problem(_place(path, folder, label), "no label", text, severity) for path in rest]
        if not labels_wanted:
            records += [Record(files.ids[path], _place(path, folder, label), path) for path in rest]
    elif rest:
        text = f"{_listed(rest, folder)} without a row in {table}: not read"
        problems.append(Problem(Place(label), "no label", text, "note"))
    return records, problems


def structure_files(folder: Path) -> list[Path]:
    """Return the structure files of a folder, or of its sub-folders if it has none, sorted as people do."""
    return _contents(folder, str(folder)).files


def lies_beside_structures(path: Path) -> bool:
    """Whether a file is a CSV or TSV table with structure files in its own folder."""
    return path.suffix.lower() in TABLES and any(
        is_structure_file(other) and other.is_file() and _is_structure(other)
        for other in path.absolute().parent.iterdir()
    )


@dataclass
class _Contents:
    """What lies in a folder.

    Attributes:
        files: Structure files: those at the top, or of all sub-folders if there are none.
        deeper: Structure files of sub-folders beside some at the top: read where the table names them.
        tables: Tables of labels at the top.
        problems: What is there and is not read.
    """

    files: list[Path]
    deeper: list[Path]
    tables: list[Path]
    problems: list[Problem]


def _contents(folder: Path, label: str) -> _Contents:
    problems: list[Problem] = []
    walk = _walk(folder, label, problems)
    top = next(walk)
    here = [path for path in top if path.is_file() and is_structure_file(path) and _is_structure(path)]
    flat = any(path.suffix != ".json" for path in here)
    below = list(islice((path for paths in walk for path in paths), LOOKED_AT if flat else None))
    deeper = [path for path in below if path.is_file() and is_structure_file(path) and _is_structure(path)]
    files = here if flat else _relaxed([*here, *deeper], folder, label, problems)
    dangling = [path for path in (top if flat else [*top, *below]) if not path.exists()]
    for path in dangling:
        if is_structure_file(path) or path.suffix.lower() in TABLES:
            text = f"is a link to {str(path.readlink())!r}, which is not there; mend it, or remove it"
            problems.append(Problem(_place(path, folder, label), "missing file", text))
    tables = ([p for p in top if p.suffix.lower() == ending and p.is_file()] for ending in TABLES)
    used = next(filter(None, tables), [])
    known = {*files, *used, *dangling}
    if several := [path for path in top if path not in known and path.suffix.lower() in SEVERAL]:
        text = f"{_names(several, folder)} may hold crystals, which are not read in a folder: give it alone"
        problems.append(Problem(Place(label), "other crystals", text, "warning"))
        known.update(several)
    if others := [path for path in top if path not in known]:
        text = f"{len(others)} other file(s) were not read: {_names(others, folder)}"
        problems.append(Problem(Place(label), "other files", text, "note"))
    unread = [*others, *(() if used else below)]
    if tabular := [path for path in unread if path.name.lower().endswith((*TABLES, *OTHER_TABLES))]:
        instead = (
            f"labels come from {used[0].name} alone" if used else "labels come from a CSV file at the top"
        )
        text = f"{_names(tabular, folder)} may hold labels, but {instead}"
        problems.append(Problem(Place(label), "other tables", text, "note" if used else "warning"))

    def order(path: Path) -> list[tuple[int, str]]:
        return _natural(str(path.relative_to(folder)))

    return _Contents(sorted(files, key=order), [] if not flat else sorted(deeper, key=order), used, problems)


def _walk(folder: Path, label: str, problems: list[Problem]) -> Iterator[list[Path]]:
    """Yield the files of a folder, then of each folder below it, without hidden ones; links are files."""

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise UserError(f"{label} cannot be read: {error.strerror}") from error
        text = f"cannot be read: {error.strerror}"
        problems.append(Problem(_place(Path(error.filename), folder, label), "unreadable", text))

    for root, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith(HIDDEN))
        for path in (Path(root, name) for name in folders):
            if path.is_symlink():
                text = "is a link to a folder, which is not followed; give that folder, or copy it"
                problems.append(Problem(_place(path, folder, label), "other folders", text, "warning"))
        yield [Path(root, name) for name in sorted(names) if not name.startswith(HIDDEN)]


def _relaxed(files: Sequence[Path], folder: Path, label: str, problems: list[Problem]) -> list[Path]:
    """Leave out the POSCAR that a run of VASP started from where its CONTCAR is there."""
    ended = {path.parent for path in files if path.name == "CONTCAR" and path.parent != folder}
    left = {path for path in files if path.name == "POSCAR" and path.parent in ended}
    if left:
        text = (
            f"{len(left)} folder(s) hold POSCAR and CONTCAR: CONTCAR, where the run ended, is read, not "
            f"{_names(left, folder)}"
        )
        problems.append(Problem(Place(label), "start and end", text, "warning"))
    return [path for path in files if path not in left]


class _Files:
    """Structure files by id, and by what a table may call them.

    Attributes:
        ids: The name without ending, or the folder of a run of VASP; with its folder, then with its ending,
            where that is not unique.
    """

    def __init__(self, folder: Path, inside: _Contents) -> None:
        self.folder = folder
        self.ids = _ids(inside.files, folder, (_name, _bare, _inside))
        self.ids |= _ids(inside.deeper, folder, (_bare, _inside))
        # what is more certain comes first: whole names, then those without ending, then sub-folders
        self._levels: list[Mapping[str, list[Path]]] = []
        for part in (inside.files, inside.deeper):
            for kinds in ((_inside,), (_file_name,), (_bare, _name, _stem)):
                level: dict[str, list[Path]] = defaultdict(list)
                for path in part:
                    for name in {kind(path, folder) for kind in kinds}:
                        level[name].append(path)
                self._levels.append(level)
        self.names = {name for level in self._levels for name in level}
        self._alike = {_alike(name): name for name in sorted(self.names, reverse=True)}

    def find(self, cell: str) -> list[Path]:
        """Return the files that a cell can mean: none, one, or several of one name."""
        return next((level[cell] for level in self._levels if cell in level), [])

    def whole(self, cell: str) -> bool:
        """Whether a cell is the name of a file with its ending, which a number cannot be."""
        return any(path.name == PurePosixPath(cell).name for path in self.find(cell))

    def hint(self, cell: str) -> str:
        """Say which name was perhaps meant: ``CO`` is not ``Co``, and 007 not 7, so that it is not taken."""
        name = self._alike.get(_alike(cell))
        return (
            f"; there is {name!r}: write it so, with its zeros, capitals and ending" if cell and name else ""
        )


def _joined(
    files: _Files, label: str, table: Path, id_column: str | None, problems: list[Problem], *, given: bool
) -> tuple[list[Record], set[Path]]:
    """Return the crystals of a table of labels, and the files that it names; problems are added."""
    rows = read_rows(table, f"{label}/{table.name}", first_cells=files.names)
    problems += rows.problems
    column = rows.checked(id_column) if id_column is not None else _id_column(rows, files, given=given)
    records, named = [], set()
    for index, (place, values) in enumerate(zip(rows.places, rows.values, strict=True)):
        units = "; remove the row if it holds units" if may_be_units(rows, index) else ""
        cell = values.pop(column).strip()
        found = files.find(cell)
        named.update(found)
        if not cell:
            text = f"column {column!r} is empty; it names the structure file{units}"
            problems.append(Problem(place, "missing id", text))
        elif not found:
            text = f"there is no structure file for {cell!r} in {label}{files.hint(cell) or units}"
            problems.append(Problem(place, "missing file", text))
        elif len(found) > 1:
            text = f"{cell!r} can be {_names(found, files.folder)}; write folder and ending too"
            problems.append(Problem(place, "ambiguous", text))
        else:
            structure = _place(found[0], files.folder, label)
            records.append(Record(files.ids[found[0]], structure, found[0], values, place))
    return records, named


@dataclass
class _Naming:
    """A column whose cells are names of structure files.

    Attributes:
        column: Its name.
        found: The files that each cell can mean.
        rank: How certain it is that it is there to name them; 0 is certain.
    """

    column: str
    found: list[list[Path]]
    rank: int

    @property
    def rows(self) -> int:
        """How many cells name a file."""
        return sum(map(bool, self.found))

    @property
    def repeats(self) -> bool:
        """Whether a file is named twice, as small whole numbers among the labels do."""
        named = [paths[0] for paths in self.found if paths]
        return len(set(named)) < len(named)

    def differs(self, other: _Naming) -> int | None:
        """Return the first row in which both name files, and not the same."""
        pairs = enumerate(zip(self.found, other.found, strict=True))
        return next((row for row, (one, two) in pairs if one and two and not set(one) & set(two)), None)


def _id_column(rows: Rows, files: _Files, *, given: bool) -> str:
    """Return the column that names the files.

    Names with an ending come first, then columns called as such columns are, then others, then what pandas
    writes as the index. The rest must name the same files, unless it names fewer. In a table that is given
    itself, formulas are names only if each has a file: GaN.cif may lie beside a table of formulas by chance.
    """
    named = []
    for column in rows.columns:
        cells = [values[column].strip() for values in rows.values]
        found = [files.find(cell) for cell in cells]
        by_chance = given and column.strip().lower() in FORMULA_NAMES and not all(found)
        if any(found) and not by_chance:
            named.append(_Naming(column, found, 0 if any(map(files.whole, cells)) else _rank(column)))
    best = min(named, key=lambda each: (each.rank, each.repeats, -each.rows), default=None)
    if best is None or best.rank > 2:
        _check_spelling(rows, files)
    if best is None:
        raise UserError(
            f"{rows.file}: no column names the structure files; one must hold file names, with or without "
            f"ending; the columns are: {', '.join(rows.columns)}"
        )
    for other in named:
        equal = other.rank == best.rank or (best.rank > 0 and other.rows > best.rows)
        row = best.differs(other)
        if equal and row is not None and other.repeats <= best.repeats:
            cells = [rows.values[row][each.column] for each in (best, other)]
            raise UserError(
                f"{rows.file}: the columns {best.column!r} and {other.column!r} both name structure files, "
                f"but not the same, {cells[0]!r} and {cells[1]!r} in line {rows.places[row].row}: say which "
                f"counts {option('id_column', 'NAME')}, or remove the other"
            )
    return best.column


def _check_spelling(rows: Rows, files: _Files) -> None:
    """Refuse names as a spreadsheet or pandas left them: no other column of whole numbers stands for them.

    Raises:
        UserError: A column that is called as columns of names are has nearly the name of a file.
    """
    for name in [name for name in rows.columns if _rank(name) <= 2]:
        for cell in (values[name].strip() for values in rows.values):
            if hint := files.hint(cell):
                raise UserError(f"{rows.file}: column {name!r} has {cell!r}{hint}")


def _rank(column: str) -> int:
    name = column.strip().lower()
    if name in STRUCTURE_NAMES:
        return 1
    if is_unnamed(column) or name == "index":
        return 4
    return 2 if name in ID_NAMES else 3


def _table(inside: _Contents, label: str) -> Path | None:
    if len(inside.tables) > 1:
        names = ", ".join(path.name for path in inside.tables)
        raise UserError(
            f"{label} holds several tables of labels ({names}); leave one, or give the table itself"
        )
    return next(iter(inside.tables), None)


def _ids(
    paths: Sequence[Path], folder: Path, kinds: Sequence[Callable[[Path, Path], str]]
) -> dict[Path, str]:
    """Return the shortest kind of name of each file that no other has."""
    ids = {path: kinds[0](path, folder) for path in paths}
    for longer in kinds[1:]:
        times = Counter(ids.values())
        ids = {path: longer(path, folder) if times[name] > 1 else name for path, name in ids.items()}
    return ids


def _inside(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _bare(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _file_name(path: Path, folder: Path) -> str:  # noqa: ARG001 (as its kin)
    return path.name


def _stem(path: Path, folder: Path) -> str:  # noqa: ARG001 (as its kin)
    return path.stem


def _name(path: Path, folder: Path) -> str:
    if BARE.match(path.name) and path.parent != folder:
        return path.parent.relative_to(folder).as_posix()
    return path.stem if path.suffix.lower() in ENDINGS else path.name


def _alike(name: str) -> str:
    """Return a name as a spreadsheet, or a system without capitals, may have left it."""
    bare = name.lower()
    for ending in ENDINGS:
        bare = bare.removesuffix(ending)
    return re.sub(r"^(\d+)\.0+$", r"\1", bare).lstrip("0")


def _names(paths: Collection[Path], folder: Path) -> str:
    names = sorted(_inside(path, folder) for path in paths)
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


def _listed(paths: Sequence[Path], folder: Path) -> str:
    return f"{len(paths)} structure file(s) ({_names(paths, folder)})"


def _place(path: Path, folder: Path, label: str) -> Place:
    return Place(f"{label}/{path.relative_to(folder).as_posix()}")


def _is_structure(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return True
    text = path.read_bytes()
    marks = (b'"lattice_mat"', b'"cartesian_site_positions"')
    sites = b'"sites"' in text and text.lstrip()[:1] == b"{"
    return not text.strip() or sites or any(mark in text for mark in marks)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


@contextmanager
def unzipped(path: Path) -> Iterator[Path]:
    """Unpack an archive into a temporary folder that is gone afterwards; yield the folder the files are in.

    Raises:
        UserError: The archive is damaged, encrypted, points outside itself, or is far larger than it looks.
    """
    with TemporaryDirectory(prefix="tlzoo-") as temporary:
        try:
            _unpack(path, Path(temporary))
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise UserError(f"{path} cannot be unpacked: {error}; is it complete?") from error
        folder = Path(temporary)
        while True:
            inside = [p for p in folder.iterdir() if p.name != "__MACOSX" and not p.name.startswith(".")]
            if len(inside) != 1 or not inside[0].is_dir():
                break
            folder = inside[0]
        yield folder


def _unpack(path: Path, into: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        for member in members:
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or ":" in member.filename:
                raise UserError(
                    f"{path} holds {member.filename!r}, which points outside the archive; pack it anew"
                )
        size = sum(member.file_size for member in members)
        packed = sum(member.compress_size for member in members)
        if size > MAX_BYTES or (size > 100 * 1024**2 and size > MAX_RATIO * packed):
            raise UserError(
                f"{path} unpacks to {size / 1024**3:.1f} GiB from {packed / 1024**2:.1f} MiB, which looks "
                "wrong; unpack it yourself and give the folder"
            )
        free = shutil.disk_usage(into).free
        if size > free:
            raise UserError(
                f"{path} unpacks to {size / 1024**3:.1f} GiB; {into} has {free / 1024**3:.1f} GiB free"
            )
        archive.extractall(into, members=members)
