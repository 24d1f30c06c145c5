"""matminer's files: found, or downloaded by matminer's own loader; their hash is checked always."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlzoo.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def frame(name: str, homes: Sequence[Path], *, wanted_for: str) -> pd.DataFrame:
    """Return a matminer data set.

    It is looked for in ``homes``, folders with matminer's files, in order, and downloaded to the last if
    it is in none; ``wanted_for`` is our name of it, for messages.

    Raises:
        UserError: matminer is not installed, the file is damaged, or there is no network; the message says
            how to get the file.
    """
    try:
        from matminer.datasets import load_dataset
        from matminer.datasets.dataset_retrieval import get_dataset_attribute
    except ImportError as error:
        raise UserError(
            f"data set {wanted_for!r} is not on this machine, and matminer, which has it, is not installed: "
            f"pip install 'tlzoo[matminer]', or set TLZOO_DATA to a folder with {wanted_for}.parquet"
        ) from error
    file = f"{name}.{get_dataset_attribute(name, 'file_type')}"
    expected, url = get_dataset_attribute(name, "hash"), get_dataset_attribute(name, "url")
    home = next((home for home in homes if (home / file).is_file()), homes[-1])
    # matminer checks what it downloads, not what it finds
    if found := (home / file).is_file():
        _check(home / file, expected, url)
    try:
        # what one process has half of, another would take for the file
        with contextlib.nullcontext(home) if found else _aside(home) as to:
            # matminer prints where it downloads from
            with contextlib.redirect_stdout(sys.stderr):
                table: pd.DataFrame = load_dataset(name, data_home=str(to), pbar=sys.stderr.isatty())
            if not found:
                Path(to, file).replace(home / file)
    except (OSError, UserWarning) as error:
        raise UserError(
            f"data set {wanted_for!r} needs matminer's {name!r}, which could not be downloaded "
            f"({type(error).__name__}). On a machine with a network, run python -c "
            f"\"from matminer.datasets import load_dataset; load_dataset('{name}', data_home='.')\" "
            f"or fetch {url}, then put {file} in {home}"
        ) from error
    return table


def _aside(home: Path) -> tempfile.TemporaryDirectory[str]:
    home.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=".partial-", dir=home)


def matminer_home() -> list[Path]:
    """Return the folder where matminer itself keeps its files, if the user set one."""
    given = os.environ.get("MATMINER_DATA")
    return [Path(given).expanduser()] if given else []


def _check(path: Path, expected: str, url: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise UserError(
            f"{path} is damaged or not matminer's file: its sha256 is {found}, matminer's is {expected}; "
            f"remove it and load the data set again, or fetch it from {url}"
        )
