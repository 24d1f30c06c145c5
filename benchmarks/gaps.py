"""How far a computed gap alone gets towards the measured one.

``python -m benchmarks.gaps runs/gaps.parquet`` prints, for the trials of Devi et al. (2024), the test error
of the computed gap as it is and of a line through it, beside those of networks on the same crystals
(``results/studies``). The table is that of ``python -m maintenance.gaps``; nothing is trained but the line.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import QuantileRegressor

from tlzoo.crystals import Crystals
from tlzoo.data.splits import PaperTrial

STUDIES: Final = Path(__file__).parent / "results" / "studies"
TARGET: Final = "expt_gap"
TRIALS: Final = range(1, 6)
# study, labels of the runs
NETWORKS: Final = {
    "structure, head kept": ("taught", {"source": "kept-head", "target": TARGET}),
    "formula, head kept": ("formula-gaps", {"source": "kept-head"}),
    "levels together": ("gap-levels", {}),
}

Values = NDArray[np.float64]


def line(computed: Values, measured: Values, asked: Values) -> Values:
    """Return the measured gaps that a line says of computed ones, and 0 where there is no computed gap.

    The line has the least absolute error on the crystals to learn from that have a computed gap.
    """
    there = computed > 0
    fitted = QuantileRegressor(quantile=0.5, alpha=0).fit(computed[there, None], measured[there])
    return np.where(asked > 0, fitted.predict(asked[:, None]), 0.0)


def errors(crystals: Crystals, size: int) -> pd.DataFrame:
    """Return the errors of the five trials, a column for each way."""
    measured = crystals.column(TARGET)
    computed = measured - crystals.column("difference")
    rows = []
    for trial in TRIALS:
        split = PaperTrial(trial=trial, size=size, dataset=TARGET).split(crystals, targets=["difference"])
        learned, test = np.concatenate([split.train, split.val]), split.test
        said = {
            "computed gap as it is": computed[test],
            "a line through it": line(computed[learned], measured[learned], computed[test]),
            **{name: _network(name, size, trial, crystals.ids[test]) for name in NETWORKS},
        }
        rows.append({name: np.abs(gap - measured[test]).mean() for name, gap in said.items()})
    return pd.DataFrame(rows)


def _network(name: str, size: int, trial: int, ids: NDArray[np.object_]) -> Values:
    """Return the stored predictions of a network, none below 0."""
    study, labels = NETWORKS[name]
    runs = pd.read_parquet(STUDIES / f"{study}.parquet")
    runs = runs[runs["chosen"]]
    for axis, value in {**labels, "size": str(size), "trial": trial}.items():
        runs = runs[runs[axis] == value]
    run = runs.iloc[0]
    said: Values = pd.Series(run["predictions"], run["crystals"])[ids].to_numpy().clip(min=0)
    return said


def main() -> None:
    """Print both sizes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gaps", description=__doc__)
    parser.add_argument("table", help="the table of `python -m maintenance.gaps`")
    crystals = Crystals.read_parquet(parser.parse_args().table)
    for size in (800, 100):
        found = errors(crystals, size).agg(["mean", "std"])
        for name, (mean, sd) in found.items():
            sys.stdout.write(f"{size} labels, {name}: {mean:.3f} ± {sd:.3f} eV\n")


if __name__ == "__main__":
    main()
