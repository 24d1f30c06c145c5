"""From a shard of a pool to a table of answers: a pure function of crystals, models and a condition."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.sources import Problem
from tlzoo.data.sources.problems import remarks
from tlzoo.data.sources.records import strange_structures
from tlzoo.errors import UserError
from tlzoo.machine import runtime
from tlzoo.model.answering import Make, Questions, Stores, alone
from tlzoo.model.domain import Domain
from tlzoo.model.trust import unseen_elements
from tlzoo.screen.facts import Facts
from tlzoo.screen.kept_domain import open_domain
from tlzoo.screen.pool import Slice, open_pool
from tlzoo.screen.predictors import DEVIATIONS, Answers, open_predictors
from tlzoo.screen.screen_request import Request
from tlzoo.screen.shards import Shards
from tlzoo.screen.where import Where

FORMAT: Final = 1
PACKAGES: Final = ("tlzoo", "torch", "numpy", "vesin")

Values = NDArray[np.float64]


class Screening:
    """Models, a pool and a condition, ready to answer.

    Raises:
        UserError: A model, the pool or the condition is no such thing.
    """

    def __init__(self, request: Request, shards: Shards) -> None:
        if request.shard < 1:
            raise UserError(f"a shard must have at least 1 crystal, got {request.shard}")
        self.request, self.shards = request, shards
        self.predictors = open_predictors(request.models, request.target)
        self.pool = open_pool(request.pool)
        self.where = Where(request.where, self.pool.columns) if request.where else None
        first = self.predictors[0]
        self.target, self.unit = first.target, first.unit
        # the spread of models that say nothing of themselves is no interval
        self.uncertain = any(model.uncertain for model in self.predictors)
        self.options = list(dict.fromkeys(each for one in self.predictors for each in one.needs))
        self.domains: list[Domain] = []

    def manifest(self) -> dict[str, Any]:
        """Return all that the answers depend on."""
        return {
            "format": FORMAT,
            "models": [each.sha256 for each in self.predictors],
            "target": self.target,
            "pool": {"sha256": self.pool.identity, "crystals": len(self.pool)},
            "where": self.request.where,
            "shard": self.request.shard,
            "versions": {name: version(name) for name in PACKAGES},
        }

    def open_domains(self) -> None:
        """Learn what the models have learned from, which takes a while the first time."""
        self.domains = [open_domain(self.shards.domain(i), each) for i, each in enumerate(self.predictors)]
        runtime.give_back()

    @property
    def calibrated(self) -> bool:
        """Whether somebody counted how many crystals the intervals hold."""
        return len(self.predictors) == 1 and bool(self.predictors[0].calibration)

    @property
    def meaning(self) -> dict[str, str]:
        """What the columns on uncertainty say, by name."""
        first, *others = self.predictors
        found = {}
        if others:
            found[f"{self.target}_spread"] = (
                f"standard deviation of the predictions of {len(self.predictors)} models; no interval"
            )
        if self.uncertain:
            say = sum(model.uncertain for model in self.predictors)
            of = (
                f"{say} of the models say of themselves, and their spread"
                if others
                else "the model says of itself"
            )
            ends = (
                f"95 % interval, {first.calibration}"
                if self.calibrated
                else f"by what {of}; nobody calibrated it"
            )
            found |= {f"{self.target}_{end}": f"{end} end, {ends}" for end in ("lower", "upper")}
        return found

    @property
    def size(self) -> int:
        """Number of shards."""
        return -(-len(self.pool) // self.request.shard)

    def slices(self, wanted: Sequence[int]) -> Iterator[Slice]:
        """Read shards of the pool, in order."""
        columns = self.where.named if self.where else []
        return self.pool.slices(self.request.shard, set(wanted), columns)

    def table(self, part: Slice, make: Make = alone) -> Any:  # noqa: ANN401 (pyarrow has no types)
        """Return the answers for a shard, a row for each crystal that is not filtered out."""
        import pyarrow as pa

        facts = Facts(part.crystals)
        kept = self.where.keeps(facts) if self.where else np.ones(len(part.crystals), dtype=bool)
        problems = {row: f"the condition cannot be told: {text}" for row, text in facts.unknown.items()}
        asked = np.setdiff1d(np.flatnonzero(kept), list(problems)).astype(np.int64)
        strange = self._strange(part.crystals, asked)
        problems |= {row: found.message for row, found in strange.items() if found.severity == "error"}
        questions = Questions(
            part.crystals, self.options, np.setdiff1d(asked, list(problems)).astype(np.int64)
        )
        rows, stores = questions.made(questions.rows, make)
        problems |= questions.problems
        columns = self._answers(facts.select(rows), stores)
        finite = np.isfinite(columns[self.target])
        problems |= dict.fromkeys(rows[~finite].tolist(), "the prediction is no finite number")
        shown = np.sort(np.array([*rows[finite], *problems], dtype=np.int64))
        answered = np.isin(shown, rows[finite])
        table = {
            "row": part.first + shown,
            "id": pa.array(part.crystals.ids[shown], pa.string()),
            "formula": pa.array(facts.formulas[shown], pa.string()),
            **{name: _among(values[finite], answered) for name, values in columns.items()},
            "problem": pa.array([problems.get(row) for row in shown.tolist()], pa.string()),
        }
        found = remarks(strange.values(), self.pool.name)
        return pa.table(table, metadata={"read": str(len(part.crystals)), "remarks": json.dumps(found)})

    def _strange(self, crystals: Crystals, rows: NDArray[np.int64]) -> dict[int, Problem]:
        """Return what is strange about some crystals, by row, if nobody has looked at the pool before."""
        if self.pool.looked_at:
            return {}
        some = crystals.select(rows)
        found = strange_structures(replace(some, origins=[f"{self.pool.name}, {name}" for name in some.ids]))
        return {int(rows[row]): problem for row, problem in found.items()}

    def _answers(self, facts: Facts, stores: Stores) -> dict[str, Any]:
        """Return the columns of answers for some crystals."""
        none = np.empty(0)
        answers: list[Answers] = [
            model.answers(stores)
            if len(facts.crystals)
            else Answers(none, none, none, np.empty((0, domain.points.shape[1])))
            for model, domain in zip(self.predictors, self.domains, strict=True)
        ]
        columns: dict[str, Any] = combined(self.target, answers, uncertain=self.uncertain)
        if len(answers) > 1:
            columns |= {
                f"{self.target}:{model.name}": one.value
                for model, one in zip(self.predictors, answers, strict=True)
            }
        columns["unseen_elements"] = self._unseen(facts)
        outside = columns["unseen_elements"] != ""
        pairs = zip(self.domains, answers, strict=True)
        measured = [(domain, one) for domain, one in pairs if domain.measures]
        if measured:
            distances = np.array([domain.distances(one.embedding) for domain, one in measured])
            limits = np.array([[domain.limit] for domain, _ in measured])
            columns["distance"] = distances.max(axis=0)
            outside |= (distances > limits).any(axis=0)
        if listed := [domain.keys for domain in self.domains if domain.keys]:
            held = [keys.holds(facts.crystals, shapes=False) for keys in listed]
            columns["in_training"] = np.any(held, axis=0)
        # one that a model does not find far may be far for another, of which nothing is known
        known = outside | (len(measured) == len(self.domains))
        columns["out_of_domain"] = np.ma.masked_array(outside, ~known)
        return columns

    def _unseen(self, facts: Facts) -> NDArray[np.object_]:
        """Name the elements of each crystal that a model has not learned from."""
        told = [set(each.elements) for each in self.predictors if each.elements is not None]
        return unseen_elements(facts.crystals, set.intersection(*told) if told else None)


def combined(target: str, answers: Sequence[Answers], *, uncertain: bool) -> dict[str, Values]:
    r"""Return mean, spread (standard deviation) and, if a model has one, interval of an ensemble.

    The spread of a few models is no interval: how often the truth is within it nobody knows. With the
    deviations :math:`u_m` of the models' own ends from their values :math:`v_m`, the interval is

    .. math::
        \bar v \pm \sqrt{\langle u_m^2 \rangle + (1.96 s)^2}, \quad
        s^2 = \langle (v_m - \bar v)^2 \rangle
    """
    values, low, high = (np.array(ends) for ends in zip(*(one[:3] for one in answers), strict=True))
    mean = values.mean(axis=0)
    columns = {target: mean}
    spread = values.std(axis=0)
    if len(answers) > 1:
        columns[f"{target}_spread"] = spread
    if not uncertain:
        return columns
    for name, ends, sign in (("lower", low, -1), ("upper", high, 1)):
        own = np.square(ends - values) if len(answers) == 1 else np.nan_to_num(np.square(ends - values))
        columns[f"{target}_{name}"] = mean + sign * np.sqrt(own.mean(axis=0) + np.square(DEVIATIONS * spread))
    return columns


def _among(values: NDArray[Any], places: NDArray[np.bool_]) -> Any:  # noqa: ANN401 (pyarrow has no types)
    """Return values in some places of a column, and none in the others."""
    import pyarrow as pa

    column, unknown = np.zeros(len(places), dtype=values.dtype), ~places
    column[places] = values
    unknown[places] = np.ma.getmaskarray(values)
    return pa.array(column, pa.string() if column.dtype == object else None, mask=unknown)
