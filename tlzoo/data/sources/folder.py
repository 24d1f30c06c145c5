"""A folder of structure files, with or without a CSV of labels; also zipped."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from tlzoo.data.sources.csvfile import Rows, read_rows
from tlzoo.data.sources.problems import Place, Problem
from tlzoo.data.sources.records import Record, Records
from tlzoo.errors import UserError

PATTERNS = ("*.cif", "*.vasp", "*.poscar", "POSCAR*", "CONTCAR*", "*.json")
MAX_BYTES = 20 * 1024**3
MAX_RATIO = 500
BARE = re.compile(r"(POSCAR|CONTCAR)(\.vasp)?$", re.IGNORECASE)


def is_structure_file(path: Path) -> bool:
    """Whether the name is that of a CIF, POSCAR or pymatgen JSON file."""
    name = path.name.lower()
    return not name.startswith(".") and any(fnmatchcase(name, pattern.lower()) for pattern in PATTERNS)


def read_folder(folder: Path, label: str, *, id_column: str | None, labels_wanted: bool) -> Records:
    """Read a folder: one crystal a file, in the order of the CSV if there is one, else of the names.

    By default that column of the CSV names the files that matches most of them. A structure without labels is
    an error if they are wanted.

    Raises:
        UserError: There are no structure files, several CSV files, or no column of the CSV names the files.
    """
    files = structure_files(folder)
    tables = sorted(path for path in folder.glob("*.csv") if not path.name.startswith("."))
    if not files:
        raise UserError(f"{label} holds no structure files; wanted: {', '.join(PATTERNS)}")
    problems = _ignored(folder, label, [*files, *tables])
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise UserError(
            f"{label} holds several tables of labels ({names}); leave one, or give the table itself"
        )
    if not tables:
        return [Record(_name(path, folder), _place(path, folder, label), path) for path in files], problems
    return _joined(folder, label, files, tables[0], id_column, labels_wanted, problems)


def structure_files(folder: Path) -> list[Path]:
    """Return the structure files of a folder, or of its sub-folders if it has none, sorted as people do."""
    found = [path for path in folder.iterdir() if path.is_file() and is_structure_file(path)]
    if not any(path.suffix != ".json" for path in found):
        deep = [path for path in folder.rglob("*") if path.is_file() and is_structure_file(path)]
        hidden = (".", "__MACOSX")
        found = [path for path in deep if not any(part.startswith(hidden) for part in path.parts)] or found
    return sorted(filter(_is_structure, found), key=lambda path: _natural(str(path.relative_to(folder))))


def _joined(
    folder: Path,
    label: str,
    files: Sequence[Path],
    table: Path,
    id_column: str | None,
    labels_wanted: bool,
    problems: list[Problem],
) -> Records:
    by_name: dict[str, Path] = {}
    for path in reversed(files):
        by_name |= dict.fromkeys(_names(path, folder), path)
    rows = read_rows(table, f"{label}/{table.name}", first_cells=by_name.keys())
    problems += rows.problems
    column = _id_column(rows, by_name.keys(), id_column)
    records, used = [], set()
    for place, values in zip(rows.places, rows.values, strict=True):
        cell = values.pop(column).strip()
        match = by_name.get(cell)
        if not cell:
            text = f"column {column!r} is empty; it names the structure file"
            problems.append(Problem(place, "missing id", text))
        elif match is None:
            text = f"there is no structure file for {cell!r} in {label}"
            problems.append(Problem(place, "missing file", text))
        else:
            records.append(Record(_name(match, folder), _place(match, folder, label), match, values, place))
            used.add(match)
    for path in (file for file in files if file not in used):
        text = f"has no row in {table.name}"
        place = _place(path, folder, label)
        if labels_wanted:
            problems.append(Problem(place, "no label", f"{text}; add one, or remove the file"))
        else:
            problems.append(Problem(place, "no label", text, "warning"))
            records.append(Record(_name(path, folder), place, path))
    return records, problems


def _id_column(rows: Rows, names: Collection[str], id_column: str | None) -> str:
    if id_column is not None:
        return rows.checked(id_column)
    matches = {c: sum(values[c].strip() in names for values in rows.values) for c in rows.columns}
    best = max(matches, key=matches.__getitem__)
    if matches[best] == 0:
        raise UserError(
            f"{rows.file}: no column names the structure files; one must hold file names, with or without "
            f"ending; the columns are: {', '.join(rows.columns)}"
        )
    return best


def _names(path: Path, folder: Path) -> list[str]:
    inside = path.relative_to(folder)
    return [path.name, path.stem, inside.as_posix(), inside.with_suffix("").as_posix(), _name(path, folder)]


def _name(path: Path, folder: Path) -> str:
    if BARE.match(path.name) and path.parent != folder:
        return path.parent.relative_to(folder).as_posix()
    return path.name if path.suffix.lower() not in {".cif", ".vasp", ".poscar", ".json"} else path.stem


def _place(path: Path, folder: Path, label: str) -> Place:
    return Place(f"{label}/{path.relative_to(folder).as_posix()}")


def _is_structure(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return True
    text = path.read_bytes()
    return not text.strip() or (b'"sites"' in text and text.lstrip()[:1] == b"{") or b'"lattice_mat"' in text


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _ignored(folder: Path, label: str, used: Sequence[Path]) -> list[Problem]:
    others = {p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")}.difference(used)
    if not others:
        return []
    names = ", ".join(sorted(path.name for path in others)[:5]) + (" …" if len(others) > 5 else "")
    text = f"{len(others)} other file(s) were not read: {names}"
    return [Problem(Place(label), "other files", text, "note")]


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
