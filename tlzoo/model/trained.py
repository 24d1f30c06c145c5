"""A trained model as one object: predict and embed crystals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlzoo.backbones.backbone import Backbone
from tlzoo.cards.beside import TAUGHT, lacking
from tlzoo.cards.card import Interval
from tlzoo.cards.library import locate
from tlzoo.crystals import Crystals
from tlzoo.data.intake import Data, as_table
from tlzoo.data.structure_keys import StructureKeys
from tlzoo.descriptors.stores import Options, Store
from tlzoo.errors import UserError
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.graphs.parts import consecutive
from tlzoo.graphs.row_budget import RowBudget
from tlzoo.heads.head import Head
from tlzoo.model import answer_record, checkpoint, contributions, ensemble, teacher_map
from tlzoo.model.activations import EMBEDDING, TEACHER, activations, apart, check_layers, widths
from tlzoo.model.answer_record import SHOWN
from tlzoo.model.answerer import BATCH_SIZE, MAX_ROWS, Answerer
from tlzoo.model.answering import Columns, Stores, answered, answered_beside, joined
from tlzoo.model.domain import DRAWN, Domain, read
from tlzoo.model.intervals import ENDS, widened
from tlzoo.model.intervals import read as read_intervals
from tlzoo.model.predictor import About, errors, history
from tlzoo.model.teacher_map import TeacherMap

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Model(Answerer):
    """A trained network with everything known about it.

    Attributes:
        backbone: The part that turns crystals into embeddings.
        head: The part that turns embeddings into predictions.
        card: Targets, units, training data and errors.
        others: Further trainings of the same kind. Their predictions are averaged with those of this one;
            embeddings are of this one alone.
        intervals: Widths of the prediction intervals, for each target that has them.
        budget: How many rows fit into memory.
        weights: The file that the model was read from, if any.
        learned_from: What is known of the training crystals, if no file beside the weights tells it.
    """

    backbone: Backbone
    head: Head
    card: dict[str, Any]
    others: tuple["Model", ...] = ()
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    budget: RowBudget = field(default_factory=RowBudget, repr=False, compare=False)
    weights: Path | None = field(default=None, compare=False)
    learned_from: Domain | None = field(default=None, compare=False)

    def about(self) -> About:
        """Describe the model in a few words."""
        name = self.card.get("name")
        if name is None and self.weights is not None:
            name = self.weights.parent if self.weights.stem == "model" else self.weights
        parameters = sum(each.numel() for part in (self.backbone, self.head) for each in part.parameters())
        network = f"{type(self.backbone).__name__}, {parameters:,} parameters"
        network += f"; {1 + len(self.others)} of them answer together" if self.others else ""
        return About(str(name or "a model"), network, history(self.card), errors(self.card, self.units))

    @property
    def options(self) -> list[Options]:
        """What must be made of crystals for :meth:`answers`: what the backbone reads."""
        return [self.backbone.graph]

    @property
    def units(self) -> dict[str, str]:
        """Unit of each target, by name."""
        return dict(zip(self.card["targets"], self.card["units"], strict=True))

    @property
    def columns(self) -> list[str]:
        """Columns of `predict`: predictions, spreads of several trainings, ends of 90 % intervals."""
        targets = self.card["targets"]
        spreads = [f"{name}_spread" for name in targets if self.others]
        ends = [f"{name}_{end}" for name in targets if name in self.intervals for end in ENDS]
        return list(dict.fromkeys([*self.head.columns(targets), *spreads, *ends]))

    def answer(self, batch: Batch, embedding: Tensor | None = None, level: str = SHOWN) -> Tensor:
        """Predict for graphs, or from their embedding if known, ``(crystals, columns)`` in physical units.

        Intervals are to hold as many crystals as the level says.
        """
        answer = self.head.predict(self.head(self.backbone(batch) if embedding is None else embedding))
        targets, spreads = self.card["targets"], []
        if self.others:
            each = torch.stack([answer, *(other.answer(batch) for other in self.others)])
            answer, spreads = each.mean(dim=0), [each.std(dim=0)]
        if not self.intervals:
            return torch.cat([answer, *spreads], dim=1)
        found = dict(zip(self.columns, torch.cat([answer, *spreads], dim=1).unbind(dim=1), strict=False))
        for name, ends in widened(self.intervals, self.head, targets, answer, level).items():
            found |= {f"{name}_{end}": values for end, values in zip(ENDS, ends, strict=True)}
        return torch.stack([found[name] for name in self.columns], dim=1)

    def told(
        self, stores: Stores, level: str = SHOWN, /, **limits: int
    ) -> tuple[Columns, NDArray[np.float32]]:
        """Predict and embed, as :meth:`Answerer.told` says."""
        (columns,), embedding = self.told_with([], stores, level, **limits)
        return columns, embedding

    def told_with(
        self, others: Sequence["Model"], stores: Stores, level: str = SHOWN, /, **limits: int
    ) -> tuple[list[Columns], NDArray[np.float32]]:
        """Return what this model and others that read the same say, in one pass, and its own embedding."""
        each = (self, *others)

        def compute(batch: Batch) -> Tensor:
            embedding = self.backbone(batch)
            answers = [other.answer(batch, None, level) for other in others]
            return torch.cat([self.answer(batch, embedding, level), *answers, embedding.float()], dim=1)

        table = self.rows(compute, stores[self.backbone.graph], **limits)
        *parts, embedding = np.split(table, np.cumsum([len(one.columns) for one in each]), axis=1)
        found = [dict(zip(one.columns, part.T, strict=True)) for one, part in zip(each, parts, strict=True)]
        return found, embedding

    @cached_property
    def domain(self) -> Domain:
        """What the files beside the weights tell about the training crystals."""
        if self.learned_from is not None:
            return self.learned_from
        if self.weights is None:
            return Domain.unknown("it was not read from a file")
        found = read(self.weights, self.card)
        if found.measures and len(found.scale) != self.backbone.out_dim:
            raise UserError(f"the domain beside {self.weights} is that of another model; restore its card")
        return found

    @cached_property
    def teacher_map(self) -> TeacherMap | None:
        """What makes the states of atoms what the model says of its teacher's numbers, if that is known.

        Raises:
            UserError: The file beside the weights is damaged, or that of another model.
        """
        if self.weights is None:
            return None
        found = teacher_map.read(self.weights, self.card)
        wide = sum(layer.dim for layer in self.backbone.state_layers().values())
        if found is not None and len(found.mean) != wide:
            raise UserError(
                f"the map to the teacher's numbers beside {self.weights} is that of another model; restore "
                "its card"
            )
        return found

    @cached_property
    def widths(self) -> dict[str, int]:
        """Layers from input to output, with the length of their vectors."""
        return widths(self.backbone, self.head, self.teacher_map)

    def per_atom(
        self, crystals: Data, *, batch_size: int = BATCH_SIZE, max_rows: int = MAX_ROWS
    ) -> "pd.DataFrame":
        """Show what each atom contributes to the predictions; arguments and errors of `predict`.

        The mean of the contributions of a crystal is its prediction (with pooling ``sum``: their sum). For a
        linear head they are exact, otherwise a first-order estimate: :mod:`tlzoo.model.contributions`.

        Returns:
            One row per atom, crystal after crystal: ``id``; ``atom``, its place in the structure, from 0;
            ``element``; fractional coordinates ``x``, ``y``, ``z``; and a column per property, in its unit.

        Raises:
            UserError: The network does not pool atoms by mean, sum or attention.
        """
        import pandas as pd

        def answer(some: Crystals, stores: Stores) -> Columns:
            return self.contributed(some, stores, batch_size=batch_size, max_rows=max_rows)

        contributions.pool_of(self.backbone)
        found = answered_beside(as_table(crystals), self.options, answer)
        names = ["id", "atom", "element", *"xyz", *contributions.columns(self.head, self.card["targets"])]
        table = pd.DataFrame(joined(found, names)).astype({"atom": int})
        table.attrs["pooling"] = contributions.pool_of(self.backbone).pooling
        return table

    def contributed(
        self, crystals: Crystals, stores: Stores, *, batch_size: int = BATCH_SIZE, max_rows: int = MAX_ROWS
    ) -> Columns:
        """Return the columns of :meth:`per_atom` for what was made of crystals."""
        contributions.pool_of(self.backbone)
        store = stores[self.backbone.graph]
        assert isinstance(store, GraphStore)
        return contributions.of_crystals(self, crystals, store, batch_size=batch_size, max_rows=max_rows)

    @property
    def layers(self) -> list[str]:
        """Names of the layers that `embed` can read, from input to output."""
        return list(self.widths)

    def embed(
        self,
        crystals: Data,
        *,
        layer: str = EMBEDDING,
        batch_size: int = BATCH_SIZE,
        max_rows: int = MAX_ROWS,
    ) -> NDArray[np.float32]:
        """Compute embeddings of crystals, ``(crystals, dim)``; arguments and errors are those of `predict`.

        The default layer is the embedding, which the backbone passes on to the head. For layers of atoms or
        bonds (:attr:`layers`), the mean over the crystal is returned. For a regression on few crystals,
        ``states`` is usually the best choice: mean, standard deviation and maximum over the atoms, of every
        layer of atoms; or, of a network that a potential has taught, ``teacher``: the same of what it says
        of the potential's numbers. ``A+B`` puts two side by side: ``states+teacher``.

        Raises:
            UserError: There is no such layer; the message lists those there are.
        """
        return self.activations(crystals, [layer], batch_size=batch_size, max_rows=max_rows)[layer]

    def activations(
        self, crystals: Data, layers: Sequence[str], **limits: int
    ) -> dict[str, NDArray[np.float32]]:
        """Return the activations of several layers in one pass, ``(crystals, dim)`` each; see `embed`."""
        self.check_layers(layers)
        found = answered(as_table(crystals), self.options, lambda stores: self.read(stores, layers, **limits))
        sizes = {layer: sum(self.widths[name] for name in apart(layer)) for layer in layers}
        return {
            layer: np.concatenate([np.empty((0, size), np.float32), *(part[layer] for part in found)])
            for layer, size in sizes.items()
        }

    def read(self, stores: Stores, layers: Sequence[str], **limits: int) -> dict[str, NDArray[np.float32]]:
        """Return the activations of several layers for what was made of crystals; see :meth:`answers`."""
        self.check_layers(layers)
        single = list(dict.fromkeys(name for layer in layers for name in apart(layer)))
        device = next(self.backbone.parameters()).device
        teacher = self.teacher_map.to(device) if TEACHER in single and self.teacher_map else None

        def compute(batch: Batch) -> Tensor:
            return activations(self.backbone, self.head, batch, single, teacher)

        table = self.rows(compute, stores[self.backbone.graph], **limits)
        ends = np.cumsum([self.widths[name] for name in single])
        found = dict(zip(single, np.split(table, ends[:-1], axis=1), strict=True))
        return {
            layer: np.concatenate([found[name] for name in apart(layer)], axis=1)
            for layer in dict.fromkeys(layers)
        }

    def check_layers(self, layers: Sequence[str]) -> None:
        """Refuse layers that the model does not have; of ``A+B`` each must be there.

        Raises:
            UserError: Names the first, why it is not there if a file is missing, and those there are.
        """
        single = [name for layer in layers for name in apart(layer)]
        if TEACHER in single and (lost := self.lacking_map):
            raise UserError(f"there is no layer {TEACHER!r}: {lost}")
        check_layers(single, self.widths)

    @property
    def lacking_map(self) -> str:
        """Say which file keeps it from saying what it knows of its teacher, and what to do; empty if none."""
        if self.weights is None or not (missing := lacking(self.weights, self.card, TAUGHT)):
            return ""
        path = self.weights.with_name(missing[0].file)
        return f"{path}, which the card names, is not beside the weights; copy it from where they came from"

    def to(self, device: str | torch.device) -> Self:
        """Move the networks to a device, for example ``"cuda"``; return the model itself."""
        self.backbone.to(device)
        self.head.to(device)
        for other in self.others:
            other.to(device)
        return self

    def rows(
        self,
        compute: Callable[[Batch], Tensor],
        store: Store,
        *,
        batch_size: int = BATCH_SIZE,
        max_rows: int = MAX_ROWS,
    ) -> NDArray[np.float32]:
        """Return one row of results per crystal, ``(crystals, width)``; crystals of one size go together."""
        device = next(self.backbone.parameters()).device
        if device.type == "cpu":
            max_rows = min(max_rows, self.backbone.cpu_rows)
        order = np.argsort(store.num_rows, kind="stable")
        with torch.inference_mode():
            done = [
                self.budget.apply(compute, store.batch(order[piece]).to(device))
                for piece in consecutive(store.num_rows[order], most=batch_size, budget=max_rows)
            ]
            table: NDArray[np.float32] = torch.cat(done).float().cpu().numpy()
        return table[np.argsort(order)]


def load(name: str | Path) -> Model:
    """Load a trained model.

    Args:
        name: A checkpoint (`tlzoo zoo list`), a run directory, a ``.safetensors`` file with its card beside
            it, ``hf:user/model@revision``, ``https://….safetensors#sha256=…`` or
            ``wandb:entity/project/name:version``. For the directory of `tlzoo finetune --seeds
            N`, the N trainings predict together. A directory where a head on frozen features predicts is for
            :func:`tlzoo.load`.

    Raises:
        UserError: There is no such model, it cannot be fetched, it is damaged, or its hash is wrong.
    """
    path = locate(str(name))
    first, *others = (_alone(each) for each in (path, *ensemble.others(path)))
    for other in others:
        _check_alike(first, other)
    record = answer_record.read(path)
    if record is None:
        # those of one training are not those of several together
        intervals = {} if others else read_intervals(first.card, first.head, path)
    else:
        intervals = {} if answer_record.FROZEN in record.parts else record.intervals(first.card["targets"])
    return replace(first, others=tuple(others), intervals=intervals)


def embed(
    name: str | Path,
    crystals: Data,
    *,
    layer: str = EMBEDDING,
) -> NDArray[np.float32]:
    """Compute embeddings of crystals with a model; see :func:`load` and :meth:`Model.embed`.

    Raises:
        UserError: There is no such model or layer, or the model cannot read a crystal.
    """
    return load(name).embed(crystals, layer=layer)


def learned_domain(model: Model, crystals: Crystals, store: Store) -> Domain:
    """Return what a model has learned from, by all its training crystals; at most 2,000 are embedded.

    The store holds what the model reads of these crystals.
    """
    drawn = np.random.default_rng(0).permutation(len(crystals))[:DRAWN]
    embedding = model.read({model.backbone.graph: store.select(drawn)}, [EMBEDDING])[EMBEDDING]
    return Domain.of(embedding, structure_keys(crystals))


def structure_keys(crystals: Crystals) -> StructureKeys:
    """Return the keys of training crystals, found once for all models that learn from them."""
    sha256 = crystals.content_hash
    if sha256 not in _KEYS:
        _KEYS.clear()
        _KEYS[sha256] = StructureKeys.of(crystals)
    return _KEYS[sha256]


# Of the training crystals last asked for: the trainings of a comparison have the same, and a key costs half
# a millisecond or more.
_KEYS: dict[str, StructureKeys] = {}


def _alone(path: Path) -> Model:
    loaded = checkpoint.load(path)
    if not loaded.head.scaler.fitted:
        raise UserError(f"{path} is no trained model: its target scaler has not been fitted")
    return Model(backbone=loaded.backbone, head=loaded.head, card=loaded.card, weights=path)


def _check_alike(first: Model, other: Model) -> None:
    """Refuse models whose predictions cannot be averaged."""
    for name in ("targets", "units"):
        if first.card[name] != other.card[name]:
            raise UserError(
                f"models that answer together need the same {name}, got {', '.join(first.card[name])} and "
                f"{', '.join(other.card[name])}; remove {ensemble.FILE} from the run directory"
            )
    plain = all(m.head.columns(m.card["targets"]) == m.card["targets"] for m in (first, other))
    if not plain or first.backbone.graph != other.backbone.graph:
        raise UserError(
            "models that answer together need the same graphs and a number for each property; remove "
            f"{ensemble.FILE} from the run directory"
        )
