"""From the text of one CIF, POSCAR or structure dict to arrays."""

from __future__ import annotations

import ast
import codecs
import io
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS
from tlzoo.data.sources import optimade
from tlzoo.data.sources.cif import read as read_cif
from tlzoo.data.sources.cifblocks import is_cif
from tlzoo.data.sources.formula import Formula, FormulaError, read_formula
from tlzoo.data.sources.poscar import NUMBERS, PoscarError, element, is_poscar, read_poscar
from tlzoo.data.sources.problems import StructureError
from tlzoo.machine.progress import bar
from tlzoo.periodicity import SMALLEST, fractional, set_apart

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

# A file, one in memory, the text of one, a dict, a structure of pymatgen, atoms of ASE, or a formula.
Source: TypeAlias = "Path | Formula | Document | str | Mapping[str, Any] | Structure | Atoms"

# A worker process needs 1-3 s to import pymatgen, the time in which 500 files are parsed: fewer than this are
# parsed sooner without workers, and a worker is given many at a time.
PARALLEL_FROM = 2000
CHUNK = 1000

# Warnings of pymatgen that say nothing about the crystal.
HARMLESS = (
    "rounded to ideal values",
    "No Pauling electronegativity",
    "Issues encountered while parsing",
    "type key found",
    "Cannot determine chemical composition",
)


# What str and repr of pymatgen and repr of ASE begin with.
PRINTED = re.compile(r"\s*(Full Formula \(|Structure Summary\b|(MSON)?Atoms\()")
# How a file of XCrySDen begins, after comments.
XSF = re.compile(r"(\s*#.*\n|\s*\n)*\s*(ANIMSTEPS|CRYSTAL|SLAB|POLYMER|MOLECULE|ATOMS)\b")


class Document(NamedTuple):
    """A file that is in memory alone, with the name it would have."""

    name: str
    content: bytes


class Sites(NamedTuple):
    """One crystal as arrays.

    Attributes:
        lattice: Row vectors in Å, ``(3, 3)`` float64.
        numbers: Atomic numbers, ``(atoms,)`` int64.
        frac_coords: Fractional coordinates, ``(atoms, 3)`` float64.
    """

    lattice: NDArray[np.float64]
    numbers: NDArray[np.int64]
    frac_coords: NDArray[np.float64]


class Parsed(NamedTuple):
    """The outcome of parsing: sites, or the kind and text of what is wrong; and notes in either case."""

    sites: Sites | None = None
    kind: str = ""
    message: str = ""
    notes: tuple[str, ...] = ()


