"""Splits that somebody else has fixed: a paper, a benchmark, a column, a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.splits.base import PARTS, Rows, Splitter, rows_by_id, rows_of
from tlzoo.data.splits.drawn import check_fold, inner
from tlzoo.errors import UserError

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

    References:
        Dunn et al., npj Comput. Mater. 6, 138 (2020).
    """

    as_published: ClassVar[bool] = True

    fold: int = 0
    folds: int = 5
    val: int | float = 0.1
    seed: int = 0
    keep_duplicates_together: bool = True

    def __post_init__(self) -> None:
        check_fold(self.folds, self.fold)

    def divide(
        self, crystals: Crystals, *, known: NDArray[np.bool_], targets: Sequence[str], groups: Rows | None
    ) -> Mapping[str, Rows]:
        """Fold all rows, so that a missing target moves nobody else, then draw validation."""
        from sklearn.model_selection import KFold

        if len(crystals) < self.folds:
            raise UserError(
                f"{self.folds} folds need at least {self.folds} crystals, there are {len(crystals)}"
            )
        folds = KFold(self.folds, shuffle=True, random_state=MATBENCH_SEED).split(np.arange(len(crystals)))
        rest, test = list(folds)[self.fold]
        rest = rest.astype(np.int64)
        units = groups if groups is not None and self.keep_duplicates_together else np.arange(len(crystals))
        return inner(rest[known[rest]], test, units, val=self.val, seed=[self.seed, self.fold])


