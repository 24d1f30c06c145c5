"""Say on each card how wide intervals are: ``python -m maintenance.intervals [NAME …] [--write]``.

They are measured on the validation part of its recipe and counted on the test part, which it has not learned
from. It needs the data (TLZOO_DATA); a card that states intervals, or has no such parts, stays as it is.
Weights and their hashes stay what they are. Without ``--write`` it only says what a card would state.

``NAME --folds RUN`` measures them on the crystals that folds of ``tlzoo fit --folds`` with the same recipe
leave out, which are many more, and replaces those that the card states.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from msgspec import to_builtins

from tlzoo.cards import library
from tlzoo.cards.card import Card, Held, Interval
from tlzoo.data.labelled_table import LabelledTable
from tlzoo.data.pretraining.merged import NAME as PRETRAINING
from tlzoo.data.splits import Pretraining
from tlzoo.data.splits.ids import ids_sha256
from tlzoo.errors import UserError
from tlzoo.machine import runtime
from tlzoo.machine.files import write_text
from tlzoo.model import intervals
from tlzoo.model.trained import Model, load
from tlzoo.training.run import Run

ROOT: Final = Path(__file__).parents[1]
# Before this on a card.
NEXT: Final = "cross_validation", "metrics"


def measured(
    model: Model, card: Card, known: LabelledTable, folds: Sequence[Run] = ()
) -> dict[str, Interval]:
    """Return the intervals of a checkpoint that has learned from the data set of the table.

    ``folds`` are the runs of a cross-validation, if their errors are to be taken.

    Raises:
        UserError: The recipe gives other crystals than it was chosen by.
    """
    recipe = card.recipe["data"]
    table = LabelledTable(PRETRAINING, recipe["targets"], Pretraining(**recipe["split"]["init_args"]))
    table.share(known, split=False)
    assert card.training is not None
    if ids_sha256(table.crystals.ids[table.split.val]) != card.training.val.ids_sha256:
        raise UserError(f"the recipe of {card.name} gives other validation crystals than it was chosen by")
    plain = replace(model, intervals={})
    tested = _said(plain, table, table.split.parts["test"])
    if folds:
        left_out = _left_out(folds, table)
        found = intervals.measured(plain.head, left_out, f"crystals left out of {len(folds)} folds")
    else:
        chose = (
            ", by which the epoch was chosen" if card.recipe["model"].get("keep", "best") == "best" else ""
        )
        said = _said(plain, table, table.split.parts["val"])
        found = intervals.measured(plain.head, said, f"validation crystals{chose}")
    held = intervals.held(found, plain.head, tested)
    return {
        name: Interval(
            kind=one.kind,
            widths=one.widths,
            crystals=one.crystals,
            left_out=one.left_out,
            test=Held(held=held[name][0], crystals=held[name][1]) if held[name][1] else None,
        )
        for name, one in found.items()
    }


def _said(model: Model, table: LabelledTable, rows: np.ndarray[Any, Any]) -> intervals.Said:
    """Return what is known of some crystals, and predicted, by property."""
    answers, truth = model.predict(table.crystals.select(rows)), table.labels(rows)
    found = {}
    for at, name in enumerate(table.targets):
        further = {end: f"{name}_{end}" for end in ("std", *intervals.ENDS) if f"{name}_{end}" in answers}
        columns = {"prediction": name, **further}
        found[name] = {key: answers[column].to_numpy(np.float64) for key, column in columns.items()}
        found[name]["target"] = truth[:, at].astype(np.float64)
    return found


def _left_out(folds: Sequence[Run], table: LabelledTable) -> intervals.Said:
    """Return what is known of the crystals that folds have left out, and predicted, by property."""
    rows = pd.concat([pd.read_csv(fold.predictions, dtype={"id": str}) for fold in folds])
    rows = rows[rows["part"] == "test"]
    pool = table.crystals.ids[np.concatenate([table.split.train, table.split.val])]
    if sorted(rows["id"].unique()) != sorted(map(str, pool)):
        raise UserError("the folds have left out other crystals than those that the checkpoint learned from")
    return {
        str(name): {key: some[key].to_numpy(np.float64) for key in ("target", "prediction")}
        for name, some in rows.groupby("property")
    }


def write(path: Path, found: dict[str, Interval]) -> None:
    """Put intervals on a card, where cards have them."""
    content = json.loads(path.read_text(encoding="utf-8"))
    card: dict[str, Any] = {}
    for key, value in content.items():
        if key in NEXT and "intervals" not in card:
            card["intervals"] = to_builtins(found)
        card[key] = to_builtins(found) if key == "intervals" else value
    write_text(path, json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    Card.read(path)


def main(args: Sequence[str] | None = None) -> None:
    """Measure, and write if that is asked."""
    parser = argparse.ArgumentParser(prog="python -m maintenance.intervals", description=__doc__)
    parser.add_argument("names", nargs="*", help="checkpoints; by default all without intervals")
    parser.add_argument("--folds", type=Path, metavar="RUN", help="directory of folds, for one checkpoint")
    parser.add_argument("--write", action="store_true", help="put them on the cards")
    given = parser.parse_args(args)
    folds = [Run(path) for path in sorted(given.folds.glob("fold-*"))] if given.folds else []
    if given.folds and (not folds or len(given.names) != 1):
        parser.error("--folds wants a directory of folds and one checkpoint")
    runtime.configure()
    cards = [library.find(name).card for name in given.names or library.names(ROOT / "checkpoints")]
    wanted = [
        card
        for card in cards
        if (folds or not card.intervals) and card.training is not None and card.training.source == PRETRAINING
    ]
    known = LabelledTable(PRETRAINING)
    known.take(PRETRAINING)  # read once, for all
    for card in wanted:
        found = measured(load(card.name), card, known, folds)
        for name, one in found.items():
            held = f"; held {one.test.held:,} of {one.test.crystals:,}" if one.test else ""
            sys.stdout.write(f"{card.name} {name}: {one.kind} {one.widths['0.9']:.4g}{held}\n")
            sys.stdout.flush()
        if given.write:
            write(ROOT / "checkpoints" / f"{card.name}.json", found)


if __name__ == "__main__":
    main()
