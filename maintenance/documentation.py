"""Pages that MkDocs makes while it builds the site: notebooks with output, the command line, other files.

A hook of ``mkdocs.yml``: ``make docs`` builds the site. Notebooks run in empty folders, as for a user without
data sets; one that fails stops the build. Links that leave ``docs/`` get a copy of what they lead to.
"""

import base64
import contextlib
import io
import os
import posixpath
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from unittest import mock

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tlzoo.__main__ import COMMANDS, HELP, run
from tlzoo.commands import arguments

__all__ = [
    "COMMANDS",
    "CellExecutionError",
    "command_line",
    "executed",
    "on_files",
    "on_page_markdown",
    "page_of",
]

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
# Pages whose text lies elsewhere in the repository.
ELSEWHERE: Final = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "reference/checkpoints.md": "checkpoints/README.md",
}
COPIES: Final = "repository"
LINK: Final = re.compile(r"(?P<text>\[[^][]*\])\((?P<target>[^)\s]+)\)")
TUTORIALS: Final = "tutorials"
WIDTH: Final = 96  # characters of a line of output
MINUTES: Final = 5  # until a cell counts as stuck; each takes seconds
TERMINAL: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|^.*\r(?!\n)", re.M)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for page, source in ELSEWHERE.items():
        files.append(made(config, page, (ROOT / source).read_text(encoding="utf-8")))
    files.append(made(config, "reference/cli.md", command_line()))
    notebooks = sorted((DOCS / TUTORIALS).glob("*.ipynb"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, cells in zip(notebooks, pool.map(executed, notebooks), strict=True):
            text, pictures = shown(path, cells)
            files.append(made(config, f"{TUTORIALS}/{path.stem}.md", text))
            for name, picture in pictures.items():
                files.append(made(config, f"{TUTORIALS}/{name}", picture))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of ``docs/`` to the page that is made of the file, or to a copy."""
    here = page.file.src_uri
    source = ELSEWHERE.get(here, f"docs/{here}")

    def led(link: re.Match[str]) -> str:
        target, hash_sign, anchor = link["target"].partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not target or "://" in target or target.startswith("mailto:"):
            return link[0]
        if (ROOT / path).is_dir():
            return link["text"].strip("[]") if not path.startswith("docs") else link[0]
        there = page_of(path)
        if there is None:
            there = f"{COPIES}/{path}{'.txt' if path.endswith('.md') else ''}"  # text, no page of its own
            if files.get_file_from_path(there) is None:
                files.append(File.generated(config, there, abs_src_path=str(ROOT / path)))
        return (
            f"{link['text']}({posixpath.relpath(there, posixpath.dirname(here) or '.')}{hash_sign}{anchor})"
        )

    return LINK.sub(led, markdown).replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def page_of(path: str) -> str | None:
    """Return the page of the site that a file of the repository is, if it is one.

    >>> page_of("docs/tutorials/predict.ipynb"), page_of("CHANGELOG.md"), page_of("LICENSE")
    ('tutorials/predict.md', 'changelog.md', None)
    """
    if path.startswith("docs/"):
        return re.sub(r"\.ipynb$", ".md", path.removeprefix("docs/"))
    return ({source: page for page, source in ELSEWHERE.items()} | {"README.md": "index.md"}).get(path)


def made(config: MkDocsConfig, path: str, content: str | bytes) -> File:
    """Return a file of the site with this content."""
    return File.generated(config, path, content=content)


def executed(path: Path) -> list[Any]:
    """Run a notebook in an empty folder and return its cells with their output."""
    notebook = nbformat.read(path, as_version=4)
    commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": commands, "OMP_NUM_THREADS": "1"}
    environment.pop("TLZOO_DATA", None)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=60 * MINUTES,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=ERROR"],
        )
        client.execute(env=environment)
    return list(notebook.cells)


def shown(path: Path, cells: Sequence[Any]) -> tuple[str, dict[str, bytes]]:
    """Return the page of a notebook, and its pictures by name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        first, _, rest = cell.source.partition("\n")
        parts.append(f"```sh\n{rest}\n```" if first == "%%bash" else f"```python\n{cell.source}\n```")
        printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        parts += [text_output(printed)] if printed else []
        for output in cell.outputs:
            data = output.get("data", {})
            if picture := data.get("image/png"):
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(picture)
                parts.append(f"![{cell.metadata['alt']}]({name})")
            elif table := data.get("text/html"):
                table = re.sub(r"<style.*?</style>", "", table, flags=re.DOTALL)
                parts.append(f'<div class="output" markdown="0">{table}</div>')
            elif data:
                parts.append(text_output(data["text/plain"]))
    title, _, rest = "\n\n".join(parts).partition("\n")
    download = f'<a href="{path.name}" download class="notebook">Download this page as a notebook</a>'
    return f"{title}\n\n{download}\n{rest}\n", pictures


def text_output(text: str) -> str:
    """Return what a cell has printed, long sentences in several lines; tables stay as they are."""
    lines = TERMINAL.sub("", text).rstrip().split("\n")
    wrapped = (line if "  " in line.strip() else textwrap.fill(line, WIDTH) for line in lines)
    return "\n".join(["```{.text .output}", *wrapped, "```"])


def command_line() -> str:
    """Return the reference of all commands, from their parsers."""
    return "\n".join(
        [
            "# Command line\n",
            "```text",
            HELP.rstrip(),
            "```\n",
            *(line for name in COMMANDS for line in command(name)),
        ]
    )


def command(*words: str) -> Iterator[str]:
    """Yield what the reference says of a command and of those below it."""
    said, parsers = helped(*words)
    yield f"{'#' * (len(words) + 1)} tlzoo {' '.join(words)}\n"
    if parsers:
        yield from options(parsers[0])
        return
    below = re.findall(r"^  ([a-z]+)  ", said, re.M) if "COMMAND --help" in said else []
    yield from ["```text", said.rstrip(), "```\n"] if not below else [said.split("\n\n")[1] + "\n"]
    for name in below:
        yield from command(*words, name)


def helped(*words: str) -> tuple[str, list[arguments.Parser]]:
    """Ask a command for help; return what it prints, and the parser that was to print it."""
    parsers: list[arguments.Parser] = []
    said = io.StringIO()
    with (
        mock.patch.object(arguments.Parser, "print_help", lambda parser, *_: parsers.append(parser)),
        contextlib.redirect_stdout(said),
        contextlib.suppress(SystemExit),
    ):
        run([*words, "--help"])
    return said.getvalue(), parsers


def options(parser: arguments.Parser) -> Iterator[str]:
    """Yield what a command does, and a table of its arguments."""
    yield f"{(parser.description or '').replace('%%', '%')}\n"
    yield f"```text\n{(parser.usage or '').replace('%%', '%')}\n```\n"
    if parser.fields:
        yield "| argument | meaning |"
        yield "|---|---|"
    for action in parser.fields:
        value = (
            ""
            if action.nargs == 0
            else arguments.shown(action).removeprefix((action.option_strings or [""])[0])
        )
        name = f"{', '.join(action.option_strings)} {value.strip()}".strip()
        told = (
            str(action.help or "")
            .replace("%%", "%")
            .replace("\n", " ")
            .replace("|", "\\|")
            .replace("<", "&lt;")
        )
        yield f"| `{name}` | {told} |"
    yield ""
