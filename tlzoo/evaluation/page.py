"""Pages for people: one HTML file each that asks nothing of the net, in light and dark, on paper too."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import tlzoo

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        shown: What it shows.
        value: What it is sorted by; empty goes last.
        look: Its classes: ``number``, ``long``, ``bad``.
        title: What is shown while the pointer is on it.
    """

    shown: str
    value: str = ""
    look: str = ""
    title: str = ""


@dataclass(frozen=True)
class Table:
    """A table, with a cell for each column in each line, of which a click on a head sorts the lines."""

    heads: Sequence[str]
    lines: Sequence[Sequence[Cell]]
    caption: str = ""


def render(template: str, **content: Any) -> str:  # noqa: ANN401 (what the template wants)
    """Return the page that a template of the package makes of some content; text is escaped."""
    return _environment().get_template(template).render(version=tlzoo.__version__, **content) + "\n"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("tlzoo", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
