"""Functions in C, compiled where they are first wanted, if there is a compiler."""

import ctypes
import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

VARIABLE: Final = "TLZOO_COMPILER"

# As fast as the processor can without changing what a formula says: sums keep their order, NaN stays NaN.
FLAGS: Final = (
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fPIC",
)
LONGEST: Final = 60  # seconds; it takes less than one

# Nothing is linked for it: the functions of OpenMP, GNU's, Intel's or LLVM's, are those that torch has
# loaded, and so are its threads; others would compete with them. Where the compiler calls what is not there,
# loading fails.
OPENMP: Final = "-fopenmp"


@cache
def compiled(source: Path, *flags: str) -> ctypes.CDLL | None:
    """Return the functions of a file in C, or None where they cannot be had; then others do the same work.

    The compiler is ``$TLZOO_COMPILER`` (empty: none), else ``cc``. What it made is kept in the user's own
    cache (``~/.cache/tlzoo/compiled``), by file, command and processor: compiled once, and again if that file
    is damaged. Those for several threads have those of torch, if it is loaded before; elsewhere one does all.
    """
    return _library(source, *flags, OPENMP) or _library(source, *flags)


def _library(source: Path, *flags: str) -> ctypes.CDLL | None:
    try:
        compiler = shlex.split(os.environ.get(VARIABLE, "cc"))
        if not compiler or sys.platform != "linux" or shutil.which(compiler[0]) is None:
            return None
        command = [*compiler, *FLAGS, *flags]
        text = source.read_bytes()
        key = hashlib.sha256(b"\0".join([text, " ".join(command).encode(), _processor()])).hexdigest()
        # not in $TLZOO_CACHE, which others may share: nobody else's programs are run
        own = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        library = own / "tlzoo" / "compiled" / f"{source.stem}-{key[:32]}.so"
        if not _whole(library):
            library.parent.mkdir(parents=True, exist_ok=True)
            # in one move: other processes may want it at the same time
            with tempfile.TemporaryDirectory(dir=library.parent) as folder:
                new, part = Path(folder) / library.name, Path(folder) / f"{source.stem}.o"
                for step in (
                    [*command, "-c", str(source), "-o", str(part)],
                    [*compiler, "-shared", str(part), "-o", str(new), "-lm"],
                ):
                    subprocess.run(step, check=True, capture_output=True, timeout=LONGEST)  # noqa: S603 (the user's own compiler)
                new.write_bytes(_sealed(new.read_bytes()))
                new.replace(library)
        return ctypes.CDLL(str(library))
    # ValueError: a quotation in the command does not end; RuntimeError: nobody's home, as in some containers
    except (OSError, ValueError, RuntimeError, subprocess.SubprocessError) as error:
        logger.debug("%s is not compiled: %s", source.name, error)
        return None


def _sealed(library: bytes) -> bytes:
    """Return a library with its SHA-256 after the end, where no loader looks."""
    return library + hashlib.sha256(library).digest()


def _whole(library: Path) -> bool:
    """Return whether a library is there as it was made: the loader crashes on half of one."""
    try:
        content = library.read_bytes()
    except FileNotFoundError:
        return False
    return content == _sealed(content[: -hashlib.sha256().digest_size])


def _processor() -> bytes:
    """Return what tells processors apart that do not run each other's programs."""
    lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    return b"\n".join(
        sorted({line for line in lines if line.startswith((b"flags", b"Features", b"model name"))})
    )
