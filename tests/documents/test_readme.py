"""Every block of the documentation runs, in its order, as it stands.

A document starts in a folder with ``configs``, a short run in ``runs/quickstart`` and what a reader has at
hand: ``GaN.cif``, there and where a clone has it, and the folder ``my_crystals``. Shell blocks go to bash,
each Python block to an interpreter of its own, a YAML block to the file that its first line names.
A block is left out only after ``<!-- not run: REASON -->``. Its commands begin with everything imported
(``warm.py``); the short run is made by the command proper.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import yaml

from tests.documents import warm
from tlzoo.data import named

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
QUICKSTART = ROOT / "docs" / "tutorials" / "index.md"
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
LANGUAGES = {"sh", "python", "yaml", "text"}

pytestmark = pytest.mark.documents


class Block(NamedTuple):
    """A fenced block of a document."""

    line: int
    language: str
    text: str
    reason: str | None


def blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, m.start("text")), m["language"], m["text"], m["reason"])
        for m in BLOCK.finditer(text)
    ]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A user's environment: the command on the path, no data sets, a cache of its own."""
    given = {k: v for k, v in os.environ.items() if k not in {"TLZOO_DATA", "MATMINER_DATA", "PYTHONPATH"}}
    return given | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TLZOO_CACHE": str(tmp_path_factory.mktemp("cache")),
    }


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """A folder as after `make quickstart`, with a shorter training, and crystals of one's own."""
    folder = tmp_path_factory.mktemp("start")
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "docs" / "tutorials").mkdir(parents=True)
    for place in (folder, folder / "docs" / "tutorials"):
        shutil.copy(ROOT / "docs" / "tutorials" / "GaN.cif", place)
    labelled(folder / "my_crystals")
    commands = (block.text for block in blocks(QUICKSTART) if block.language == "sh")
    quickstart = next(text for text in commands if "--run_dir runs/quickstart" in text)
    assert quickstart in (ROOT / "Makefile").read_text(encoding="utf-8")
    command = quickstart.strip() + " --epochs 2"
    shown = execute(["bash", "-c", command], folder, environment, "quickstart")
    (folder / "shown.txt").write_text(shown, encoding="utf-8")
    return folder


def labelled(folder: Path) -> None:
    """Write files and labels as a user has them."""
    crystals = named.load("semiconductors")
    folder.mkdir()
    lines = ["file,gap"]
    for row in range(0, 180, 3):
        crystals.structure(row).to(filename=str(folder / f"{crystals.ids[row]}.cif"))
        lines.append(f"{crystals.ids[row]}.cif,{crystals.column('band_gap')[row]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def warm_environment(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The same environment with commands that begin with everything imported."""
    with warm.commands(tmp_path_factory.mktemp("warm")) as folder:
        yield environment | {"PATH": f"{folder}{os.pathsep}{environment['PATH']}"}


def execute(command: list[str], folder: Path, environment: dict[str, str], where: str) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{where} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def called(document: Path) -> str:
    """The path of a document in the repository, as the name of a test."""
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=called)
def test_blocks_are_run_or_say_why_not(document: Path) -> None:
    found = blocks(document)
    assert len(found) == document.read_text(encoding="utf-8").count("\n```") / 2, "a fence is not closed"
    for block in found:
        where = f"{document.name}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: one of {sorted(LANGUAGES)} after the fence"
        assert block.language != "text" or block.reason is None, f"{where}: text is never run"
        if block.language == "yaml" and block.reason is None:
            assert re.match(r"# \S+\.ya?ml\n", block.text), f"{where}: the first line names the file"


def test_quickstart_shows_what_the_page_says(start: Path) -> None:
    """Line by line up to the end of the table, but for numbers and minutes; what follows depends on them."""
    said = next(block.text for block in blocks(QUICKSTART) if block.language == "text")
    shown = (start / "shown.txt").read_text(encoding="utf-8")
    number = re.compile(r"[\s\d.e+-]*\d[\d.e+-]*|-+|; [^;]* on this machine")
    # columns are as wide as their numbers
    table = [re.sub(" +", " ", number.sub(" ", text)).split("Transfer")[0] for text in (said, shown)]
    assert "random forest" in table[0]
    assert table[0] == table[1]


def test_what_the_readme_fine_tunes(start: Path, warm_environment: dict[str, str], tmp_path: Path) -> None:
    """Its three lines, with a shorter training."""
    folder = shutil.copytree(start, tmp_path / "here")
    commands = (block.text for block in blocks(ROOT / "README.md") if block.language == "sh")
    text = next(text for text in commands if "tlzoo finetune" in text)
    short = "--run-dir runs/mine --epochs 2 --learning-rates 1e-3 --pooling mean"
    assert "--run-dir runs/mine\n" in text
    execute(
        ["bash", "-euo", "pipefail", "-c", text.replace("--run-dir runs/mine", short)],
        folder,
        warm_environment,
        "README.md",
    )
    answer = pd.read_csv(folder / "mine.csv")
    assert answer["id"].tolist() == ["GaN"]
    assert {"gap", "gap_q5", "gap_q95"} <= set(answer)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_links_of_the_readme_lead_somewhere() -> None:
    """Those of other pages are checked where the site is built."""
    for name in ("README.md", "CONTRIBUTING.md", "checkpoints/README.md"):
        links = re.findall(r"\]\(([^)#]+)", (ROOT / name).read_text(encoding="utf-8"))
        local = [link for link in links if "://" not in link]
        assert local
        for link in local:
            assert ((ROOT / name).parent / link).exists(), f"{name}: {link}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=called)
def test_blocks_run(document: Path, start: Path, warm_environment: dict[str, str], tmp_path: Path) -> None:
    folder = shutil.copytree(start, tmp_path / "here")
    for block in blocks(document):
        where = f"{document.name}:{block.line}"
        if block.reason or block.language == "text":
            continue
        if block.language == "yaml":
            name = block.text.split("\n", 1)[0].removeprefix("# ")
            assert yaml.safe_load(block.text), where
            (folder / name).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            execute(["bash", "-euo", "pipefail", "-c", block.text], folder, warm_environment, where)
        else:
            execute(["python", "-c", block.text], folder, warm_environment, where)
