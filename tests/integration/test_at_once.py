"""Two processes that want one data set at once both get it, and leave it whole."""

import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from matminer.utils.io import store_dataframe_as_json
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals

SIZE = 300
FILE = "matbench_phonons.json.gz"
# but for the address and the hash of matminer's file all is real
CONVERT = """\
import logging, os, sys
from matminer.datasets import dataset_retrieval
from tlzoo.crystals import Crystals
from tlzoo.data import named

logging.basicConfig(level=logging.WARNING)
url, sha256 = sys.argv[1:]
dataset_retrieval._dataset_dict = dataset_retrieval._load_dataset_dict()
dataset_retrieval._dataset_dict["matbench_phonons"] |= {"url": url, "hash": sha256}
print("ready", flush=True)
for line in sys.stdin:
    os.environ["TLZOO_CACHE"] = line.strip()
    crystals = named.load("phonons")
    kept = Crystals.read_parquet(named.cache_dir() / "datasets" / "phonons.parquet")
    print(crystals.content_hash, kept.content_hash, len(kept), flush=True)
"""


@pytest.fixture
def source(tmp_path):
    """A server of matminer's file that takes its time, and the hash of the file."""
    salts = [
        Structure(Lattice.cubic(4 + i / 1000), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3]) for i in range(SIZE)
    ]
    table = pd.DataFrame({"structure": salts, "last phdos peak": np.arange(SIZE) * 0.6180339887 % 1})
    store_dataframe_as_json(table, str(tmp_path / FILE), compression="gz", pbar=False)
    content = (tmp_path / FILE).read_bytes()

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for half in (content[:5000], content[5000:]):
                self.wfile.write(half)
                self.wfile.flush()
                time.sleep(0.05)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{FILE}", hashlib.sha256(content).hexdigest()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("downloaded", "rounds"), [(True, 25), (False, 8)], ids=["there", "fetched"])
def test_two_processes_convert_one_data_set(downloaded, rounds, source, tmp_path):
    without = ("TLZOO_DATA", "MATMINER_DATA", "http_proxy", "HTTP_PROXY")
    environment = {name: value for name, value in os.environ.items() if name not in without}
    command = [sys.executable, "-c", CONVERT, *source]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    two = [subprocess.Popen(command, env=environment, text=True, **pipes) for _ in range(2)]
    try:
        assert [process.stdout.readline() for process in two] == ["ready\n"] * 2
        for number in range(rounds):
            cache = tmp_path / str(number)
            if downloaded:
                (cache / "matminer").mkdir(parents=True)
                shutil.copy(tmp_path / FILE, cache / "matminer")
            for process in two:
                process.stdin.write(f"{cache}\n")
                process.stdin.flush()
            one, other = (process.stdout.readline().split() for process in two)
            assert one == other
            assert one[0] == one[1]
            table = cache / "datasets" / "phonons.parquet"
            assert list(table.parent.iterdir()) == [table]
            assert list((cache / "matminer").iterdir()) == [cache / "matminer" / FILE]
            crystals = Crystals.read_parquet(table)
            assert crystals.content_hash == one[0]
            np.testing.assert_array_equal(crystals.ids, [str(i) for i in range(SIZE)])
    finally:
        said = [process.communicate()[1] for process in two]
    # no warning either, such as of a file that could not be written
    assert "WARNING" not in "".join(said), said
    assert [process.returncode for process in two] == [0, 0]
