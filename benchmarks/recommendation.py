"""Does `tlzoo recommend` name good starts? ``python -m benchmarks.recommendation STUDY… [--dir DIR]``.

Takes studies that fine-tuned several models on several targets, scores the same models as `tlzoo recommend`
does on the training crystals of each trial, and compares the order of the scores with the order of the test
errors that fine-tuning reached. Only for looking back: nothing of this chooses a model.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from tlzoo.study import load, results
from tlzoo.study.axes import Tree
from tlzoo.study.grid import Study, StudyRun
from tlzoo.study.start_networks import resolved
from tlzoo.study.study_folder import Folder
from tlzoo.transfer.finetune.candidate import read
from tlzoo.transfer.recommend.scores import rank

SCRATCH = "scratch"


def main() -> None:
    """Print the orders and how far they agree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recommendation", description=__doc__)
    parser.add_argument(
        "studies", nargs="+", type=Path, help="studies with the axes target, source and trial"
    )
    parser.add_argument("--dir", type=Path, help="directory of their results (default: runs/studies/NAME)")
    parser.add_argument("--trials", type=int, nargs="+", default=[1], help="which trials to compare on")
    given = parser.parse_args()
    tables = [compared(load(path), given.dir, given.trials) for path in given.studies]
    table = pd.concat(
        [each.assign(study=path.stem) for path, each in zip(given.studies, tables, strict=True)]
    )
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    print(agreement(table))


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
            found.append({"target": target, "source": source, "ridge": score, "fine_tuned": error})
    return pd.DataFrame(found).groupby(["target", "source"], sort=False, as_index=False).mean()


def located(run: StudyRun, folder: Path) -> Tree:
    """Return the configuration of a run with the places of the networks that the study has trained itself."""
    return resolved(run.tree, lambda source: str(Folder(folder).model(source.id)), run.needs)


def scores(starts: dict[str, Tree]) -> dict[str, float]:
    """Return the cross-validated error that `tlzoo recommend` ranks by, of the models runs start from."""
    if not starts:
        return {}
    data = read(next(iter(starts.values())))
    rows = data.split.train
    target = data.target_values(rows).numpy()[:, 0].astype(np.float64)
    names = {source: tree["model"]["backbone"]["init_args"]["name"] for source, tree in starts.items()}
    found = {score.name: score.mae for score in rank(data.crystals.select(rows), target, [*names.values()])}
    return {source: found[name] for source, name in names.items()}


def agreement(table: pd.DataFrame) -> str:
    """Say how often the better score is the better start, and what following the scores costs."""
    lines, right, pairs, regrets, chances, correlations = [], 0, 0, [], [], []
    for (study, target), rows in table.groupby(["study", "target"], sort=False):
        if len(rows) < 2:
            continue
        score, error = rows["ridge"].to_numpy(), rows["fine_tuned"].to_numpy()
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
