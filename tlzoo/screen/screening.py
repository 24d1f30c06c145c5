"""From a shard of a pool to a table of answers: a pure function of crystals, models and a condition."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError
from tlzoo.machine import runtime
from tlzoo.model.answering import Make, Questions, Stores, alone
from tlzoo.screen.domain import Domain
from tlzoo.screen.facts import Facts, symbol
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
        self.uncertain = len(self.predictors) > 1 or first.uncertain
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
        self.domains = [Domain.open(self.shards.domain(i), each) for i, each in enumerate(self.predictors)]
        runtime.give_back()

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
        questions = Questions(part.crystals, self.options, asked)
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
        return pa.table(table, metadata={"read": str(len(part.crystals))})

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
        if measured := [(domain, one) for domain, one in pairs if domain.measures]:
            distances = np.array([domain.distances(one.embedding) for domain, one in measured])
            limits = np.array([[domain.limit] for domain, _ in measured])
            columns["distance"] = distances.max(axis=0)
            outside |= (distances > limits).any(axis=0)
        if listed := [domain for domain in self.domains if domain.lists]:
            columns["in_training"] = np.any([domain.holds(facts) for domain in listed], axis=0)
        columns["out_of_domain"] = outside
        return columns

    def _unseen(self, facts: Facts) -> NDArray[np.object_]:
        """Name the elements of each crystal that a model has not learned from."""
        unseen = np.zeros(facts.counts.shape[1], dtype=bool)
        for predictor in self.predictors:
            if predictor.elements is not None:
                known = set(predictor.elements)
                unseen |= np.array([symbol(z) not in known for z in range(len(unseen))])
        there = (facts.counts > 0) & unseen
        names = [", ".join(symbol(z) for z in np.flatnonzero(row).tolist()) for row in there]
        return np.array(names, dtype=np.object_)


def combined(target: str, answers: Sequence[Answers], *, uncertain: bool) -> dict[str, Values]:
    r"""Return mean, standard deviation and interval of an ensemble.

    With the deviations :math:`u_m` of the models' own ends from their values :math:`v_m`,

    .. math::
        \bar v \pm \sqrt{\langle u_m^2 \rangle + (1.96 s)^2}, \quad
        s^2 = \langle (v_m - \bar v)^2 \rangle
    """
    values, low, high = (np.array(ends) for ends in zip(*(one[:3] for one in answers), strict=True))
    mean = values.mean(axis=0)
    columns = {target: mean}
    if not uncertain:
        return columns
    spread = values.std(axis=0)
    if len(answers) > 1:
        columns[f"{target}_spread"] = spread
    for name, ends, sign in (("lower", low, -1), ("upper", high, 1)):
        own = np.square(ends - values) if len(answers) == 1 else np.nan_to_num(np.square(ends - values))
        columns[f"{target}_{name}"] = mean + sign * np.sqrt(own.mean(axis=0) + np.square(DEVIATIONS * spread))
    return columns


def _among(values: NDArray[Any], places: NDArray[np.bool_]) -> Any:  # noqa: ANN401 (pyarrow has no types)
    """Return values in some places of a column, and none in the others."""
    import pyarrow as pa

    column = np.zeros(len(places), dtype=values.dtype)
    column[places] = values
    return pa.array(column, pa.string() if column.dtype == object else None, mask=~places)
