"""The two experiments that are compared, as the configurations that `tlzoo fit` takes."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from tlzoo import checkpoint, zoo
from tlzoo.cards.library import locate
from tlzoo.checkpoint import Loaded
from tlzoo.errors import UserError
from tlzoo.finetune.recipes import Recipe, strategy
from tlzoo.spec import describe

Side = Literal["transfer", "scratch"]
SIDES: Final[tuple[Side, ...]] = ("transfer", "scratch")
Tree = dict[str, Any]

# What a configuration on top must leave alone: it would be another comparison.
OURS: Final = ("backbone", "freezing", "layer_decay")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to fine-tune on what, and how; what is None follows from the number of crystals.

    Attributes:
        source: Path or name of the data.
        run_dir: Directory for everything.
        target: Column to learn; the data set's own if it has only one.
        unit: Unit of the target, where the source does not know it.
        start: Model to start from: a checkpoint, a run directory or a ``.safetensors`` file.
        strategy: One of :data:`~tlzoo.finetune.recipes.STRATEGIES`.
        head: Target of the model whose trained head is kept; None for a new head.
        epochs: Passes over the training part.
        batch_size: Crystals per batch.
        rates: Learning rates to try, on both sides.
        seeds: Number of trainings at the chosen learning rate.
        seed: Seed of the first; the others follow it.
        configs: Files to put on top of both experiments, in their order.
    """

    source: str
    run_dir: Path
    target: str | None = None
    unit: str | None = None
    start: str
    strategy: str | None = None
    head: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    rates: tuple[float, ...] | None = None
    seeds: int = 1
    seed: int = 0
    configs: Sequence[Path] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "seeds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name.replace('_', '-')} must be at least 1, got {value}")
        if self.rates == ():
            raise UserError("give at least one learning rate")
        if self.rates is not None and not all(rate > 0 for rate in self.rates):
            raise UserError(f"learning rates must be positive, got {', '.join(map(str, self.rates))}")
        if self.strategy is not None:
            strategy(self.strategy)
        if self.unit is not None and self.target is None:
            raise UserError(f"--unit {self.unit} needs the name of the target: give --target too")
        if self.strategy == "last-layer" and self.head is None:
            raise UserError(
                "last-layer trains the last layer of a trained head alone: name one of the model's targets "
                "with --head, or take another strategy"
            )

    def start_model(self) -> Loaded:
        """Read the model to start from.

        Raises:
            UserError: There is no such model; the message lists those there are.
        """
        return checkpoint.load(locate(self.start))


@dataclass(frozen=True)
class Plan:
    """Both experiments, but for learning rate and seed.

    Attributes:
        trees: The configuration of each side.
        rates: Learning rates to try on each side; as many on both.
    """

    trees: Mapping[Side, Tree]
    rates: Mapping[Side, tuple[float, ...]]

    def tree(self, side: Side, rate: float, seed: int) -> Tree:
        """Return the configuration of one training."""
        tree = deepcopy(self.trees[side])
        tree["model"]["optimizer"]["init_args"]["lr"] = rate
        return {"seed_everything": seed, **tree}


def draft(request: Request, start: Loaded) -> Tree:
    """Return the scratch experiment before the number of crystals is known: enough to read the data with."""
    model = {"backbone": start.card["spec"]["backbone"], "head": {"class_path": "Regression"}}
    return _on_top(request, {"model": model, "data": _data(request)})


def plan(request: Request, start: Loaded, row: Recipe, targets: Sequence[str]) -> Plan:
    """Write both experiments in full.

    Args:
        request: What was asked.
        start: The model to start from.
        row: What to do where nothing was asked.
        targets: Names of the target columns.
    """
    spec = start.card["spec"]["backbone"]
    head: Tree = {"class_path": "Regression"}
    kept = head
    if request.head is not None:
        kept = {"class_path": "tlzoo.zoo.head", "init_args": {"name": request.start, "target": request.head}}
        head = describe(zoo.head(request.start, request.head))
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": None, "weight_decay": 1e-4}}
    models: dict[Side, Tree] = {
        "transfer": {
            "backbone": {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": request.start}},
            "head": kept,
            **strategy(request.strategy or row.strategy),
        },
        "scratch": {"backbone": spec, "head": head},
    }
    data = {
        **_data(request),
        "targets": list(targets),
        "batch_size": request.batch_size or row.batch_size,
    }
    trainer = {"max_epochs": request.epochs or row.epochs}
    trees = {
        side: _on_top(request, {"model": {**model, "optimizer": optimizer}, "data": data, "trainer": trainer})
        for side, model in models.items()
    }
    rates = {"transfer": request.rates or row.rates, "scratch": request.rates or row.scratch_rates}
    return Plan(trees, {side: rates[side] for side in SIDES})


def _data(request: Request) -> Tree:
    split = {"class_path": "Random", "init_args": {"val": 0.15, "test": 0.2, "seed": 0}}
    data: Tree = {"source": request.source, "split": split}
    if request.target is not None:
        data["targets"] = [request.target]
        if request.unit is not None:
            data["units"] = {request.target: request.unit}
    return data


def _on_top(request: Request, tree: Tree) -> Tree:
    for path in request.configs:
        tree = merge(tree, _read(path))
    return tree


def _read(path: Path) -> Tree:
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(given, dict):
        raise UserError(f"{path} is no configuration: wanted sections such as model, data and trainer")
    if ours := [name for name in OURS if name in (given.get("model") or {})]:
        raise UserError(
            f"{path} sets model.{ours[0]}, which differs between the two sides that are compared; "
            "use --from and --strategy"
        )
    return given


def merge(below: Tree, above: Tree) -> Tree:
    """Put one configuration on top of another; the arguments of another class are replaced as a whole.

    >>> merge({"a": {"class_path": "X", "init_args": {"i": 1, "j": 2}}}, {"a": {"init_args": {"i": 3}}})
    {'a': {'class_path': 'X', 'init_args': {'i': 3, 'j': 2}}}
    >>> merge({"a": {"class_path": "X", "init_args": {"i": 1}}, "b": 2}, {"a": {"class_path": "Y"}})
    {'a': {'class_path': 'Y'}, 'b': 2}
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            same = value.get("class_path") in {None, old.get("class_path")}
            merged[key] = merge(old, value) if same else value
        else:
            merged[key] = value
    return merged
