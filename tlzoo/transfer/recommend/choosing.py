"""From data to a ranking of the models to start from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tlzoo.cards import library
from tlzoo.errors import UserError
from tlzoo.transfer.finetune.candidate import read
from tlzoo.transfer.finetune.experiment import Request, draft
from tlzoo.transfer.finetune.recipes import recipe
from tlzoo.transfer.recommend.recommendation import Report
from tlzoo.transfer.recommend.scores import Rows, baselines, rank


def recommend(
    source: str,
    *,
    models: Sequence[str] | None = None,
    target: str | None = None,
    unit: str | None = None,
    configs: Sequence[Path] = (),
    everything: bool = False,
    repeats: int = 5,
    most: int = 2000,
    seed: int = 0,
) -> Report:
    """Rank models by what can be read off their embeddings of some crystals.

    Args:
        source: Path or name of the data.
        models: Names of models; None for all checkpoints of the zoo.
        target: Column to learn; the data set's own if it has only one.
        unit: Its unit, where the source does not know it.
        configs: Files with the split and the columns, as for
            :func:`~tlzoo.transfer.finetune.compare.compare`.
        everything: Score on all crystals and not on the training part alone. A model chosen so was chosen by
            the test part too.
        repeats: Number of cross-validations.
        most: Score on so many crystals at most, drawn at random.
        seed: Seed of the draws.

    Raises:
        UserError: There are no models, one cannot be loaded, the data cannot be read, or have too few
            crystals or only one label.
    """
    names = list(dict.fromkeys(models or library.names()))
    if not names:
        raise UserError(f"{library.there_are()}; name run directories or files with --models")
    if repeats < 1 or most < 1:
        raise UserError(f"repeats and max-crystals must be at least 1, got {repeats} and {most}")
    request = Request(
        source=source, run_dir=Path(), target=target, unit=unit, starts=(names[0],), configs=configs
    )
    data = read(draft(request, next(iter(request.start_models().values()))))
    rows = data.used_rows if everything else data.split.train
    drawn = _drawn(rows, most, seed)
    crystals = data.crystals.select(drawn)
    labels = data.target_values(drawn).numpy()[:, 0].astype(np.float64)
    if np.ptp(labels) == 0:
        raise UserError(f"{data.targets[0]} is {labels[0]:g} for all crystals: there is nothing to learn")
    part = "all" if everything else "the training part"
    return Report(
        source=source,
        target=data.targets[0],
        unit=data.units[0],
        crystals=len(drawn),
        part=part if len(drawn) == len(rows) else f"drawn from {len(rows):,} of {part}",
        scores=rank(crystals, labels, names, unit=data.units[0], repeats=repeats, seed=seed),
        baselines=baselines(crystals, labels, repeats=repeats, seed=seed),
        recipe=recipe(len(data.split.train)),
        options=[
            *(["--unit", unit] if unit else []),
            *(word for path in configs for word in ("--config", str(path))),
        ],
    )


def _drawn(rows: Rows, most: int, seed: int) -> Rows:
    if len(rows) <= most:
        return rows
    drawn: Rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return drawn
