"""The documentation as a site: built as `make docs` does, whatever is amiss is an error."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import filelock
import pytest

from maintenance import docstrings, documentation, pictures

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))

pytestmark = pytest.mark.documents


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built once for all processes of the tests."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    folder = shared / "site"
    with filelock.FileLock(shared / "site.lock"):
        if not folder.exists():
            command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
            quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1", "TLZOO_CACHE": str(shared / "site-cache")}
            done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    return folder


class Fetched(HTMLParser):
    """Addresses that a browser fetches to show a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"script", "img", "iframe", "source"} and given.get("src"):
            self.addresses.append(str(given["src"]))
        if tag == "link" and given.get("rel") in {"stylesheet", "icon", "preload"}:
            self.addresses.append(str(given["href"]))


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        addresses = Fetched(page).addresses
        assert addresses
        strange = [one for one in addresses if re.match(r"(https?:)?//", one)]
        assert not strange, f"{page.relative_to(site)}: {strange}"
        for one in addresses:
            if not one.startswith("data:"):
                assert (page.parent / one.partition("?")[0]).exists() or page.name == "404.html", (
                    f"{page}: {one}"
                )


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_show_what_they_print(notebook: Path, site: Path) -> None:
    page = (site / "tutorials" / f"{notebook.stem}.html").read_text(encoding="utf-8")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") for cell in cells), "notebooks are stored without output"
    pictures = sum("alt" in cell["metadata"] for cell in cells)
    assert pictures > 0
    assert page.count(f'src="{notebook.stem}-') == pictures
    assert all(
        (site / "tutorials" / f"{notebook.stem}-{i + 1}.png").stat().st_size > 5000 for i in range(pictures)
    )
    assert 'class="output"' in page
    assert "Traceback" not in page
    assert "Warning" not in page
    assert str(ROOT) not in page
    assert (site / "tutorials" / notebook.name).is_file()


def test_a_failing_notebook_stops_the_build(tmp_path: Path) -> None:
    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": "1 / 0",
        "outputs": [],
        "execution_count": None,
    }
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = tmp_path / "bad.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    with pytest.raises(documentation.CellExecutionError, match="ZeroDivisionError"):
        documentation.executed(path)


def test_output_is_wrapped_but_for_tables() -> None:
    sentence, row = "Words and words. " * 10, "name      " * 12
    shown = documentation.text_output(f"\x1b[1m{sentence}\x1b[0m\n{row}\n10 %\r100 %\n").splitlines()
    assert max(map(len, shown[1:3])) <= documentation.WIDTH
    assert " ".join(shown[1:3]) == sentence.rstrip()
    assert shown[3:] == [row, "100 %", "```"]


def test_the_search_finds_the_questions(site: Path) -> None:
    """Each of the questions that people ask first is a title."""
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    titles = {entry["title"] for entry in index["docs"]}
    questions = re.findall(
        r"^## (.*\?)$", (ROOT / "docs" / "how-to" / "index.md").read_text(encoding="utf-8"), re.M
    )
    assert len(questions) >= 10
    for question in questions:
        assert question.replace("`", "") in {re.sub(r"<[^>]*>", "", title) for title in titles}


def test_every_command_and_option_is_in_the_reference() -> None:
    text = documentation.command_line()
    for name in documentation.COMMANDS:
        assert f"\n## tlzoo {name}\n" in text
    assert "\n### tlzoo zoo verify\n" in text
    assert "| `--learning-rates A,B…` |" in text
    assert "| `-o, --output FILE` |" in text
    assert "| `--skip-bad` |" in text


def test_docstrings_become_markdown() -> None:
    assert docstrings.markdown("Of :mod:`tlzoo.zoo`.\n\n>>> 1 + 1\n2\n\nMore.") == (
        "Of `tlzoo.zoo`.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore."
    )


def test_the_picture_shows_today_s_layers() -> None:
    drawn = (pictures.FIGURES / "layers.svg").read_text(encoding="utf-8")
    shown = re.findall(r">([^<>]+)</text>", drawn)
    for name in pictures.layers((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        assert name in shown, "call: python -m maintenance.pictures"
