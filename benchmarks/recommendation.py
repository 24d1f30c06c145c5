"""Does `tlzoo recommend` name good starts? ``python -m benchmarks.recommendation STUDY… [--dir DIR]``.

Takes studies that fine-tuned several models on several targets, scores the same models as `tlzoo recommend`
does on the training crystals of each trial, and compares the order of the scores with the order of the test
errors that fine-tuning reached. ``--frozen DATA … --models NAME …`` compares it with the test errors of the
regression that `tlzoo recommend` scores with, on the paper's trials. Beside it, how a ridge regression would
have scored. Only for looking back: nothing of this chooses a model.
"""

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from tlzoo.data.duplicates import duplicate_groups
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import PaperTrial
from tlzoo.evaluation.baselines import ridge
from tlzoo.evaluation.crossval import cross_validate
from tlzoo.study import load, results
from tlzoo.study.axes import Tree
from tlzoo.study.grid import Study, StudyRun
from tlzoo.study.start_networks import resolved
from tlzoo.study.study_folder import Folder
from tlzoo.transfer.features import estimators, layers
from tlzoo.transfer.features.estimators import SMALL_DATA
from tlzoo.transfer.finetune.candidate import read
from tlzoo.transfer.recommend.scores import features, left_out

# Column of a score by its regression.
SCORES = ("ridge", SMALL_DATA)
SCRATCH = "scratch"


def main() -> None:
    """Print the orders and how far they agree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recommendation", description=__doc__)
    parser.add_argument(
        "studies", nargs="*", type=Path, help="studies with the axes target, source and trial"
    )
    parser.add_argument("--dir", type=Path, help="directory of their results (default: runs/studies/NAME)")
    parser.add_argument("--trials", type=int, nargs="+", default=[1], help="which trials to compare on")
    parser.add_argument("--frozen", nargs="+", default=[], help="data sets that the paper has trials of")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 800], help="crystals of these trials")
    parser.add_argument("--models", nargs="+", default=[], help="models, or descriptors, to read")
    given = parser.parse_args()
    tables = [compared(load(path), given.dir, given.trials) for path in given.studies]
    names = [path.stem for path in given.studies]
    for name in given.frozen:
        for size in given.sizes:
            tables.append(frozen(name, size, given.models, given.trials))
            names.append(f"{name}-{size}")
    table = pd.concat([each.assign(study=name) for each, name in zip(tables, names, strict=True)])
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    for score in SCORES:
        print(f"\n{score}:{agreement(table, score)}")


def frozen(name: str, size: int, models: Sequence[str], trials: Sequence[int]) -> pd.DataFrame:
    """Return scores and test errors of regressions on frozen features, means over the trials."""
    found = []
    for trial in trials:
        data = CrystalDataModule(name, split=PaperTrial(trial=trial, size=size))
        split = data.split
        known = np.concatenate([split.train, split.val])
        rows = np.concatenate([known, split.test])
        values = embedded(data, rows, models)
        labels = data.target_values(rows).numpy()[:, 0].astype(np.float64)
        groups = duplicate_groups(data.crystals.select(known))
        train, test = np.split(np.arange(len(rows)), [len(known)])
        for source, x in values.items():
            scores = scored(x[train], labels[train], groups)
            model = estimators.find(SMALL_DATA).fit(x[train], labels[train], {}, 0, groups)
            error = float(np.abs(estimators.predict(model, x[test])[0] - labels[test]).mean())
            found.append({"target": data.targets[0], "source": source, **scores, "test": error})
    return pd.DataFrame(found).groupby(["target", "source"], sort=False, as_index=False).mean()


def embedded(data: CrystalDataModule, rows: np.ndarray, models: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the embeddings of crystals by model, ``(rows, dim)``."""
    wanted: dict[tuple[str, str], layers.Source] = {}
    for name in models:
        of = layers.source(name)
        wanted[name, of.default] = of
    made = features(wanted, data.crystals.select(rows))
    return {name: values.astype(np.float64) for (name, _), (values, _) in made.items()}


def scored(x: np.ndarray, target: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Return the errors that models are ranked by, with ridge regression and with what is used."""
    return {
        "ridge": float(cross_validate(ridge, x, target, groups).mean()),
        SMALL_DATA: float(left_out(SMALL_DATA, x, target, groups).mean()),
    }


def compared(study: Study, folder: Path | None, trials: list[int]) -> pd.DataFrame:
    """Return the score and the fine-tuned error of each target and source, means over the trials.

    Of the runs of a target, source and trial the one with the least validation error counts.
    """
    table = results(study, folder)
    table = table[(table["status"] == "done") & (table["source"] != SCRATCH) & table["trial"].isin(trials)]
    keys = ["target", "source", "trial"]
    table = table.sort_values("val_mae").drop_duplicates(keys)
    runs = {run.id: run for run in study.runs()}
    found = []
    for (target, _), rows in table.groupby(["target", "trial"], sort=False):
        best = rows.set_index("source")
        starts = {name: located(runs[best["id"][name]], folder or study.folder) for name in best.index}
        for source, score in scores(starts).items():
            error = best["test_mae"][source]
            found.append({"target": target, "source": source, **score, "test": error})
    return pd.DataFrame(found).groupby(["target", "source"], sort=False, as_index=False).mean()


def located(run: StudyRun, folder: Path) -> Tree:
    """Return the configuration of a run with the places of the networks that the study has trained itself."""
    return resolved(run.tree, lambda source: str(Folder(folder).model(source.id)), run.needs)


def scores(starts: dict[str, Tree]) -> dict[str, dict[str, float]]:
    """Return the errors that the models runs start from are ranked by."""
    if not starts:
        return {}
    data = read(next(iter(starts.values())))
    rows = data.split.train
    target = data.target_values(rows).numpy()[:, 0].astype(np.float64)
    groups = duplicate_groups(data.crystals.select(rows))
    names = {source: tree["model"]["backbone"]["init_args"]["name"] for source, tree in starts.items()}
    values = embedded(data, rows, list(names.values()))
    return {source: scored(values[name], target, groups) for source, name in names.items()}


def agreement(table: pd.DataFrame, by: str = SMALL_DATA) -> str:
    """Say how often the better score is the better start, and what following the scores costs."""
    lines, right, pairs, regrets, chances, correlations = [], 0, 0, [], [], []
    for (study, target), rows in table.groupby(["study", "target"], sort=False):
        if len(rows) < 2:
            continue
        score, error = rows[by].to_numpy(), rows["test"].to_numpy()
        agreed = [
            (score[i] - score[j]) * (error[i] - error[j]) > 0 for i, j in combinations(range(len(rows)), 2)
        ]
        right, pairs = right + sum(agreed), pairs + len(agreed)
        correlations.append(float(spearmanr(score, error).statistic))
        regrets.append(100 * (error[score.argmin()] / error.min() - 1))
        chances.append(100 * (error.mean() / error.min() - 1))
        lines.append(
            f"{study:14} {target:14} rank correlation {correlations[-1]:5.2f}, recommended "
            f"{rows['source'].iloc[score.argmin()]}, best {rows['source'].iloc[error.argmin()]}"
        )
    lines.append(f"mean rank correlation {np.mean(correlations):.2f} over {len(correlations)} targets")
    lines.append(f"the better score is the better start in {right} of {pairs} pairs")
    lines.append(
        f"error above that of the best start: {np.mean(regrets):.1f} % with the recommended one, "
        f"{np.mean(chances):.1f} % with any one on average"
    )
    return "\n".join(["", *lines])


if __name__ == "__main__":
    main()