def parse(source: Source) -> Parsed:
    """Parse one structure.

    Args:
        source: A CIF, POSCAR or pymatgen JSON file, on disk or in memory, the text of one, a structure as a
            dict of pymatgen or JARVIS, a structure of pymatgen, or atoms of ASE.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            (sites, remarks), kind, message = _sites_and_remarks(source), "", ""
        except StructureError as error:
            sites, remarks, kind, message = None, [], error.kind, str(error)
        except Exception as error:  # noqa: BLE001 (parsers raise anything on damaged text; it becomes a report)
            sites, remarks, kind = None, [], "unreadable"
            message = f"cannot be read ({type(error).__name__}: {_one_line(error)}); is it complete?"
    heard = list(dict.fromkeys(_one_line(w.message) for w in caught))
    notes = (*remarks, *(h for h in heard if not any(text in h for text in HARMLESS)))
    if kind == "unreadable" and notes:
        message = f"{message.removesuffix('; is it complete?')} ({'; '.join(notes)}); is it complete?"
        notes = ()
    return Parsed(sites, kind, message, notes)


def parse_all(sources: Sequence[Source], *, workers: int | None = None) -> list[Parsed]:
    """Parse structures, with a bar; many files and texts by a process per core, at most 8 of them."""
    workers = min(os.cpu_count() or 1, 8) if workers is None else workers
    many = len(sources) >= PARALLEL_FROM
    results: list[Parsed] = []
    with bar(len(sources), "reading structures", "structure", hidden=len(sources) < CHUNK) as shown:
        texts = [source for source in sources if isinstance(source, Path | str)]
        if many and workers > 1 and len(texts) == len(sources):
            size = max(CHUNK, -(-len(sources) // (4 * workers)))
            chunks = [texts[start : start + size] for start in range(0, len(sources), size)]
            with ThreadPoolExecutor(workers) as pool:
                for part in pool.map(_in_a_process, chunks):
                    results += part
                    shown.update(len(part))
        else:
            for source in sources:
                results.append(parse(source))
                shown.update()
    return results


def serve() -> None:
    """Parse the sources that come as JSON on standard input; answer in JSON on standard output."""
    for item in json.load(sys.stdin):
        result = parse(Path(item["path"]) if "path" in item else item["text"])
        sites = [array.tolist() for array in result.sites] if result.sites else None
        sys.stdout.write(json.dumps([sites, *result[1:]]) + "\n")


def _in_a_process(sources: Sequence[Path | str]) -> list[Parsed]:
    # Not multiprocessing: its spawn runs the user's script again, its fork copies locks of torch's threads.
    items = [{"path": str(s)} if isinstance(s, Path) else {"text": s} for s in sources]
    done = subprocess.run(  # noqa: S603 (this very interpreter, no text of the user in the command)
        [sys.executable, "-c", f"from {__name__} import serve; serve()"],
        input=json.dumps(items),
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONIOENCODING": "utf-8",
        },
        encoding="utf-8",
    )
    return [_parsed(*json.loads(line)) for line in done.stdout.splitlines()]


def _parsed(sites: list[Any] | None, kind: str, message: str, notes: list[str]) -> Parsed:
    if sites is None:
        return Parsed(None, kind, message, tuple(notes))
    lattice, numbers, frac_coords = sites
    arrays = Sites(np.array(lattice), np.array(numbers, dtype=np.int64), np.array(frac_coords).reshape(-1, 3))
    return Parsed(arrays, kind, message, tuple(notes))


def is_structure(value: object) -> bool:
    """Whether a value is a structure of pymatgen, which is not imported to find out."""
    return hasattr(value, "lattice") and hasattr(value, "sites")


def is_atoms(value: object) -> bool:
    """Whether a value is atoms of ASE, which is not imported to find out."""
    return all(hasattr(value, name) for name in ("positions", "numbers", "cell", "pbc"))


def sites_of(atoms: Atoms) -> tuple[Sites, str]:
    """Return atoms of ASE as arrays, and a note of what was done to the cell.

    Raises:
        ValueError: They make no crystal.
    """
    if len(atoms) == 0:
        raise ValueError("has no atoms")
    lattice, frac_coords, note = set_apart(np.array(atoms.cell.array), atoms.positions, atoms.pbc)
    if unknown := sorted(set(atoms.numbers[(atoms.numbers < 1) | (atoms.numbers >= len(SYMBOLS))].tolist())):
        what = ", ".join("X" if z == 0 else f"Z = {z}" for z in unknown)
        raise ValueError(f"has sites that are no element ({what})")
    return Sites(lattice, np.array(atoms.numbers, dtype=np.int64), frac_coords), note


def is_structure_dict(value: object) -> bool:
    """Whether a value is a dict of a structure, or of a molecule, which `parse` then explains."""
    return isinstance(value, Mapping) and (
        "sites" in value
        or value.get("@class") in {"Structure", "Molecule"}
        or "lattice_mat" in value
        or optimade.is_optimade(value)
    )


def is_structure_text(value: object) -> bool:
    """Whether a value is the text of a CIF, a POSCAR or a structure dict rather than a path."""
    return isinstance(value, str) and (
        is_cif(value)
        or value.count("\n") > 5
        or value.lstrip("\ufeff \t\r\n")[:1] == "{"
        or PRINTED.match(value) is not None
    )


def _sites_and_remarks(source: Source) -> tuple[Sites, list[str]]:
    if isinstance(source, Formula):
        return _of_formula(source), []
    structure = source if is_atoms(source) else _structure(source)
    if not is_atoms(structure):
        return _sites(structure)
    try:
        sites, note = sites_of(structure)
    except ValueError as error:
        raise StructureError("not periodic", str(error)) from error
    return sites, [note] if note else []


def _of_formula(formula: Formula) -> Sites:
    """Return the atoms of the smallest formula; neither cell nor places are known."""
    try:
        counts = read_formula(formula.text)
    except FormulaError as error:
        raise StructureError("unreadable", str(error)) from error
    numbers = np.repeat([number for number, _ in counts], [count for _, count in counts])
    return Sites(np.full((3, 3), np.nan), numbers.astype(np.int64), np.full((len(numbers), 3), np.nan))


def _structure(source: Source) -> Structure | Atoms | Sites:
    if isinstance(source, Mapping):
        return _from_dict(source)
    if isinstance(source, Path):
        if not source.exists():
            raise StructureError("missing file", "there is no such file")
        source = Document(source.name, source.read_bytes())
    if not isinstance(source, str | Document):
        return source
    text = source if isinstance(source, str) else decoded(source.content)
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise StructureError("empty", "is empty")
    is_named_cif = isinstance(source, Document) and source.name.lower().endswith((".cif", ".mcif"))
    return _from_text(text, is_named_cif=is_named_cif)


def _from_text(text: str, *, is_named_cif: bool) -> Structure | Atoms | Sites:
    # by content, and first: the comment of a POSCAR may begin as anything does
    if is_poscar(text) and not (is_named_cif and is_cif(text)):
        if is_named_cif:
            raise StructureError("unreadable", "is named as a CIF, but holds a POSCAR: name it .vasp")
        return _from_poscar(text)
    if text.lstrip().startswith("{"):
        return _from_dict(_dict(text))
    if is_named_cif or is_cif(text):
        return read_cif(text)
    if PRINTED.match(text):
        raise StructureError(
            "unreadable",
            "is what Python prints of a structure, rounded and for people: write structure.to_json() or "
            "structure.to(fmt='cif') of pymatgen into the table, and atoms of ASE as extended XYZ",
        )
    return _from_xsf(text) if XSF.match(text) else _from_poscar(text)


def _dict(text: str) -> Mapping[str, Any]:
    """Return the dict of a text: of JSON, or as Python shows it, which pandas writes into a CSV."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        try:
            value = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            value = None
        if not isinstance(value, Mapping):
            raise
    return cast("Mapping[str, Any]", value)


