"""Write the page of what is read and what is refused, from the answers to files, or say if it is current."""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tlzoo.crystals import Crystals
from tlzoo.data.check import Report, check
from tlzoo.data.sources import read_all
from tlzoo.errors import UserError
from tlzoo.machine.files import write_text

ROOT: Final = Path(__file__).parents[1]
CASES: Final = Path("tests", "cases")
PAGE: Final = Path("docs", "reference", "files.md")
# Ids are shown of as few crystals.
FEW: Final = 8
# Å, farther than any atom of the files is from its nearest.
REACH: Final = 6.0

INTRODUCTION: Final = """\
# Which files are read, and which are refused

A file that is read wrongly does more harm than one that is refused. tlzoo therefore reads only what a file
states unambiguously, and adds a note where something is unusual. A file that could mean several things is
refused, and the message says what would resolve the ambiguity: usually one line to add to the file.
[Bring your own data](../how-to/data.md) has the rules.

The tables below show files as people have them: what was read (atoms of the cell, density, shortest distance)
and what `tlzoo data check FILE` reports, without the name of the file. An empty last column means that there
is nothing to report. An error stops training; `predict`, `embed`, `screen` and `fit` give the same notes.

`python -m maintenance.files` writes this page from [tests/cases](../../tests/cases).
"""


def page(root: Path) -> str:
    """Return what the page should say.

    Args:
        root: The repository.

    Raises:
        UserError: Files of one row do not get the same answer.
    """
    sections = yaml.safe_load((root / CASES / "cases.yaml").read_text(encoding="utf-8"))
    return "\n".join([INTRODUCTION, *(line for section in sections for line in _section(root, section))])


def named(root: Path) -> list[Path]:
    """Return the files and folders that the page shows."""
    sections = yaml.safe_load((root / CASES / "cases.yaml").read_text(encoding="utf-8"))
    rows = [row for section in sections for row in section["rows"]]
    return [root / CASES / _split(text)[0] for row in rows for text in _files(row)]


def _section(root: Path, section: dict[str, Any]) -> Iterator[str]:
    yield f"## {section['title']}\n"
    if "text" in section:
        yield f"{section['text'].strip()}\n"
    yield "| file | what it is | what was read | what `data check` says |"
    yield "|---|---|---|---|"
    for row in section["rows"]:
        answers = {text: _answer(root, text) for text in _files(row)}
        if len(set(answers.values())) > 1:
            raise UserError(f"files of one row have different answers, {answers}; give each a row of its own")
        read, said = next(iter(answers.values()))
        yield f"| {'<br>'.join(map(_link, answers))} | {row['what']} | {read} | {said} |"
    yield ""


def _files(row: dict[str, Any]) -> list[str]:
    files = row["files"]
    return [files] if isinstance(files, str) else list(files)


def _split(text: str) -> tuple[str, list[str] | None]:
    """Divide ``FILE --target NAME``."""
    file, _, target = text.partition(" --target ")
    return file, [target] if target else None


def _link(text: str) -> str:
    file, targets = _split(text)
    shown = f"[{Path(file).name}](../../{CASES.as_posix()}/{file})"
    return f"{shown} `--target {targets[0]}`" if targets else shown


def _answer(root: Path, text: str) -> tuple[str, str]:
    """Return what was read of a file, and what is said of it."""
    file, targets = _split(text)
    path = root / CASES / file
    report = check(path, targets=targets, progress=False)
    try:
        crystals, _ = read_all(path, targets=targets)
    except UserError:
        crystals = Crystals.from_structures([])
    return _read(crystals, report), "<br>".join(_said(report, path)).replace("|", "\\|")


def _said(report: Report, path: Path) -> Iterator[str]:
    """Yield the problems, without the names of their own file and folder."""
    for severity, problems in (
        ("error", report.errors),
        ("warning", report.warnings),
        ("note", report.notes),
    ):
        for problem in problems:
            if problem.kind == "empty" and len(report.errors) > 1:
                continue  # what could not be read was said
            text = str(problem).replace(f"{path}/", "").replace(f"{path}, ", "").replace(f"{path}: ", "")
            # as text, tags of a CIF would begin something in italics
            text = re.sub(r"(?<![\w`])_[A-Za-z][\w.-]+", r"`\g<0>`", text.replace(str(path), path.name))
            yield f"**{severity}** {text}"


def _read(crystals: Crystals, report: Report) -> str:
    if not len(crystals):
        return "nothing"
    if len(crystals) > 1:
        labels = [f"`{line.partition(' (')[0]}`" for line in report.summary[3:]]
        ids = ": " + ", ".join(f"`{name}`" for name in crystals.ids) if len(crystals) <= FEW else ""
        return "; ".join([f"{len(crystals)} crystals{ids}", *labels])
    structure = crystals.structure(0)
    distances = [near.nn_distance for of_atom in structure.get_all_neighbors(REACH) for near in of_atom]
    atoms = f"{structure.formula}: {len(structure)} atoms"
    # in the vacuum around a layer it means nothing
    layer = any("density and volume mean nothing" in note.message for note in report.notes)
    density = "" if layer else f"{structure.density:.2f} g/cm³, "
    return f"{atoms}, {density}{min(distances):.2f} Å"


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Write the page, or with ``--check`` only say whether it is current (1 if not)."""
    parser = argparse.ArgumentParser(prog="python -m maintenance.files", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is current")
    only_check = parser.parse_args(arguments).check
    text, path = page(root), root / PAGE
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    if not only_check:
        write_text(path, text)
    sys.stdout.write(f"{PAGE} {'is not current: python -m maintenance.files' if only_check else 'written'}\n")
    return int(only_check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
