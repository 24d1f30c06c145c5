"""Lattice thermal conductivity from few labels, by every route: ``python -m benchmarks.thermal``.

Trains the source networks of ``configs/experiments/{p3,sps}-*.yaml``, several seeds of each, once with and
once without the crystals whose conductivity is known; then cross-validates regressions on their frozen
features, on raw descriptors and on graph embeddings, as ``tlzoo features`` does. What was trained before is
not trained again. Tables go to ``benchmarks/results/thermal.md``, figures to ``thermal.json`` beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from tlzoo.__main__ import main as tlzoo
from tlzoo.data import named
from tlzoo.model.trained import load
from tlzoo.transfer.features.features_request import Request
from tlzoo.transfer.features.learning import CHOSEN, MEAN, transfer

RESULTS = Path(__file__).parent / "results"
EXPERIMENTS = Path("configs/experiments")
LEAVE_OUT = Path("configs/leave-out/kappa.yaml")

# Seeds of each source network: the features of one depend on its seed, those of several side by side less.
SEEDS = {"p3-descriptors": 5, "sps-descriptors": 5, "agl-descriptors": 2, "p3-cgcnn": 3}
SETTINGS = ("left out", "kept")
CARDS = ("cgcnn-fe", "cgcnn-gv", "cgcnn-mpt")
# What is judged: data set, column, folds and how often they are drawn.
TARGETS = {
    "Ju et al., 45 crystals": ("ju2021_sps_kappa", "kappa"),
    "phononDB-PBE, 103 crystals": ("kappa103", "kappa_300K"),
}
# Folds, how often they are drawn, what is left out together.
LEAVE_ONE_OUT = ("leave-one-out", 1, "composition")
JUDGED = {
    "Ju et al., 45 crystals": (LEAVE_ONE_OUT, ("leave-one-out", 1, "none"), ("5-fold", 3, "composition")),
    "phononDB-PBE, 103 crystals": (("5-fold", 3, "composition"),),
}
CURVE = (10, 20, 40, 80)
RAW = "descriptors"
# Errors in ln κ, and in W/(m K).
FIGURES = {"mae": "ln", "r2": "ln", "rmse": "unit"}

Judged = tuple[str, int, str]
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, cross-validate, write and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.thermal", description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/thermal"), help="default: runs/thermal")
    parser.add_argument("--results", type=Path, default=RESULTS, help="default: benchmarks/results")
    parser.add_argument("--train-only", action="store_true", help="stop when the source networks are there")
    given = parser.parse_args(arguments)
    networks = {setting: train(given.runs / setting.replace(" ", "-"), setting) for setting in SETTINGS}
    if given.train_only:
        return 0
    content = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "sources": [
            about(name, setting, runs) for setting in SETTINGS for name, runs in networks[setting].items()
        ],
        "ranks": [row for setting in SETTINGS for row in ranks(setting, networks[setting])],
        "errors": [
            row
            for title in TARGETS
            for judged in JUDGED[title]
            for row in [
                *compare(title, "", {name: name for name in (RAW, *CARDS)}, judged),
                *(
                    row
                    for setting in SETTINGS
                    for row in transfers(title, setting, networks[setting], judged)
                ),
            ]
        ],
        "curve": curve(networks["left out"]),
    }
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "thermal.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    text = written(content)
    (given.results / "thermal.md").write_text(text)
    sys.stdout.write(text)
    return 0


def train(folder: Path, setting: str) -> dict[str, list[str]]:
    """Train the source networks that are not there yet; return their run directories, by source."""
    runs = {name: [f"{folder}/{name}-{seed}" for seed in range(count)] for name, count in SEEDS.items()}
    for name, directories in runs.items():
        for seed, directory in enumerate(directories):
            metrics = Path(directory) / "metrics.json"
            if metrics.exists() and "test" in json.loads(metrics.read_text()):
                continue
            configs = [EXPERIMENTS / f"{name}.yaml", *[LEAVE_OUT] * (setting == "left out")]
            layers = [part for path in configs for part in ("--config", str(path))]
            done = tlzoo(["fit", *layers, "--seed_everything", str(seed), "--run_dir", directory])
            done = done or tlzoo(["test", directory])
            if done:
                raise SystemExit(done)
    return runs


def about(name: str, setting: str, runs: Sequence[str]) -> Row:
    """Return how well source networks know what they learned, on their own test parts."""
    metrics = [json.loads((Path(run) / "metrics.json").read_text()) for run in runs]
    split = json.loads((Path(runs[0]) / "split.json").read_text())
    found = {part: float(np.mean([one["test"][part] for one in metrics])) for part in ("mae", "r2")}
    return {"source": name, "setting": setting, "learned from": len(split["train"]), **found}


def ranks(setting: str, networks: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return the rank correlation of the predicted phase space with the known conductivities."""
    found = []
    for title, (source, column) in TARGETS.items():
        crystals = named.load(source)
        crystals = crystals.select(np.flatnonzero(~np.isnan(crystals.column(column))))
        for name, runs in networks.items():
            # a mean over seeds of logarithms
            spaces = np.array([load(run).predict(crystals).iloc[:, 1] for run in runs])
            space = (np.log(spaces) if name.startswith("sps") else spaces).mean(axis=0)
            rho = float(spearmanr(space, crystals.column(column)).statistic)
            found.append({"target": title, "source": name, "setting": setting, "spearman": rho})
    return found


