"""How the process computes: threads and memory. Commands set it at their start; importing tlzoo does not."""

import ctypes
import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

# A batch is some hundred operations on about 10⁶ numbers, each ending at a barrier; torch gives a thread at
# least 32,768 of them. A few cores fill the memory's bandwidth; more make only the barriers slower.
MAX_THREADS = 8

# Of <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8
# Bytes from which a block is a mapping of its own if memory is not kept: what a network computes of a batch.
LARGE = 4 * 2**20
# Bytes that a process takes, beside what it shares: torch, some thousand crystals with their graphs, a batch.
PROCESS = 2**30

# Set before the process starts, these say that somebody has chosen the allocator's settings.
CHOSEN = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


def configure(threads: int | None = None, *, keep: bool = True) -> None:
    """Set threads and memory for networks of this size; call it before the first computation.

    By default there are ``OMP_NUM_THREADS`` of an operation, else :func:`usable_cores`, at most 8. Without
    ``keep`` what was freed may go back to the system, see :func:`keep_memory`, and is for all threads to use.
    """
    if keep:
        keep_memory()
    else:
        release_memory()
    # oneDNN, which multiplies in bf16, keeps a program per shape, by default 1024 of some 300 kB; here no two
    # batches have the same shapes
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    # pyarrow's own allocator keeps what it had for the largest table; that of C gives it back when asked
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores(), MAX_THREADS))


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let each operation of torch use one thread: several share its sums out in another way."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def speak() -> None:
    """Let what tlzoo has to say of its progress, and warnings of others, come to the screen as plain text."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("tlzoo").setLevel(logging.INFO)


def shared_memory(folder: Path = Path("/dev/shm")) -> int:  # noqa: S108 (no file of ours is there)
    """Return how many bytes processes can still share; 0 where nobody can tell."""
    return shutil.disk_usage(folder).free if folder.is_dir() else 0


def multiplies_bf16() -> bool:
    """Return whether this processor multiplies matrices in bf16 faster than in fp32, not slower by far."""
    import torch

    # there is no public question; one that torch no longer answers is taken for a yes
    known = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return known is None or bool(known())


def keep_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Let the C allocator keep what was freed, for the next step to use; return whether it will.

    By default glibc maps every block above 32 MB anew and gives it back when freed: each step of a training
    then touches all its memory for the first time, with a page fault per 4 kB, and an addition of 32 MB takes
    seven times as long. The price: a peak up to a third higher, as freed blocks do not always fit.

    Not done off Linux, with another C library, or if the environment has settings of the allocator.

    References:
        mallopt(3).
    """
    return _set(environment, {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1})


def release_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Let the system have large blocks as soon as they are freed; return whether it will.

    By default glibc raises the size from which it does so to that of the largest block that was freed. No
    two batches are of one size, so what one leaves seldom fits, and the memory of a long screening creeps up.
    The price, a page fault per 4 kB, is paid but once per 2 MB, where the system has pages of that size.

    References:
        mallopt(3).
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch
    # one arena: else each thread frees into its own, where the others find nothing
    return _set(environment, {M_ARENA_MAX: 1, M_MMAP_THRESHOLD: LARGE, M_TRIM_THRESHOLD: 2 * LARGE})


def _set(environment: Mapping[str, str], options: Mapping[int, int]) -> bool:
    """Set options of the allocator, unless the environment has some or the C library is another."""
    chosen = any(name in environment for name in CHOSEN)
    if chosen or "glibc.malloc" in environment.get("GLIBC_TUNABLES", ""):
        return False
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(option, value) for option, value in options.items())


def give_back() -> None:
    """Let the system have what was freed: after a large table was read, and after each of many small ones.

    What :func:`keep_memory` keeps for the next step, and pyarrow for the next table, would stay beside what
    comes next. Having it again costs a page fault per 4 kB: worth it after seconds of work, not after a step.

    References:
        malloc_trim(3).
    """
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def processes(root: Path = Path("/")) -> int:
    """Return in how many processes to compute: one per usable core, as far as there is memory for them."""
    return max(1, min(usable_cores(root), free_memory(root) // PROCESS))


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use, by affinity and by the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> list[float]:
    """Return the cores that control groups grant, of version 2 and 1, where they limit them."""
    quotas = []
    for name in ("cpu.max", "cpu.cfs_quota_us"):
        for group in _groups(root, "" if name == "cpu.max" else "cpu"):
            # no such group, or none that is limited
            with suppress(OSError, ValueError):
                quota, *rest = (group / name).read_text().split()
                period = rest[0] if rest else (group / "cpu.cfs_period_us").read_text()
                if quota not in {"max", "-1"}:
                    quotas.append(float(quota) / float(period))
    return quotas


def free_memory(root: Path = Path("/")) -> int:
    """Return how many bytes the system and the limits of control groups leave; very many if unknown."""
    free = [sys.maxsize]
    with suppress(OSError, ValueError):
        free.append(1024 * _sizes(root / "proc/meminfo")["MemAvailable:"])
    for controller, limit, used, cached in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for group in _groups(root, controller):
            # no such group, or "max"
            with suppress(OSError, ValueError, KeyError):
                there, taken = (int((group / name).read_text()) for name in (limit, used))
                # files that were read count as used, but make room
                free.append(there - taken + _sizes(group / "memory.stat")[cached])
    return max(0, min(free))


def _groups(root: Path, controller: str) -> list[Path]:
    """Return the folders of the control group of this process and of all above it.

    Batch systems limit a group somewhere below the top; in a container the top is its own.

    Args:
        root: Of the file system.
        controller: What they limit, of version 1; of version 2 empty.

    References:
        cgroups(7).
    """
    top = root / "sys/fs/cgroup" / controller
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                own = PurePosixPath(path.lstrip("/"))
                return [top / own, *(top / above for above in own.parents)]
    return [top]


def _sizes(path: Path) -> dict[str, int]:
    """Return the numbers of a file with a name and a number in each line."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {name: int(number) for name, number, *_ in lines}
