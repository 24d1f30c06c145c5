"""Do intervals of folds hold new crystals? ``python -m benchmarks.coverage DATA … [--size N] [--trials N]``.

Networks learn from a few crystals in five folds, and are asked for the others, which none of them has seen.
"""

import argparse
import sys
import tempfile

import numpy as np

import tlzoo
from tlzoo.data import named
from tlzoo.machine import runtime
from tlzoo.model import cross_conformal


def main() -> None:
    """Print a line per data set: what intervals held, of how many; and in turn, within the folds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("data", nargs="+", help="data sets with one target")
    parser.add_argument("--model", default="cgcnn-fe", help="the one to fine-tune")
    parser.add_argument("--size", type=int, default=100, help="crystals in the folds")
    parser.add_argument("--new", type=int, default=500, help="crystals to ask for, at most")
    parser.add_argument("--trials", type=int, default=3, help="times that both are drawn anew")
    parser.add_argument("--epochs", type=int, default=10, help="of each training")
    given = parser.parse_args()
    runtime.configure()
    for name in given.data:
        held = np.sum([trial(name, seed, given) for seed in range(given.trials)], axis=0)
        (new, asked), (turn, inside) = held.reshape(2, 2).tolist()
        sys.stdout.write(
            f"{name}: {new:,} of {asked:,} new crystals ({new / asked:.1%}); "
            f"of those in folds, by the errors of the others, {turn:,} of {inside:,} ({turn / inside:.1%})\n"
        )
        sys.stdout.flush()


def trial(name: str, seed: int, given: argparse.Namespace) -> list[int]:
    """Train, and return how many new crystals were held of how many, and the same of those in the folds."""
    crystals = named.load(name)
    target = named.find(name).default_target
    assert target is not None
    known = np.flatnonzero(crystals.known(target))
    rows = np.random.default_rng(seed).permutation(known)[: given.size + given.new]
    some = crystals.select(np.sort(rows))
    with tempfile.TemporaryDirectory() as folder:
        found = tlzoo.fit(
            some, target, from_=given.model, strategy="new-head", epochs=given.epochs, seed=seed, folds=5,
            test=len(rows) - given.size, quiet=True, run_dir=f"{folder}/run",
        )  # fmt: skip
        held = cross_conformal.read(found.run_dir).facts["held"][target]
    return [*held["test"], *held["in turn"]]


if __name__ == "__main__":
    main()
