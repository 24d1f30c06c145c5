"""A picture in a file that a notebook shows."""

import base64
import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Picture:
    """A PNG file; the last line of a cell shows it, elsewhere it is its path."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


def shown(text: str, table: "pd.DataFrame", picture: Picture | None) -> str:
    """Return text, a table and perhaps a picture as HTML."""
    parts = [f"<pre>{html.escape(text)}</pre>", table.to_html(float_format="{:.4g}".format)]
    if picture is not None:
        image = base64.b64encode(picture.path.read_bytes()).decode()
        parts.append(f'<img width="420" alt="{picture.path.stem}" src="data:image/png;base64,{image}">')
    return "".join(parts)