def transfers(title: str, setting: str, networks: Mapping[str, Sequence[str]], judged: Judged) -> list[Row]:
    """Return the errors of what the source networks know, of raw descriptors, and of both together."""
    joined = {f"{name}, {len(runs)} seeds": "+".join(runs) for name, runs in networks.items()}
    graphs = {name: joined.pop(name) for name in list(joined) if "cgcnn" in name}
    rows = compare(title, setting, joined, judged, together=True)
    rows += compare(title, setting, graphs, judged)
    return rows


def compare(
    title: str, setting: str, routes: Mapping[str, str], judged: Judged, *, together: bool = False
) -> list[Row]:
    """Return the errors of regressions on features, one row per source.

    Args:
        title: Which conductivities.
        setting: What the source networks have seen.
        routes: Sources of features by the name they have in the table.
        judged: Folds, how often they are drawn, what is left out together.
        together: Also where the source is chosen within the folds, and for the mean over the sources.
    """
    source, column = TARGETS[title]
    cv, repeats, group = judged
    report = transfer(
        Request(
            sources=[source],
            targets=[column],
            features=[*routes.values()],
            cv=cv,
            repeats=repeats,
            groups=[group],
            log=True,
        )
    )
    names = {path: name for name, path in routes.items()}
    names |= {CHOSEN: "any of these three", MEAN: "mean of these three"} if together else {}
    rows = []
    for result in report.results:
        if result.features not in names:
            continue
        figures = report.figures(result)
        found = {"mae": figures["ln"]["mae"], "r2": figures["ln"]["r2"], "rmse": figures["unit"]["rmse"]}
        spread = {f"{key}_sd": figures[space][f"{key}_sd"] for key, space in FIGURES.items() if repeats > 1}
        layer = next(iter(result.layers))
        facts = {"target": title, "cv": cv, "repeats": repeats, "group": group, "setting": setting}
        rows.append({**facts, "features": names[result.features], **found, **spread, "layer": layer})
        sys.stderr.write(f"{json.dumps(rows[-1], ensure_ascii=False)}\n")
    return rows


def curve(networks: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return the errors of each route by the number of conductivities to learn from."""
    source, column = TARGETS["phononDB-PBE, 103 crystals"]
    joined = {
        f"{name}, {len(runs)} seeds": "+".join(runs) for name, runs in networks.items() if "cgcnn" not in name
    }
    rows: list[Row] = []
    for routes in (joined, {name: name for name in (RAW, "cgcnn-fe")}):
        features = [*routes.values()]
        asked = Request(
            sources=[source],
            targets=[column],
            features=features,
            cv="5-fold",
            repeats=3,
            log=True,
            curve=CURVE,
        )
        names = {path: name for name, path in routes.items()}
        names |= {MEAN: "mean of these three"} if routes is joined else {}
        report = transfer(asked)
        rows += [
            {"features": names[result.features], "crystals": result.most, **report.figures(result)["ln"]}
            for result in report.results
            if result.features in names
        ]
    return rows


def written(content: Mapping[str, Any]) -> str:
    """Return everything as a page."""
    lines = [
        "# Thermal conductivity from few labels",
        "",
        f"Made by `python -m benchmarks.thermal`, {content['date']}.",
    ]
    lines += ["", "## Source networks, on their own test parts", ""]
    lines += grid(
        ("source", "target crystals", "learned from", "MAE", "R²"),
        [
            (row["source"], row["setting"], str(row["learned from"]), f"{row['mae']:.3g}", f"{row['r2']:.3f}")
            for row in content["sources"]
        ],
    )
    lines += ["", "## Spearman correlation of the predicted phase space with the conductivity", ""]
    lines += grid(
        ("conductivities", "source", "target crystals", "Spearman"),
        [
            (row["target"], row["source"], row["setting"], f"{row['spearman']:.3f}")
            for row in content["ranks"]
        ],
    )
    for title in TARGETS:
        for cv, repeats, group in JUDGED[title]:
            rows = [
                row
                for row in content["errors"]
                if (row["target"], row["cv"], row["group"]) == (title, cv, group)
            ]
            times = f", {repeats} times" if repeats > 1 else ""
            together = "polymorphs left out together" if group == "composition" else "each crystal by itself"
            lines += ["", f"## {title}: {cv}{times}, {together}", ""]
            heads = (
                "features",
                "target crystals in the source",
                "MAE (ln κ)",
                "R² (ln κ)",
                "RMSE (W/(m K))",
                "layer",
            )
            lines += grid(
                heads,
                [
                    (row["features"], row["setting"], *(shown(row, key) for key in FIGURES), row["layer"])
                    for row in rows
                ],
            )
    lines += ["", "## phononDB-PBE: MAE of ln κ by the number of crystals learned from (5-fold, 3 times)", ""]
    names = list(dict.fromkeys(row["features"] for row in content["curve"]))
    sizes = list(dict.fromkeys(row["crystals"] for row in content["curve"]))
    cell = {(row["features"], row["crystals"]): shown(row, "mae") for row in content["curve"]}
    heads = ("features", *("all" if size is None else str(size) for size in sizes))
    lines += grid(heads, [(name, *(cell[name, size] for size in sizes)) for name in names])
    return "\n".join(lines) + "\n"


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def shown(row: Row, key: str) -> str:
    """Return a figure with its spread."""
    spread = f" ± {row[f'{key}_sd']:.2g}" if f"{key}_sd" in row else ""
    return f"{row[key]:{'.1f' if key == 'rmse' else '.3f'}}{spread}"


if __name__ == "__main__":
    sys.exit(main())
