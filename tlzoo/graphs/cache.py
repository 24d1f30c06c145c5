"""Named arrays in a folder: written aside and renamed into place, checked when read, memory-mapped."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError
from tlzoo.machine.files import FULL

logger = logging.getLogger(__name__)

META = "meta.json"  # written last: a folder without it is half-written
PARTIAL = ".partial-"
ABANDONED = 24 * 3600  # seconds after which a folder left by a killed process is deleted


def default_dir() -> Path:
    """Return where caches are kept: ``$TLZOO_CACHE``, or ``tlzoo`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if folder := os.environ.get("TLZOO_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tlzoo"


def kept(
    folder: Path, key: str, noun: str, names: Collection[str], make: Callable[[Writer], None]
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a folder as :func:`read` does, made first if they are not there.

    Args:
        folder: The folder.
        key: What it is made for.
        noun: What is kept, for messages.
        names: Of the arrays; a folder with others is made again.
        make: Appends all arrays, and finishes.

    Raises:
        UserError: The folder cannot be written, or was changed at once by somebody else.
    """
    arrays = read(folder, key, names)
    if arrays is None:
        with Writer(folder, key, noun) as writer:
            make(writer)
        arrays = read(folder, key, names)
    if arrays is None:
        raise UserError(f"{folder} changed while it was read; check the disk, delete the folder, run again")
    return arrays


def read(folder: Path, key: str, names: Collection[str] | None = None) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a folder, memory-mapped read-only, or None if it is absent or damaged.

    The size of every file is checked, and its SHA-256 if it was changed or copied since it was written: to
    read gigabytes at every start would take seconds. A folder of other arrays than those named is damaged,
    too. Damage is logged.
    """
    if not folder.exists():
        return None
    try:
        return _read_checked(folder, key, names)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        logger.warning("%s is damaged and will be made again (%s: %s)", folder, type(error).__name__, error)
        return None


def _read_checked(folder: Path, key: str, names: Collection[str] | None) -> dict[str, NDArray[Any]]:
    meta = json.loads((folder / META).read_text(encoding="utf-8"))
    if meta["key"] != key:
        raise ValueError("made for other content")
    if names is not None and (odd := sorted(meta["files"].keys() ^ {*names})):
        raise ValueError(f"lacks or should not have {', '.join(odd)}")
    for name, facts in meta["files"].items():
        with (folder / f"{name}.npy").open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size != facts["bytes"]:
                raise ValueError(f"{name}.npy has {found.st_size:,} bytes instead of {facts['bytes']:,}")
            untouched = found.st_mtime_ns == facts["mtime_ns"]
            if not untouched and hashlib.file_digest(file, "sha256").hexdigest() != facts["sha256"]:
                raise ValueError(f"wrong checksum of {name}.npy")
    # plain views: np.memmap's own indexing is slower
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray) for name in meta["files"]}


class Writer:
    """Writes arrays piece by piece into a folder that appears complete or not at all.

    Of several processes that write the same folder one wins; the work of the others is dropped. To be
    used as a context manager; without :meth:`finish` nothing is left behind.

    Args:
        folder: Folder to create, or to replace if it is damaged.
        key: What the folder is made for.
        noun: What is written, for messages.

    Attributes:
        progress: Part of the work that is written, 0 to 1, set by the caller; to tell what a full disk lacks.

    Raises:
        UserError: The disk is full or the folder cannot be written; says where, and how much is needed.
    """

    def __init__(self, folder: Path, key: str, noun: str = "graphs") -> None:
        self.folder = folder
        self.key = key
        self.noun = noun
        self.progress = 0.0
        self._arrays: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}

    def __enter__(self) -> Self:
        parent = self.folder.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _sweep(parent)
            self._aside = tempfile.TemporaryDirectory(prefix=PARTIAL, dir=parent, ignore_cleanup_errors=True)
            self._new = Path(self._aside.name) / self.folder.name
            self._new.mkdir()
        except OSError as error:
            raise self._explained(error, 0) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        written = sum(file.stat().st_size for file in self._new.iterdir()) if self._new.exists() else 0
        self._aside.cleanup()
        if isinstance(error, OSError):
            raise self._explained(error, written) from error

    def append(self, name: str, values: NDArray[Any]) -> None:
        """Add a piece at the end of the array of that name, which has the dtype that holds all of them.

        Pieces have one shape but for the first axis.
        """
        dtype, shape = self._arrays.get(name, (values.dtype, (0, *values.shape[1:])))
        if (wider := np.result_type(dtype, values.dtype)) != dtype:
            dtype = self._widen(name, wider, shape)
        with (self._new / f"{name}.npy").open("ab") as file:
            if name not in self._arrays:
                _write_header(file, dtype, shape)
            file.write(np.ascontiguousarray(values, dtype=dtype).data)
        self._arrays[name] = (dtype, (shape[0] + len(values), *shape[1:]))

    def _widen(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.dtype[Any]:
        """Write what there is of an array again, in a wider type."""
        path = self._new / f"{name}.npy"
        with path.open("r+b") as file:
            _write_header(file, self._arrays[name][0], shape)
        values = np.load(path, mmap_mode="r")
        wider = path.with_suffix(".wider")
        with wider.open("wb") as file:
            _write_header(file, dtype, shape)
            for start in range(0, len(values), 1 << 20):
                file.write(values[start : start + (1 << 20)].astype(dtype).data)
        wider.replace(path)
        return dtype

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write the list of files with sizes, checksums and facts for people; move the folder into place."""
        files = {}
        for name, (dtype, shape) in self._arrays.items():
            with (self._new / f"{name}.npy").open("r+b") as file:
                _write_header(file, dtype, shape)
            with (self._new / f"{name}.npy").open("rb") as file:
                written = os.fstat(file.fileno())
                files[name] = {
                    "bytes": written.st_size,
                    "mtime_ns": written.st_mtime_ns,
                    "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
                }
        meta = {"key": self.key, **facts, "files": files}
        (self._new / META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
        for _ in range(3):
            try:
                self._new.rename(self.folder)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
            else:
                return
            if read(self.folder, self.key, self._arrays) is not None:
                return  # another process was faster
            with contextlib.suppress(FileNotFoundError):
                self.folder.rename(Path(self._aside.name) / f"damaged-{time.monotonic_ns()}")

    def _explained(self, error: OSError, written: int) -> UserError:
        if error.errno not in FULL:
            return UserError(
                f"cannot write {self.noun} below {self.folder.parent}: {error}; "
                "set TLZOO_CACHE to a folder that can be written"
            )
        need = f" of about {max(1, round(written / self.progress / 1e6)):,} MB" if self.progress else ""
        return UserError(
            f"the disk is full: the {self.noun}{need} do not fit below {self.folder.parent}; "
            "make room, or set TLZOO_CACHE to a folder on another disk"
        )


def _write_header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write the header of an .npy file; numpy pads it to the same length for any number of rows."""
    facts = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)


def _sweep(parent: Path) -> None:
    """Delete what killed processes left behind."""
    for folder in parent.glob(f"{PARTIAL}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