def decoded(data: bytes) -> str:
    """Return the text of a file; bytes that are none become U+FFFD."""
    # PowerShell writes UTF-16 where `>` is used
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8", errors="replace")


def _from_poscar(text: str) -> Sites:
    try:
        return Sites(*read_poscar(text))
    except PoscarError as error:
        raise StructureError("unreadable", f"is read as a POSCAR: {error}") from error


def _from_xsf(text: str) -> Atoms:
    from ase.io.xsf import iread_xsf

    first, *others = iread_xsf(io.StringIO(text))
    if others:
        found = 1 + len(others)
        raise StructureError(
            "several structures", f"holds {found} structures; one a file is wanted: split it"
        )
    return cast("Atoms", first)


def _from_dict(value: Mapping[str, Any]) -> Structure | Sites:
    from pymatgen.core import Structure

    if optimade.is_optimade(value):
        return _from_optimade(value)
    if value.get("@class") == "Molecule" or ("sites" in value and "lattice" not in value):
        raise StructureError(
            "not periodic",
            "is a molecule without a lattice; tlzoo knows periodic crystals only: give it a cell",
        )
    if "lattice_mat" in value:
        return _from_jarvis(value)
    if "sites" not in value:
        keys = ", ".join(map(str, value))[:200] or "none"
        raise StructureError("unreadable", f"is no structure: it has the keys {keys}")
    _check_elements(str(species["element"]) for site in value["sites"] for species in site["species"])
    # no more than that: of properties pymatgen imports whatever module the file names
    sites = [{key: site[key] for key in ("species", "abc")} for site in value["sites"]]
    structure: Structure = Structure.from_dict({"lattice": value["lattice"], "sites": sites})
    return structure


