"""Output where the encoding lacks characters."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("encoding", "wanted"),
    [
        ("ascii", b"1.0 +/- 0.2 R2 ... \\u2192 \\udcff"),
        ("latin-1", b"1.0 \xb1 0.2 R\xb2 ... \\u2192 \\udcff"),
        ("utf-8", "1.0 ± 0.2 R² … → \\udcff".encode()),
    ],
)
def test_what_a_terminal_does_not_know_is_written_plainly(encoding, wanted):
    program = (
        "from tlzoo.machine import streams; streams.prepare(); "
        "print('1.0 \\xb1 0.2 R\\xb2 \\u2026 \\u2192 \\udcff')"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
    assert done.stdout.strip() == wanted
