"""What do models answer that know the property already? ``python -m benchmarks.direct DATA MODEL…``.

Prints the error of each on the test crystals of Devi et al., which no checkpoint has learned from: the figure
that fine-tuning on a part of the same data has to beat.
"""

import argparse

import numpy as np

import tlzoo
from tlzoo.data import named
from tlzoo.data.splits import PaperTrial


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.direct", description=__doc__)
    parser.add_argument("data", help="a data set with published trials: log_gvrh, expt_gap, phonons …")
    parser.add_argument("models", nargs="+", help="checkpoints or run directories")
    given = parser.parse_args()
    crystals = named.load(given.data)
    target = named.find(given.data).default_target or crystals.columns[0]
    # the test crystals are the same in all trials
    test = crystals.select(PaperTrial().split(crystals).test)
    for name in given.models:
        predicted = tlzoo.load(name).predict(test)[target].to_numpy()
        error = np.abs(predicted - test.column(target)).mean()
        print(f"{name}: MAE {error:.4f} {test.units.get(target, '')} on {len(test)} crystals")


if __name__ == "__main__":
    main()
