"""Threads and memory of the process: what is chosen, and what the user's own choice overrules."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tlzoo.machine.runtime import PROCESS, free_memory, keep_memory, processes, shared_memory, usable_cores

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an allocator of another kind")

# Page faults of the second of two equal blocks of 64 MB.
FAULTS = """
import resource
from tlzoo.machine.runtime import keep_memory
kept = keep_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * (64 << 20)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del block
print(kept, after - before)
"""
THREADS = (
    "import torch; from tlzoo.machine import runtime; runtime.configure(); print(torch.get_num_threads())"
)


def answer(code, **environment):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "OMP_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@glibc_only
def test_freed_memory_is_kept():
    kept, faults = answer(FAULTS)
    assert kept == "True"
    assert int(faults) < 100


# Resident MB beside small blocks that stay, after large ones of ever other sizes were freed.
HOLES = """
from pathlib import Path
from tlzoo.machine import runtime

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if {release}:
    assert runtime.release_memory({{}})
start, stay = resident(), []
for size in range(30, 4, -1):
    block = b"x" * (size << 20)
    stay.append(b"y" * 100_000)
    del block
print((resident() - start) // 10**6)
"""


@glibc_only
def test_large_blocks_leave_no_holes():
    assert int(answer(HOLES.format(release=False))[0]) > 20  # as glibc does by itself
    assert int(answer(HOLES.format(release=True))[0]) < 5


@glibc_only
@pytest.mark.parametrize(
    "environment", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.top_pad=131072"}]
)
def test_settings_of_the_environment_win(environment):
    kept, faults = answer(FAULTS, **environment)
    assert kept == "False"
    assert int(faults) > 1000


@pytest.mark.parametrize("library", ["", "musl"])
def test_other_libraries_are_left_alone(library, monkeypatch):
    monkeypatch.setattr("platform.libc_ver", lambda: (library, ""))
    monkeypatch.setattr("ctypes.CDLL", None)
    assert not keep_memory({})


def test_shared_memory_is_what_the_folder_has_left(tmp_path):
    assert shared_memory(tmp_path) == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert shared_memory(tmp_path / "nowhere") == 0


def test_threads_follow_the_cores_unless_told():
    usual, told = answer(f"{THREADS}; runtime.configure(threads=1); print(torch.get_num_threads())")
    assert 1 <= int(usual) <= min(CORES, 8)
    assert told == "1"
    assert answer(THREADS, OMP_NUM_THREADS="1") == ["1"]


# Which control groups this process is in, from the folder of all of them.
GROUP = "../../../proc/self/cgroup"


def write(root, files):
    for name, text in files.items():
        path = Path(os.path.normpath(root / "sys/fs/cgroup" / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "400000 100000\n"}, 4),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 64),
        ({"cpu.max": "nonsense\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "300000\n"}, 64),
        ({GROUP: "0::/job/step\n", "job/cpu.max": "200000 100000\n", "job/step/cpu.max": "max 100000\n"}, 2),
        ({GROUP: "0::/../elsewhere\n", "cpu.max": "200000 100000\n"}, 2),
    ],
)
def test_cores_are_what_the_control_group_grants(files, wanted, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)), raising=False)
    write(tmp_path, files)
    assert usable_cores(tmp_path) == wanted


def test_cores_are_what_the_affinity_grants(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {3, 5}, raising=False)
    assert usable_cores(tmp_path) == 2


MEMINFO = "../../../proc/meminfo"
FREE = {MEMINFO: "MemTotal:  9000 kB\nMemAvailable:  4000 kB\nHugePages_Free: 0\n"}


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, sys.maxsize),
        (FREE, 4_096_000),
        ({"memory.max": "max", "memory.current": "7", **FREE}, 4_096_000),
        (
            {
                "memory.max": "3000",
                "memory.current": "2000",
                "memory.stat": "anon 1\ninactive_file 500\n",
                **FREE,
            },
            1500,
        ),
        (
            {
                "memory/memory.limit_in_bytes": "3000",
                "memory/memory.usage_in_bytes": "3100",
                "memory/memory.stat": "total_inactive_file 0\n",
            },
            0,
        ),
        (
            {
                GROUP: "0::/system.slice/job_7/step_0\n",
                "system.slice/job_7/step_0/memory.max": "max",
                "system.slice/job_7/memory.max": "3000",
                "system.slice/job_7/memory.current": "2000",
                "system.slice/job_7/memory.stat": "inactive_file 0\n",
                **FREE,
            },
            1000,
        ),
        (
            {
                GROUP: "4:memory:/slurm/job_7\n3:cpu,cpuacct:/\n",
                "memory/slurm/job_7/memory.limit_in_bytes": "3000",
                "memory/slurm/job_7/memory.usage_in_bytes": "1000",
                "memory/slurm/job_7/memory.stat": "total_inactive_file 0\n",
                **FREE,
            },
            2000,
        ),
    ],
    ids=[
        *("unknown", "system", "no limit", "version 2", "version 1, full"),
        *("above the own group", "below the top, version 1"),
    ],
)
def test_memory_is_what_system_and_control_group_leave(files, wanted, tmp_path):
    write(tmp_path, files)
    assert free_memory(tmp_path) == wanted


@pytest.mark.parametrize(("free", "wanted"), [(100, 8), (5, 5), (0, 1)])
def test_processes_are_as_many_as_cores_and_memory_allow(free, wanted, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    write(tmp_path, {MEMINFO: f"MemAvailable: {free * PROCESS // 1024} kB\n"})
    assert processes(tmp_path) == wanted


FREED = """
import numpy as np
from pathlib import Path
from tlzoo.machine import runtime

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

assert runtime.keep_memory({})
start = resident()
held = [np.ones(50_000) for _ in range(500)]  # 200 MB
del held
kept = resident() - start
runtime.give_back()
print(kept // 10**6, (resident() - start) // 10**6)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is that of glibc")
def test_what_was_freed_goes_back_when_asked():
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    kept, after = map(int, done.stdout.split())
    assert kept > 150
    assert after < 20
