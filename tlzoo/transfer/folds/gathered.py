"""What models that have each left out a fold are worth together, and the directory that they answer from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from tlzoo.cards.card import Kind
from tlzoo.crystals import with_unit
from tlzoo.data.known_elements import symbols
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import FoldOf, Split
from tlzoo.descriptors.stores import Options, Store, open_store
from tlzoo.evaluation.results import error_text
from tlzoo.machine.files import write_text
from tlzoo.model import checkpoint, intervals
from tlzoo.model.answer_record import SHOWN
from tlzoo.model.answering import Columns
from tlzoo.model.cross_conformal import ENOUGH, CrossConformal, FoldRecord
from tlzoo.model.description import plain
from tlzoo.model.intervals import ENDS
from tlzoo.model.trained import Model, structure_keys
from tlzoo.training.run import Run, long_table
from tlzoo.transfer.finetune import chosen
from tlzoo.transfer.finetune.chosen import Chosen
from tlzoo.transfer.finetune.folded import Folded, said

Rows = NDArray[np.int64]
Values = NDArray[np.float64]
Tree = dict[str, Any]

# Splitters that deal all crystals to folds themselves.
DEALING: Final = ("KFold", "RepeatedKFold")
TOGETHER: Final = "keep_duplicates_together"
# Predictions of the crystals that are in no fold.
TESTED: Final = "test-predictions.csv"


def sections(split: Mapping[str, Any] | None, folds: int, *, val: float) -> list[Tree]:
    """Return the section ``split`` of each fold, for a configuration that has this one.

    The test part of that split is in no fold; where it is itself of folds, or none, all crystals are.
    """
    given = dict((split or {}).get("init_args") or {})
    name = str((split or {}).get("class_path", "")).rpartition(".")[2]
    of: Tree = dict(split or {})
    if name == FoldOf.__name__:
        of = dict(given["of"])
    elif not name or name in DEALING:
        # of a splitter by folds what holds for all of them
        kept = {key: value for key, value in given.items() if not name or key in ("seed", TOGETHER)}
        of = {"class_path": "Random", "init_args": {"test": 0, **kept}}
    drawn = {"folds": folds, "val": given.get("val") or val, "seed": given.get("seed", 0), "of": of}
    return [{"class_path": "FoldOf", "init_args": {**drawn, "fold": fold}} for fold in range(folds)]


def kept_out(data: CrystalDataModule) -> Split | None:
    """Return the split whose test part is in none of the folds; None if it has none."""
    splitter = data.table.splitter
    assert isinstance(splitter, FoldOf)
    other = CrystalDataModule(data.source, data.targets, splitter.of)
    other.share(data, split=False)
    return other.split if len(other.split.test) else None


@dataclass(frozen=True, eq=False)
class Gathered:
    """All folds together.

    Attributes:
        folded: The models.
        metrics: Errors of all crystals, each predicted by the model that left it out.
        tested: Errors of the crystals in no fold, which all models predict together; None if there are none.
        held: By property what intervals held: ``in turn``, of the crystals left out, as wide as the errors of
            the other folds ask for; ``test``, of those in no fold. How many of how many.
        half_widths: By property half of the width of most intervals around the crystals left out.
    """

    folded: Folded
    metrics: Mapping[str, float]
    tested: Mapping[str, float] | None
    held: Mapping[str, Mapping[str, tuple[int, int]]]
    half_widths: Mapping[str, float]

    @property
    def crystals(self) -> int:
        """How many were left out, each once."""
        return int(self.metrics["crystals"])

    def told(self) -> Iterator[str]:
        """Say how wide intervals are, by property, and what they held."""
        for name, one in self.folded.record.intervals.items():
            held = self.held[name]
            width = with_unit(f"±{self.half_widths[name]:.3g}", self.folded.units[name])
            few = f"; too few for 90 %: the largest error of {one.crystals} counts" * (one.crystals < ENOUGH)
            told = (
                f"{name}: `tlzoo predict` gives 90 % intervals, in the middle {width}, by the errors of "
                f"{one.crystals:,} crystals left out (CV+){few}. Intervals as wide as the errors of the "
                f"other folds held {_share(*held['in turn'])} of these"
            )
            if "test" in held:
                told += f"; those of all together, {_share(*held['test'])} of the test part"
            yield f"{told}."

    @property
    def facts(self) -> Tree:
        """The same as plain data."""
        found: Tree = plain(
            {
                "left_out": dict(self.metrics),
                "test": None if self.tested is None else dict(self.tested),
                "held": {name: dict(each) for name, each in self.held.items()},
                "half_widths": dict(self.half_widths),
            },
            "folds",
        )
        return found


def gather(
    folder: Path,
    names: Sequence[str],
    modules: Sequence[CrystalDataModule],
    test: Rows,
) -> Gathered:
    """Predict with each model the crystals that it has left out, and write what all answer from together.

    Args:
        folder: The directory of all.
        names: Those of the models in it, a fold each.
        modules: The data of each fold.
        test: Crystals that are in no fold.

    Raises:
        UserError: A model cannot be read, or the directory cannot be written.
    """
    first, used = modules[0], modules[0].used_rows
    models = [chosen.load(folder / name) for name in names]
    members = [one for one in models if isinstance(one, Model | Chosen)]
    network = members[0] if isinstance(members[0], Model) else members[0].network
    card = {**network.card, "elements": symbols(first.crystals.select(used)), "intervals": {}, "metrics": {}}
    card["split"] = f"{len(used):,} crystals in {len(names)} folds, each of which one model has left out"
    weights = Run(folder).model.with_suffix(".safetensors")
    alone = Folded.of(members, card, FoldRecord(names, {}, {}), weights)
    stores = _stores(first, used, alone.options)
    left_out = LeftOut.of(alone, modules, stores)
    record = FoldRecord(names, left_out.scored(alone, first.targets), {})
    folded = replace(alone, card={**card, "metrics": {"test": left_out.metrics}}, record=record)
    domain = replace(network.domain, keys=structure_keys(first.crystals.select(used)))
    checkpoint.save(
        folder / "model",
        network.backbone,
        network.head,
        folded.card,
        domain=domain,
        teacher_map=network.teacher_map,
    )
    write_text(Run(folder).predictions, left_out.table.to_csv(index=False))
    level = float(SHOWN)
    held = {
        name: {"in turn": (one.held_in_turn(level), one.crystals)} for name, one in record.intervals.items()
    }
    tested = None
    if len(test):
        answers = folded.answers(_stores(first, test, folded.options))
        predicted, truth = _matrix(folded, answers), first.target_values(test).numpy()
        table = long_table(folded.head, first.crystals.ids[test], "test", folded.units, truth, predicted)
        write_text(folder / TESTED, table.to_csv(index=False))
        tested = _metrics(folded, predicted, truth)
        for name, each in held.items():
            each["test"] = _held(answers, name, truth[:, first.targets.index(name)])
    return Gathered(folded, left_out.metrics, tested, held, _half_widths(folded, stores))


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What the models say of the crystals that they have left out.

    Attributes:
        said: By fold, the columns of its crystals.
        truth: By fold, what is known of them, ``(crystals, targets)``.
        table: A row per crystal and property, with the number of its fold.
        metrics: Errors of all.
    """

    said: Sequence[Columns]
    truth: Sequence[NDArray[np.float32]]
    table: pd.DataFrame
    metrics: Mapping[str, float]

    @classmethod
    def of(
        cls, folded: Folded, modules: Sequence[CrystalDataModule], stores: Mapping[Options, Store]
    ) -> Self:
        """Predict; the stores hold what was made of all crystals in folds."""
        used, ids = modules[0].used_rows, modules[0].crystals.ids
        columns, known, tables = [], [], []
        for number, (model, module) in enumerate(zip(folded.members, modules, strict=True), start=1):
            rows = module.split.test
            places = np.searchsorted(used, rows)
            columns.append(model.answers({each: store.select(places) for each, store in stores.items()}))
            known.append(module.target_values(rows).numpy())
            predicted = _matrix(folded, columns[-1])
            table = long_table(folded.head, ids[rows], "test", folded.units, known[-1], predicted)
            tables.append(table.assign(fold=number))
        everything = np.concatenate([_matrix(folded, each) for each in columns])
        metrics = _metrics(folded, everything, np.concatenate(known))
        return cls(columns, known, pd.concat(tables, ignore_index=True), metrics)

    def scored(self, folded: Folded, targets: Sequence[str]) -> dict[str, CrossConformal]:
        """Return the scores that intervals rest on, by property; none of classes."""
        kinds: Mapping[str, Kind] = intervals.kinds(folded.head, targets)
        if not all(isinstance(one, Model) for one in folded.members):
            # a head on frozen features takes part, which states no more
            kinds = dict.fromkeys(kinds, "absolute")
        found = {}
        for name, kind in kinds.items():
            at, scores = targets.index(name), []
            for columns, truth in zip(self.said, self.truth, strict=True):
                about = {"target": truth[:, at].astype(np.float64), **said(columns, name)}
                each = intervals.scores(kind, about)
                scores.append(each[np.isfinite(each)])
            if any(map(len, scores)):
                found[name] = CrossConformal(kind, scores)
        return found