def _from_optimade(value: Mapping[str, Any]) -> Sites:
    try:
        lattice, numbers, frac_coords, note = optimade.read(value)
    except StructureError:
        raise
    except ValueError as error:
        raise StructureError("not periodic", str(error)) from error
    if note:
        warnings.warn(note, stacklevel=2)
    return Sites(lattice, numbers, frac_coords)


def _from_jarvis(value: Mapping[str, Any]) -> Sites:
    if missing := {"elements", "coords"} - set(value):
        raise StructureError("unreadable", f"has a lattice_mat, but no {' and no '.join(sorted(missing))}")
    lattice: NDArray[np.float64] = np.array(value["lattice_mat"], dtype=np.float64)
    coords: NDArray[np.float64] = np.array(value["coords"], dtype=np.float64)
    coords = coords if coords.size else np.empty((0, 3))
    labels = [str(label) for label in value["elements"]]
    if lattice.shape != (3, 3) or coords.shape != (len(labels), 3):
        raise StructureError(
            "unreadable",
            f"has a lattice_mat of shape {lattice.shape}, {len(labels)} elements and coords of shape "
            f"{coords.shape}; wanted (3, 3), and three coordinates for each element",
        )
    cartesian = value.get("cartesian")
    # a whole cell and one more: what is farther out is hardly fractional
    if cartesian not in (True, False, None) or (cartesian is None and (np.abs(coords) > 2).any()):
        text = f"has coords of which 'cartesian' does not say what they are ({cartesian!r})"
        raise StructureError("unreadable", f"{text}; set it to true (Å) or false (fractional)")
    _check_elements(labels)
    if cartesian and np.isfinite(lattice).all() and np.linalg.det(lattice):
        coords = fractional(lattice, coords)
    return Sites(lattice, np.array([NUMBERS[element(label)] for label in labels], dtype=np.int64), coords)


def _check_elements(labels: Iterable[str]) -> None:
    unknown = sorted({label.strip() for label in labels if not element(label)})
    if unknown:
        raise StructureError("unknown element", f"has sites that are no element: {', '.join(unknown)}")


def _sites(structure: Structure | Sites) -> tuple[Sites, list[str]]:
    """Return a structure as arrays, and notes."""
    pbc: Sequence[bool] = (True, True, True)
    if not isinstance(structure, Sites):
        pbc = structure.lattice.pbc
        structure = _arrays(structure)
    if len(structure.numbers) == 0:
        raise StructureError("empty", "has no atoms")
    if not (np.isfinite(structure.lattice).all() and np.isfinite(structure.frac_coords).all()):
        raise StructureError("unreadable", "has a cell or coordinates that are not finite numbers")
    if not all(pbc):
        try:
            lattice, frac_coords, note = set_apart(
                structure.lattice, structure.frac_coords @ structure.lattice, pbc
            )
        except ValueError as error:
            raise StructureError("not periodic", str(error)) from error
        return Sites(lattice, structure.numbers, frac_coords), [note]
    volume = abs(float(np.linalg.det(structure.lattice)))
    if not volume > SMALLEST:
        text = f"has a cell of {volume:.2g} Å³; three independent vectors are wanted"
        raise StructureError("not periodic", text)
    return structure, []


def _arrays(structure: Structure) -> Sites:
    from pymatgen.core import DummySpecies

    if not structure.is_ordered:
        partial = [site for site in structure if not site.is_ordered]
        raise StructureError(
            "disordered",
            f"{structure.formula} has {len(partial)} of {len(structure)} sites with partial occupancy "
            f"(the first: {partial[0].species_string}); tlzoo needs ordered structures: choose one ordering, "
            "for example with pymatgen's OrderDisorderedStructureTransformation",
        )
    unknown = sorted({site.species_string for site in structure if isinstance(site.specie, DummySpecies)})
    if unknown:
        raise StructureError("unknown element", f"has sites that are no element: {', '.join(unknown)}")
    return Sites(
        np.array(structure.lattice.matrix, dtype=np.float64),
        np.array([site.specie.Z for site in structure], dtype=np.int64),
        np.array(structure.frac_coords, dtype=np.float64).reshape(-1, 3),
    )


def _one_line(value: object) -> str:
    return " ".join(str(value).split())[:300]
