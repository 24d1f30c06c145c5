"""Accuracy over the trials or folds of an experiment: ``python -m benchmarks.accuracy CONFIG… [--jobs 2]``.

Each trial is `tlzoo fit` and `tlzoo test` in a run directory of its own; what is there already is not
computed again. Ends with a table: mean and standard deviation of the test MAE beside the trivial baselines.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

# What varies in a published split, and the values it takes.
VARIED = {"PaperTrial": ("trial", range(1, 6)), "MatbenchFold": ("fold", range(5))}
FORESTS, CONSTANTS = "random forest", "mean"


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("configs", nargs="+", type=Path, help="experiments: configs/experiments/NAME.yaml")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/accuracy"), help="where the run directories go"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one thread each")
    parser.add_argument("--only-first", action="store_true", help="the first trial or fold alone")
    given = parser.parse_args()
    tasks = {config: trials(config, given.runs, first=given.only_first) for config in given.configs}
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(run, [trial for group in tasks.values() for trial in group]))
    print(f"{'experiment':28}{'runs':>5}{'test MAE':>20}{'constant':>11}{'forest':>11}  unit")
    for config, group in tasks.items():
        print(
            line(config.stem, [json.loads((folder / "metrics.json").read_text()) for _, folder, _ in group])
        )


def trials(config: Path, runs: Path, *, first: bool) -> list[tuple[Path, Path, list[str]]]:
    """Return configuration, run directory and further arguments of each trial."""
    split = yaml.safe_load(config.read_text())["data"]["split"]["class_path"].rpartition(".")[2]
    name, values = VARIED[split]
    return [
        (config, runs / f"{config.stem}-{name}{value}", [f"--data.split.init_args.{name}={value}"])
        for value in list(values)[: 1 if first else None]
    ]


def run(trial: tuple[Path, Path, list[str]]) -> None:
    """Fit and test, unless that is done."""
    config, folder, arguments = trial
    metrics = folder / "metrics.json"
    if metrics.exists() and "baselines" in json.loads(metrics.read_text()):
        return
    folder.mkdir(parents=True, exist_ok=True)
    fit = ["fit", "--config", str(config), "--run_dir", str(folder), *arguments]
    for command in ([*fit, "--trainer.enable_progress_bar=false"], ["test", str(folder)]):
        with (folder / "log.txt").open("a") as log:
            done = subprocess.run(
                [sys.executable, "-m", "tlzoo", *command],
                stdout=log,
                stderr=log,
                check=False,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        if done.returncode:
            sys.exit(f"{folder}: {' '.join(command)} failed; see {folder / 'log.txt'}")


def line(name: str, results: list[dict[str, Any]]) -> str:
    """One row of the table."""
    (unit,) = results[0]["targets"].values()
    errors = [result["test"]["mae"] for result in results]
    error = f"{mean(errors):.4g}" + (f" ± {stdev(errors):.3g}" if len(errors) > 1 else "")
    constant, forest = (
        mean(next(iter(result["baselines"].values()))[baseline]["test"]["mae"] for result in results)
        for baseline in (CONSTANTS, FORESTS)
    )
    return f"{name:28}{len(errors):>5}{error:>20}{constant:>11.4g}{forest:>11.4g}  {unit}"


if __name__ == "__main__":
    main()
