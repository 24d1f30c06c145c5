"""Splits that a benchmark or a paper has published; taken as they are, duplicates and all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tlzoo.crystals import Crystals
from tlzoo.data.splits.drawn import check_fold, inner
from tlzoo.data.splits.ids import Rows, read_json, rows_by_id, rows_of
from tlzoo.data.splits.splitter import Duplicates, Splitter, Table, known_rows
from tlzoo.errors import UserError, did_you_mean

# https://matbench.materialsproject.org: KFold(5, shuffle=True, random_state=18012019)
MATBENCH_SEED: Final = 18012019

PAPER_SOURCE: Final = "https://github.com/sai-mat-group/transfer-learning-material-properties"
PAPER_FILE: Final = "splits/devi2024.json"
PAPER_DATASETS: Final = {
    "last_phdos_peak": "phonons",
    "poly_total": "dielectric",
    "eij_max": "piezoelectric",
    "expt_gap": "expt_gap",
    "log10_g_vrh": "log_gvrh",
    "formation_energy": "e_form_paper",
    "band_gap": "mp_band_gap",
    "band_gap_optb88": "jarvis_2d",
}


@dataclass(frozen=True)
class MatbenchFold(Splitter):
    """An official fold of Matbench, over the rows in their order; validation is drawn from its training part.

    Attributes:
        fold: Which fold is the test part, from 0.
        folds: Number of folds; Matbench has 5.
        val: Validation part: a fraction of the fold's training part (below 1) or a count (1 or more).
        seed: Seed of the validation draw.
        keep_duplicates_together: Duplicate structures never straddle training and validation. The test part
            is Matbench's own; duplicates between it and the rest are counted in the notes.
        duplicates: ``drop`` takes crystals out of training and validation whose structure the test part has;
            by default they are kept.

    References:
        Dunn et al., npj Comput. Mater. 6, 138 (2020).
    """

    fold: int = 0
    folds: int = 5
    val: int | float = 0.1
    seed: int = 0
    keep_duplicates_together: bool = True
    duplicates: Duplicates | None = None

    def __post_init__(self) -> None:
        check_fold(self.folds, self.fold)

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Fold all rows, so that a missing target moves nobody else, then draw validation."""
        from sklearn.model_selection import KFold

        count = len(table.crystals)
        if count < self.folds:
            raise UserError(f"{self.folds} folds need at least {self.folds} crystals, there are {count}")
        folds = KFold(self.folds, shuffle=True, random_state=MATBENCH_SEED).split(np.arange(count))
        rest, test = list(folds)[self.fold]
        units = table.units(together=self.keep_duplicates_together)
        return inner(rest[table.known[rest]], test, units, val=self.val, seed=[self.seed, self.fold])


