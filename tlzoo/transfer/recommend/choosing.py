"""From data to a ranking of the models to start from."""

import sys

import numpy as np

from tlzoo.cards import library
from tlzoo.errors import UserError, printable
from tlzoo.model.trained import load
from tlzoo.transfer.finetune.candidate import read
from tlzoo.transfer.finetune.experiment import draft
from tlzoo.transfer.finetune.finetune_request import Request
from tlzoo.transfer.finetune.recipes import recipe
from tlzoo.transfer.recommend.recommend_request import Request as RecommendRequest
from tlzoo.transfer.recommend.recommendation import Report
from tlzoo.transfer.recommend.scores import baselines, rank


def _undamaged() -> list[str]:
    """Return all checkpoints; of one that cannot be loaded only that is said, of packages to install once."""
    found, lacking = [], {}
    for name in library.names():
        try:
            package = library.find(name).card.package
            if package and package.lacking:
                lacking[name] = package.command
                continue
            load(name)
        except UserError as error:
            sys.stderr.write(f"tlzoo: {name} is left out: {printable(str(error))}\n")
        else:
            found.append(name)
    if lacking:
        commands = " and ".join(dict.fromkeys(lacking.values()))
        sys.stderr.write(f"tlzoo: {', '.join(lacking)} are left out; to have them: {commands}\n")
    return found


def recommend(request: RecommendRequest) -> Report:
    """Rank models by what can be read off their embeddings of some crystals.

    Raises:
        UserError: There are no models, one cannot be loaded, the data cannot be read, or have too few
            crystals or only one label.
    """
    repeats, most, seed = request.repeats, request.most, request.seed
    names = list(dict.fromkeys(request.starts or _undamaged()))
    if not names:
        raise UserError(f"{library.there_are()}; name run directories or files with --from")
    if repeats < 1 or most < 1:
        raise UserError(f"repeats and max-crystals must be at least 1, got {repeats} and {most}")
    for name in names:
        library.locate(name)
    asked = Request(
        source=request.source,
        target=request.target,
        unit=request.unit,
        starts=(names[0],),
        configs=request.configs,
    )
    data = read(draft(asked, next(iter(asked.start_models().values()))))
    rows = data.used_rows if request.everything else data.split.train
    drawn = rows
    if len(rows) > most:
        drawn = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    crystals = data.crystals.select(drawn)
    labels = data.target_values(drawn).numpy()[:, 0].astype(np.float64)
    if np.ptp(labels) == 0:
        raise UserError(f"{data.targets[0]} is {labels[0]:g} for all crystals: there is nothing to learn")
    part = "all" if request.everything else "the training part"
    return Report(
        source=request.source,
        target=data.targets[0],
        unit=data.units[0],
        crystals=len(drawn),
        part=part if len(drawn) == len(rows) else f"drawn from {len(rows):,} of {part}",
        scores=rank(crystals, labels, names, unit=data.units[0], repeats=repeats, seed=seed),
        baselines=baselines(crystals, labels, repeats=repeats, seed=seed),
        recipe=recipe(len(data.split.train)),
        options=[
            *(["--unit", request.unit] if request.unit else []),
            *(word for path in request.configs for word in ("--config", str(path))),
        ],
    )
