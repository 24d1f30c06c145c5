"""Find the crystals to keep out of pre-training and write their list."""

import argparse
import sys
from pathlib import Path

from tlzoo.data import named
from tlzoo.data.pretraining.exclusions import HELD_OUT, LIST, counts, find, write
from tlzoo.data.pretraining.merged import SOURCES


def main() -> None:
    """Read, compare, write, and say how many crystals each test set keeps out of each source."""
    parser = argparse.ArgumentParser(prog="python -m tlzoo.data.pretraining", description=__doc__)
    parser.add_argument("--output", type=Path, default=LIST, help="file to write (default: the one in use)")
    given = parser.parse_args()
    tables = {
        name: named.load(name) for name in {**dict.fromkeys(SOURCES), **{t.data_set: None for t in HELD_OUT}}
    }
    found = find(tables, SOURCES)
    write(found, {name: tables[name] for name in SOURCES}, given.output)
    sys.stdout.write(f"{counts(found).to_string()}\n{len(found):,} crystals in {given.output}\n")


if __name__ == "__main__":
    main()