@dataclass(frozen=True)
class PaperTrial(Splitter):
    """A fine-tuning trial of Devi et al. (2024): fixed test ids, listed training ids, their last tenth validates.

    Attributes:
        trial: 1 to 5.
        size: Training and validation crystals together: 10, 100, 200, 500 or 800. ``jarvis_2d`` has one
            list of 993 for all trials: ``size`` has no meaning there, and ``trial`` seeds the validation draw.
        dataset: Which list of the file; None finds it by the target's name.
        path: The file with the lists; None is ``splits/devi2024.json`` in the folder that TLZOO_DATA names.

    References:
        Devi et al., npj Comput. Mater. 10, 300 (2024).
    """

    as_published: ClassVar[bool] = True

    trial: int = 1
    size: int = 800
    dataset: str | None = None
    path: str | None = None

    def divide(
        self, crystals: Crystals, *, known: NDArray[np.bool_], targets: Sequence[str], groups: Rows | None
    ) -> Mapping[str, Rows]:
        """Look up the ids of the trial."""
        path = self._file()
        lists = read_json(path)
        name = self.dataset or next((PAPER_DATASETS[t] for t in targets if t in PAPER_DATASETS), None)
        there = ", ".join(key for key, value in lists.items() if isinstance(value, dict))
        if name is None:
            raise UserError(
                f"none of the targets ({', '.join(targets) or 'none given'}) belongs to a data set of the paper; "
                f"say which split to take with dataset: one of {there}"
            )
        if not isinstance(lists.get(name), dict):
            raise UserError(f"{path} has no split for the data set {name!r}; there are: {there}")
        train, val = self._training(lists[name], name, path)
        where = rows_by_id(crystals.ids)
        parts = {"train": train, "val": val, "test": lists[name]["test"]}
        return {
            part: rows_of(ids, where, f"{part} ({name}, trial {self.trial})") for part, ids in parts.items()
        }

    def _file(self) -> Path:
        folder = os.environ.get("TLZOO_DATA")
        path = Path(self.path) if self.path else Path(folder or "") / PAPER_FILE
        if path.is_file() and (self.path or folder):
            return path
        looked = path if self.path or folder else f"{PAPER_FILE} of TLZOO_DATA, which is not set"
        raise UserError(
            f"the paper's trials are not there (looked for {looked}); they are published in {PAPER_SOURCE}: "
            "give the file with path, or set TLZOO_DATA to the folder that holds splits/devi2024.json"
        )

    def _training(self, lists: Mapping[str, Any], name: str, path: Path) -> tuple[list[str], list[str]]:
        trials = lists.get("trials")
        if trials is None:
            if self.trial < 1:
                raise UserError(f"trial must be at least 1, got {self.trial}")
            train = [
                lists["train"][i] for i in np.random.default_rng(self.trial).permutation(len(lists["train"]))
            ]
        else:
            sizes = trials.get(str(self.trial))
            if sizes is None:
                raise UserError(f"{path} has no trial {self.trial} of {name}; there are: {', '.join(trials)}")
            if str(self.size) not in sizes:
                raise UserError(
                    f"trial {self.trial} of {name} has no size {self.size}; there are: {', '.join(sizes)}"
                )
            train = sizes[str(self.size)]
        last = max(1, len(train) // 10)
        return train[:-last], train[-last:]


@dataclass(frozen=True)
class FromColumn(Splitter):
    """Take the parts from a column of the table whose values are ``train``, ``val`` and ``test``.

    Crystals with no value in the column are in no part.

    Attributes:
        column: Name of the column.
        val: If no crystal is marked ``val``: the fraction of the training part (below 1) or the count to draw.
        seed: Seed of that draw.
    """

    as_published: ClassVar[bool] = True

    column: str = "split"
    val: int | float = 0
    seed: int = 0

    def divide(
        self, crystals: Crystals, *, known: NDArray[np.bool_], targets: Sequence[str], groups: Rows | None
    ) -> Mapping[str, Rows]:
        """Read the column."""
        values = crystals.column(self.column)
        parts: dict[str, list[int]] = {name: [] for name in PARTS}
        for row, value in enumerate(values):
            if value is None or value != value or value == "":  # noqa: PLR0124 (NaN differs from itself)
                continue
            if value not in parts:
                raise UserError(
                    f"{crystals.origin(row)}: the column {self.column!r} holds {value!r}; wanted train, val, test or "
                    "nothing"
                )
            parts[value].append(row)
        rows = {name: np.array(members, dtype=np.int64) for name, members in parts.items()}
        return with_validation(
            rows, known, groups, val=self.val, seed=self.seed, source=f"column {self.column!r}"
        )


@dataclass(frozen=True)
class FromFile(Splitter):
    """Take the parts from a JSON file with lists ``train``, ``val`` and ``test``.

    Text entries are ids; whole numbers are rows counted from 0. A list of such splits, as chemprop writes
    them, is read too, and its ranges such as ``"0-7,9"``. A run's saved split is such a file.

    Attributes:
        path: The file.
        index: Which split, if the file holds a list of them.
        val: If the file has no validation part: the fraction of the training part (below 1) or the count to draw.
        seed: Seed of that draw.
    """

    as_published: ClassVar[bool] = True

    path: str
    index: int = 0
    val: int | float = 0
    seed: int = 0

    def divide(
        self, crystals: Crystals, *, known: NDArray[np.bool_], targets: Sequence[str], groups: Rows | None
    ) -> Mapping[str, Rows]:
        """Read the file."""
        content = read_json(Path(self.path))
        if isinstance(content, list):
            if not 0 <= self.index < len(content):
                raise UserError(
                    f"{self.path} holds {len(content)} split(s); index must be below that, got {self.index}"
                )
            content = content[self.index]
        if not isinstance(content, dict) or "train" not in content:
            raise UserError(f"{self.path} is no split: wanted an object with lists train, val and test")
        rows = {name: _entries(content.get(name, []), crystals, f"{name} in {self.path}") for name in PARTS}
        return with_validation(rows, known, groups, val=self.val, seed=self.seed, source=self.path)


def read_json(path: Path) -> Any:  # noqa: ANN401 (any JSON)
    """Read a JSON file.

    Raises:
        UserError: The file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the split {path} cannot be read: {error.strerror}; check the path") from error
    except ValueError as error:
        raise UserError(f"the split {path} is no JSON: {error}") from error


def with_validation(
    rows: dict[str, Rows],
    known: NDArray[np.bool_],
    groups: Rows | None,
    *,
    val: float,
    seed: int,
    source: str,
) -> dict[str, Rows]:
    """Draw a validation part from the training part where a given split has none.

    Raises:
        UserError: There is none and none was asked for.
    """
    if len(rows["val"]) or not len(rows["train"]):
        return rows
    if not val:
        raise UserError(
            f"{source} has no validation part; mark some crystals 'val', or draw them from the training part with "
            "val: 0.1"
        )
    train = rows["train"][known[rows["train"]]]
    units = groups if groups is not None else np.arange(len(known))
    return inner(train, rows["test"], units, val=val, seed=[seed])


def _entries(entries: Any, crystals: Crystals, what: str) -> Rows:  # noqa: ANN401 (any JSON)
    if isinstance(entries, str):
        entries = _ranges(entries, what)
    if not isinstance(entries, list) or not all(isinstance(e, str | int) for e in entries):
        raise UserError(
            f"{what} must be a list of ids (text) or rows (whole numbers), got {str(entries)[:60]!r}"
        )
    if all(isinstance(e, int) for e in entries):
        outside = [e for e in entries if not 0 <= e < len(crystals)]
        if outside:
            raise UserError(f"{what} names row {outside[0]}, but the data have rows 0 to {len(crystals) - 1}")
        return np.array(entries, dtype=np.int64)
    return rows_of([str(e) for e in entries], rows_by_id(crystals.ids), what)


def _ranges(text: str, what: str) -> list[int]:
    rows: list[int] = []
    for piece in filter(None, (p.strip() for p in text.split(","))):
        first, _, last = piece.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise UserError(f"{what}: {piece!r} is no row or range of rows such as 0-7")
        rows.extend(range(int(first), int(last or first) + 1))
    return rows
