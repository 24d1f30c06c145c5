"""Time what a newcomer waits for, from a clone to a prediction: `python -m maintenance.first_prediction`.

The commands of the README run in a folder that did not exist, with a new environment and no cache of tlzoo;
packages that pip has in its cache are not downloaded again unless `--no-cache` is given.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
COMMANDS: Final = (
    "git clone --quiet {root} tlzoo",
    "{python} -m venv .venv",
    ".venv/bin/pip install --quiet --disable-pip-version-check {pip} -c tlzoo/constraints.txt ./tlzoo",
    ".venv/bin/tlzoo predict momentnet-all tlzoo/docs/tutorials/GaN.cif",
    ".venv/bin/tlzoo predict momentnet-all tlzoo/docs/tutorials/GaN.cif",
)


def main(args: Sequence[str] | None = None) -> int:
    """Run the commands and print their times."""
    parser = argparse.ArgumentParser(prog="python -m maintenance.first_prediction", description=__doc__)
    parser.add_argument("--no-cache", action="store_true", help="let pip download everything")
    parser.add_argument("--python", default=sys.executable, help="Python of the new environment")
    given = parser.parse_args(args)
    fill = {"root": ROOT, "python": given.python, "pip": "--no-cache-dir" if given.no_cache else ""}
    with tempfile.TemporaryDirectory() as folder:
        hidden = {"PYTHONPATH", "VIRTUAL_ENV"} | {name for name in os.environ if name.startswith("TLZOO_")}
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        environment = {**kept, "TLZOO_CACHE": str(Path(folder, "cache"))}
        wall = processor = 0.0
        for text in COMMANDS:
            command = text.format(**fill)
            start, before = time.monotonic(), _processor()
            done = subprocess.run(command.split(), cwd=folder, env=environment, check=False)  # noqa: S603
            if done.returncode:
                return done.returncode
            wall, processor = wall + time.monotonic() - start, processor + _processor() - before
            print(f"{wall:7.1f} s, {processor:6.1f} s of processor time: {command}", flush=True)
    return 0


def _processor() -> float:
    """Return the processor time of all commands that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
