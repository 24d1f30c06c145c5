"""Two processes that convert one data set at once both get it, and leave it whole."""

import os
import subprocess
import sys

import numpy as np

from tlzoo.crystals import Crystals

ROUNDS = 12
# matminer's file is a download; all that comes after it is real
CONVERT = """\
import logging, os, sys
import pandas as pd
from pymatgen.core import Lattice, Structure
from tlzoo.crystals import Crystals
from tlzoo.data import named

logging.basicConfig(level=logging.WARNING)
salts = [Structure(Lattice.cubic(4 + i / 1000), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3]) for i in range(300)]
# numbers that do not compress, so that writing takes a while
table = pd.DataFrame({"structure": salts, "last phdos peak": [(i * 0.6180339887) % 1 for i in range(300)]})
named.frame = lambda name, homes, wanted_for: table
print("ready", flush=True)
for line in sys.stdin:
    os.environ["TLZOO_CACHE"] = line.strip()
    crystals = named.load("phonons")
    kept = Crystals.read_parquet(named.cache_dir() / "datasets" / "phonons.parquet")
    print(crystals.content_hash, kept.content_hash, len(kept), flush=True)
"""


def test_two_processes_convert_one_data_set(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TLZOO_DATA"}
    command = [sys.executable, "-c", CONVERT]
    two = [
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        assert [process.stdout.readline() for process in two] == ["ready\n"] * 2
        for number in range(ROUNDS):
            cache = tmp_path / str(number)
            for process in two:
                process.stdin.write(f"{cache}\n")
                process.stdin.flush()
            one, other = (process.stdout.readline().split() for process in two)
            assert one == other
            assert one[0] == one[1]
            table = cache / "datasets" / "phonons.parquet"
            assert list(table.parent.iterdir()) == [table]
            crystals = Crystals.read_parquet(table)
            assert crystals.content_hash == one[0]
            np.testing.assert_array_equal(crystals.ids, [str(i) for i in range(300)])
    finally:
        said = [process.communicate()[1] for process in two]
    # no warning either, such as of a file that could not be written
    assert "WARNING" not in "".join(said), said
    assert [process.returncode for process in two] == [0, 0]