@dataclass(frozen=True)
class PaperTrial(Splitter):
    """A fine-tuning trial of Devi et al. (2024): listed ids for training and test.

    The last tenth of the training list is its validation part.

    Attributes:
        trial: 1 to 5.
        size: Training and validation crystals together: 10, 100, 200, 500 or 800. ``jarvis_2d`` has one list
            of 993 for all trials: ``size`` has no meaning there, and ``trial`` seeds the validation draw.
        dataset: Which list of the file; None finds it by the column that only this data set has.
        path: The file with the lists; None is ``splits/devi2024.json`` in the folder that TLZOO_DATA names.
        duplicates: ``drop`` takes crystals out of training and validation whose structure a later part has;
            they are counted in the notes, and kept by default.

    References:
        Devi, Butler & Sai Gautam, npj Comput. Mater. 10, 300 (2024).
    """

    trial: int = 1
    size: int = 800
    dataset: str | None = None
    path: str | None = None
    duplicates: Duplicates | None = None

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Look up the ids of the trial."""
        name, lists = self._lists(table.crystals)
        train, val = self._training(lists, name)
        parts = {"train": train, "val": val, "test": lists["test"]}
        return {part: _rows(table, ids, f"{part} of {name}") for part, ids in parts.items()}

    def pool(self, table: Table) -> tuple[Rows, Rows]:
        """Return all rows that are not in the paper's test set, whatever the trial, and that test set."""
        name, lists = self._lists(table.crystals)
        test = _rows(table, lists["test"], f"test of {name}")
        return np.setdiff1d(np.arange(len(table.crystals)), test), test

    def _lists(self, crystals: Crystals) -> tuple[str, Mapping[str, Any]]:
        """Return the name of the data set in the paper's file, and its lists."""
        path = _paper_file(self.path)
        lists = paper_lists(str(path))
        name = self.dataset or _dataset(crystals, list(lists))
        if name not in lists:
            there = ", ".join(lists) + did_you_mean(name, lists)
            raise UserError(f"{path} has no split for the data set {name!r}; there are: {there}")
        return name, lists[name]

    def _training(self, lists: Mapping[str, Any], name: str) -> tuple[list[str], list[str]]:
        if "trials" in lists:
            sizes = lists["trials"].get(str(self.trial), {})
            if str(self.size) not in sizes:
                trials = ", ".join(lists["trials"])
                there = ", ".join(next(iter(lists["trials"].values())))
                raise UserError(
                    f"{name} has no trial {self.trial} of size {self.size}; "
                    f"there are trials {trials} of sizes {there}"
                )
            train = sizes[str(self.size)]
        else:
            if self.trial < 1:
                raise UserError(f"trial must be at least 1, got {self.trial}")
            order = np.random.default_rng(self.trial).permutation(len(lists["train"]))
            train = [lists["train"][i] for i in order]
        last = max(1, len(train) // 10)
        return train[:-last], train[-last:]


def _rows(table: Table, ids: Sequence[str], what: str) -> Rows:
    """Return the rows of a published list, without the crystals that were taken out on purpose."""
    kept = [name for name in ids if name not in table.excluded]
    return rows_of(kept, rows_by_id(table.crystals.ids), what)


def paper_lists(path: str | None = None) -> dict[str, Any]:
    """Return the paper's lists of ids by data set: ``test`` and ``trials``, or ``test`` and ``train``.

    By default from ``splits/devi2024.json`` in the folder that TLZOO_DATA names.

    Raises:
        UserError: The file is not there; the message says where to get it.
    """
    lists = read_json(_paper_file(path))
    return {name: ids for name, ids in lists.items() if isinstance(ids, dict)}


def paper_test(crystals: Crystals, name: str) -> Rows:
    """Return the rows of a data set that are in the paper's test set, ``(crystals,)`` int64.

    If its name is none of the paper's, the column that only one of them has tells.

    Raises:
        UserError: The lists are not there, or none of them is of this data set.
    """
    trial = PaperTrial(dataset=name if name in paper_lists() else None)
    return trial.pool(Table(crystals, known_rows(crystals, ()), None))[1]


def _paper_file(given: str | None) -> Path:
    folder = os.environ.get("TLZOO_DATA")
    if given is None and not folder:
        looked = f"{PAPER_FILE} of TLZOO_DATA, which is not set"
    else:
        path = Path(given) if given else Path(folder or "") / PAPER_FILE
        if path.is_file():
            return path
        looked = str(path)
    raise UserError(
        f"the paper's trials are not there (looked for {looked}); they are published in {PAPER_SOURCE}: "
        f"give the file with path, or set TLZOO_DATA to the folder that holds {PAPER_FILE}"
    )


def _dataset(crystals: Crystals, names: list[str]) -> str:
    """Return the one data set of the paper whose column the table has.

    Ids are row numbers in all of them: a wrong guess would name other crystals without a word.
    """
    candidates = [name for column, name in PAPER_DATASETS.items() if column in crystals.columns]
    if len(candidates) == 1:
        return candidates[0]
    which = f"could be {' or '.join(candidates)}" if candidates else "is none of the paper's"
    raise UserError(
        f"by its columns ({', '.join(crystals.columns) or 'none'}) the data set {which}; say which list "
        f"of the paper to take with dataset: one of {', '.join(names)}"
    )
