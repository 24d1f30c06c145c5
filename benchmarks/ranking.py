"""Is a ranking by conductivity sane? ``python -m benchmarks.ranking MODEL [RANKED]``.

MODEL is what ``tlzoo features --save`` wrote, RANKED what ``tlzoo screen`` made of a pool. Printed are
the places of crystals that are known to conduct well, of heavy halides, and the rank correlation with
conductivities of crystals of compositions that the model was not fitted to.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Composition
from scipy.stats import spearmanr

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.learned_from import fitted_crystals
from tlzoo.transfer.features import load

# Lattice thermal conductivities above 100 W/(m K), measured or computed from first principles.
GOOD = ("C", "BN", "BAs", "BP", "SiC", "BeO", "AlN", "GaN", "Si", "BeS", "B4C")
# The crystals that are meant by these names, by their id in the Materials Project.
KNOWN = {
    "diamond": "mp-66",
    "c-BN": "mp-1639",
    "h-BN": "mp-984",
    "graphite": "mp-48",
    "BAs": "mp-10044",
    "BP": "mp-1479",
    "SiC": "mp-8062",
    "BeO": "mp-2542",
    "AlN": "mp-661",
    "GaN": "mp-804",
    "BeS": "mp-422",
    "silicon": "mp-149",
    "germanium": "mp-32",
}
HALOGENS = {"Cl", "Br", "I"}
HEAVY = 70.0  # u per atom, on average
LABELS = {"kappa103": "kappa_300K", "ju2021_sps_kappa": "kappa", "aflow_agl": "kappa_agl_300K"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranking", description=__doc__)
    parser.add_argument("model", help="a folder of `tlzoo features --save`")
    parser.add_argument("ranked", type=Path, nargs="?", help="what `tlzoo screen` made of a pool with it")
    given = parser.parse_args(arguments)
    model = load(given.model)
    learned = fitted_crystals(model.card)
    for name, column in LABELS.items():
        for line in against(name, column, learned, lambda some: model.predict(some).iloc[:, 1].to_numpy()):
            sys.stdout.write(f"{line}\n")
    if given.ranked:
        for line in places(pd.read_parquet(given.ranked), model.card["target"]):
            sys.stdout.write(f"{line}\n")
    return 0


def against(
    name: str, column: str, learned: Crystals, predict: Callable[[Crystals], NDArray[np.float64]]
) -> Iterator[str]:
    """Yield the rank correlation with known conductivities of other compositions."""
    crystals = named.load(name)
    known = ~np.isnan(crystals.column(column)) & ~np.isin(crystals.formulas, learned.formulas)
    crystals = crystals.select(np.flatnonzero(known))
    if len(crystals) < 3:
        return
    rho = spearmanr(predict(crystals), crystals.column(column)).statistic
    others = len(set(crystals.formulas))
    yield f"{name}: Spearman {rho:.3f} on {len(crystals):,} crystals of {others:,} other compositions"


def places(table: pd.DataFrame, target: str) -> Iterator[str]:
    """Yield where crystals of known kinds are in a ranking."""
    size = len(table)
    by_id = table.set_index("id")
    for name, crystal in KNOWN.items():
        if crystal not in by_id.index:
            yield f"{name} ({crystal}) is not in the pool"
            continue
        row = by_id.loc[crystal]
        place = int(row["rank"])
        yield (
            f"{name:9} {place:7,} of {size:,}, {row[target]:.0f} from {row[f'{target}_lower']:.3g} to "
            f"{row[f'{target}_upper']:.3g}{', in training' if row['in_training'] else ''}"
            f"{', out of domain' if row['out_of_domain'] else ''}"
        )
    for formula in GOOD:
        rows = table[table["formula"] == formula]
        if not len(rows):
            yield f"{formula:5} is not in the pool"
            continue
        first = rows.iloc[0]
        middle = int(rows["rank"].median())
        yield (
            f"{formula:5} {len(rows):4} polymorphs, best {first['rank']:7,} of {size:,} "
            f"({first[target]:.0f}), median {middle:7,}; in training: {int(rows['in_training'].sum())}"
        )
    halide = np.array([_heavy_halide(formula) for formula in table["formula"]])
    ranks = table["rank"].to_numpy()[halide]
    yield (
        f"heavy halides: {len(ranks):,}, median place {np.median(ranks) / size:.1%} from the top, "
        f"{np.mean(ranks > size / 2):.1%} in the lower half, best {ranks.min():,}"
    )
    near = table[~table["out_of_domain"]]
    yield f"within the domain: {len(near):,} of {size:,}"
    for row in near.head(30).itertuples():
        note = "known to the model" if row.in_training else ""
        yield f"{row.rank:6} {row.id:14} {row.formula:10} {getattr(row, target):7.0f} {note}"


def _heavy_halide(formula: str) -> bool:
    composition = Composition(formula)
    mass = float(composition.weight) / composition.num_atoms
    return mass > HEAVY and not HALOGENS.isdisjoint(composition.get_el_amt_dict())


if __name__ == "__main__":
    sys.exit(main())
