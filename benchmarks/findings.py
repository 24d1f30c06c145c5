"""What the studies say about the findings of Devi et al. (2024): ``python -m benchmarks.findings --dir DIR``.

Reads the results of the shipped studies, all in one directory, and prints for each its table and the claims
that it can decide, beside those of the paper where its numbers are at hand (``TLZOO_DATA``). Trains nothing.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from tlzoo.evaluation.results import error_text
from tlzoo.study import load
from tlzoo.study.report.measures import Measures, measure
from tlzoo.study.study_folder import Folder

STUDIES = Path(__file__).parents[1] / "configs" / "studies"
PARTS = (
    *("pairs", "ft-size", "pt-size", "strategies", "sampling-lr", "mpt", "jarvis-2d", "controls"),
    *("ensembles", "ensembles-100", "recipe-100", "matbench-phonons", "transfer-alignn", "strategies-alignn"),
    *("transfer-alignn-full", "kinds", "kinds-five", "phonons-long", "kept-head", "other-crystals", "starts"),
)


def main() -> None:
    """Print tables and claims."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.findings", description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--dir", type=Path, required=True, help="directory with the results of all studies")
    given = parser.parse_args()
    for part in given.parts:
        numbers = measure(load(STUDIES / f"{part}.yaml"), Folder(given.dir), {})
        print(f"\n## {numbers.study.report.title or part}\n")
        if numbers.table.empty:
            print("no results yet")
            continue
        print(table(numbers))
        for line in CLAIMS.get(part, nothing)(numbers):
            print(f"- {line}")


def table(numbers: Measures) -> str:
    """Return errors, and gains over the baseline with their intervals, the last axis but the first across."""
    down, across = list(numbers.kept[:1]), [name for name in numbers.kept[1:] if name != "source"]
    lines = [name for name in numbers.kept if name not in {*down, *across}]
    if not lines:
        across, lines = across[:-1], across[-1:]
    shown = numbers.table.assign(cell=[cell(row) for _, row in numbers.table.iterrows()])
    by = [*down, *across]
    wide = shown.pivot_table(index=by, columns=lines, values="cell", aggfunc="first", sort=False)
    return str(wide.fillna("").reset_index().to_markdown(index=False))


def cell(row: "pd.Series[float]") -> str:
    """Return an error, its spread, and the gain in percent with its interval."""
    error = error_text(row["test_mae"], row["test_mae_sd"])
    if pd.isna(row["gain"]):
        return error
    told = f"{error}; {100 * row['gain']:+.1f} %"
    if pd.isna(row["gain_low"]):
        return told
    return f"{told} ({100 * row['gain_low']:.0f} to {100 * row['gain_high']:.0f})"


def ordered(gains: "pd.Series[float]") -> str:
    """Return mean gains by name, the largest first."""
    return ", ".join(
        f"{name} {100 * gain:.1f} %" for name, gain in gains.sort_values(ascending=False).items()
    )


def counted(table: pd.DataFrame, what: str) -> str:
    """Say in how many rows the gain is positive, for sure or not, and its mean."""
    gains = table["gain"].dropna()
    sure, harm = (table["gain_low"] > 0).sum(), (table["gain_high"] < 0).sum()
    mean = f"{100 * gains.mean():.1f} %" if len(gains) else "unknown"
    return (
        f"{what}: better than the baseline in {(gains > 0).sum()} of {len(gains)}, by {mean} on average; "
        f"interval above zero in {sure}, below zero in {harm}"
    )


def published(table: pd.DataFrame) -> str:
    """Say the same of the published numbers."""
    gains = table["published_gain"].dropna()
    if gains.empty:
        return "published numbers are not at hand"
    return f"published: {(gains > 0).sum()} of {len(gains)}, {100 * gains.mean():.1f} % on average"


def nothing(_: Measures) -> Iterable[str]:
    """Claim nothing."""
    return ()


def of_pairs(numbers: Measures) -> Iterable[str]:
    """Count pairs, by target and by source."""
    table = numbers.table[numbers.table["source"] != "scratch"]
    yield counted(table, "pairs")
    yield published(table)
    for axis in ("target", "source"):
        yield f"mean gain by {axis}: {ordered(table.groupby(axis, sort=False)['gain'].mean())}"


def of_sizes(numbers: Measures) -> Iterable[str]:
    """Count gains by the number of crystals."""
    table = numbers.table[numbers.table["source"] != "scratch"]
    axis = next(name for name in numbers.kept if name not in {"target", "source"})
    for (size, source), rows in table.groupby([axis, "source"], sort=False):
        yield counted(rows, f"{axis} {size}, {source}")


def of_sources(numbers: Measures) -> Iterable[str]:
    """Order sources by their mean gain."""
    table = numbers.table[numbers.table["source"] != "scratch"]
    others = [name for name in numbers.kept if name not in {"target", "source"}]
    for key, rows in table.groupby(others, sort=False) if others else [((), table)]:
        place = " ".join(f"{name} {value}," for name, value in zip(others, key, strict=True))
        told = ordered(rows.groupby("source", sort=False)["gain"].mean())
        yield f"{place} mean gain over the targets: {told}".strip()
        best = rows.sort_values("test_mae").drop_duplicates("target")
        named = ", ".join(f"{row['target']}: {row['source']}" for _, row in best.iterrows())
        yield f"{place} best by target: {named}".strip()


def of_ensembles(numbers: Measures) -> Iterable[str]:
    """Count gains of several fine-tuned networks over as many from scratch."""
    table = numbers.table[numbers.table["start"] != "scratch"]
    for size, rows in table.groupby("size", sort=False):
        yield counted(rows, f"{size} crystals")


def of_strategies(numbers: Measures) -> Iterable[str]:
    """Compare strategies with training everything."""
    table = numbers.table[numbers.table["strategy"] != "all"]
    for (size, strategy), rows in table.groupby(["size", "strategy"], sort=False):
        yield counted(rows, f"{size} crystals, {strategy}")


def of_sampling(numbers: Measures) -> Iterable[str]:
    """Compare ways to choose the crystals, each at the rate that suits it best."""
    best = numbers.table.sort_values("test_mae").drop_duplicates(["target", "how"])
    for target, rows in best.groupby("target", sort=False):
        told = ", ".join(f"{row['how']} {row['test_mae']:.4g} at {row['rate']}" for _, row in rows.iterrows())
        yield f"{target}, the best rate of each: {told}"


CLAIMS: dict[str, Callable[[Measures], Iterable[str]]] = {
    "pairs": of_pairs,
    "ft-size": of_sizes,
    "pt-size": of_sizes,
    "strategies": of_strategies,
    "sampling-lr": of_sampling,
    "mpt": of_sources,
    "ensembles": of_ensembles,
    "ensembles-100": of_ensembles,
    "jarvis-2d": of_sources,
    "starts": of_sources,
}


if __name__ == "__main__":
    main()