def summarised(values: Sequence[float]) -> str:
    """Return mean and standard deviation over folds.

    >>> summarised([0.5, 0.52, 0.54]), summarised([0.5])
    ('0.52 ± 0.02', '0.5')
    """
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return ""
    return error_text(fmean(known), stdev(known) if len(known) > 1 else None)


def _stores(data: CrystalDataModule, rows: Rows, options: Sequence[Options]) -> dict[Options, Store]:
    crystals = data.crystals.select(rows)
    return {each: open_store(crystals, each, cache_dir=data.cache_dir) for each in options}


def _matrix(folded: Folded, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Return the columns that the head names, ``(crystals, columns)``."""
    names = folded.head.columns(list(folded.units))
    return np.stack([columns[name] for name in names], axis=1).astype(np.float32)


def _metrics(folded: Folded, predicted: NDArray[np.float32], truth: NDArray[np.float32]) -> dict[str, float]:
    metrics = folded.head.metrics(list(folded.units))
    metrics.update(torch.from_numpy(predicted), torch.from_numpy(truth))
    return {"crystals": len(truth), **{name: float(value) for name, value in metrics.compute().items()}}


def _held(answers: Mapping[str, NDArray[Any]], name: str, truth: NDArray[Any]) -> tuple[int, int]:
    low, high = (answers[f"{name}_{end}"] for end in ENDS)
    return int(((low <= truth) & (truth <= high)).sum()), int(np.isfinite(truth).sum())


def _half_widths(folded: Folded, stores: Mapping[Options, Store]) -> dict[str, float]:
    """Return half of the median width of the intervals around crystals that were left out, by property."""
    if not folded.record.intervals:
        return {}
    answers = folded.answers(stores)
    ends = {name: [answers[f"{name}_{end}"] for end in ENDS] for name in folded.record.intervals}
    return {name: float(np.median(high - low) / 2) for name, (low, high) in ends.items()}


def _share(held: int, of: int) -> str:
    return f"{held:,} of {of:,} ({held / of:.0%})".replace("%", " %")
