"""From data to a ranking of what to start from."""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tlzoo.cards import library
from tlzoo.errors import UserError, printable
from tlzoo.model.known_crystals import known_crystals
from tlzoo.model.trained import Model, load
from tlzoo.transfer.finetune.candidate import read
from tlzoo.transfer.finetune.experiment import draft
from tlzoo.transfer.finetune.finetune_request import Request
from tlzoo.transfer.finetune.recipes import recipe
from tlzoo.transfer.recommend.costs import fine_tuning
from tlzoo.transfer.recommend.recommend_request import Request as RecommendRequest
from tlzoo.transfer.recommend.recommendation import Report
from tlzoo.transfer.recommend.scores import baselines, rank


def _models(starts: Sequence[str] | None) -> tuple[dict[str, Model], dict[str, str]]:
    """Return models, and what brings others, by name; by default those of all checkpoints.

    Of a checkpoint that nobody has named and that cannot be loaded only that is said.
    """
    models, absent = {}, {}
    for name in dict.fromkeys(starts or library.names()):
        try:
            found = library.find(name) if library.is_checkpoint(name) else None
            if found and found.lacking and (found.card.package or not starts):
                absent[name] = found.command
            else:
                models[name] = load(name)
        except UserError as error:
            if starts:
                raise
            _left_out(name, error)
    return models, absent


def _left_out(name: str, error: UserError) -> None:
    sys.stderr.write(f"tlzoo: {name} is left out: {printable(str(error))}\n")


def recommend(request: RecommendRequest) -> Report:
    """Rank models by what can be read off their embeddings of some crystals, and say what they cost.

    Raises:
        UserError: There are no models, one cannot be loaded, the data cannot be read, or have too few
            crystals or only one label; or nothing fits into the minutes asked for.
    """
    repeats, most, seed = request.repeats, request.most, request.seed
    if repeats < 1 or most < 1:
        raise UserError(f"repeats and max-crystals must be at least 1, got {repeats} and {most}")
    if request.minutes is not None and request.minutes < 1:
        raise UserError(f"minutes must be at least 1, got {request.minutes:g}")
    models, absent = _models(request.starts)
    if not models:
        needed = "; ".join(f"{name} needs {text}" for name, text in absent.items())
        raise UserError(needed or f"{library.there_are()}; name run directories or files with --from")
    first, *_ = models
    asked = Request(
        source=request.source,
        target=request.target,
        unit=request.unit,
        starts=(first,),
        configs=request.configs,
    )
    data = read(draft(asked, asked.start_models()[first]))
    rows = data.used_rows if request.everything else data.split.train
    drawn = rows
    if len(rows) > most:
        drawn = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    crystals = data.crystals.select(drawn)
    labels = data.target_values(drawn).numpy()[:, 0].astype(np.float64)
    if np.ptp(labels) == 0:
        raise UserError(f"{data.targets[0]} is {labels[0]:g} for all crystals: there is nothing to learn")
    part = "all" if request.everything else "the training part"
    row = recipe(len(data.split.train))
    left = None if request.starts else _left_out
    scores = rank(crystals, labels, models, unit=data.units[0], repeats=repeats, seed=seed, left=left)
    paces = {score.name: score.pace for score in scores if score.name in models}
    report = Report(
        source=request.source,
        target=data.targets[0],
        unit=data.units[0],
        crystals=len(drawn),
        part=part if len(drawn) == len(rows) else f"drawn from {len(rows):,} of {part}",
        scores=scores,
        baselines=baselines(crystals, labels, repeats=repeats, seed=seed),
        recipe=row,
        costs=fine_tuning(asked, data, row, paces),
        labelled=len(data.used_rows),
        minutes=request.minutes,
        absent=absent,
        options=[
            *(["--unit", request.unit] if request.unit else []),
            *(word for path in request.configs for word in ("--config", str(path))),
        ],
    )
    start = report.kept or report.scores[0]
    known = known_crystals([start.name] if start.name in models else [], data.crystals, drawn, request.source)
    seen = {start.name: int(known.mask.sum())} if known.mask is not None else {}
    return replace(report, seen=seen)
