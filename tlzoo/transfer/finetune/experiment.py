"""The two experiments that are compared, as the configurations that `tlzoo fit` takes."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Literal, get_args, get_type_hints

from tlzoo import zoo
from tlzoo.errors import UserError
from tlzoo.model.checkpoint import Loaded
from tlzoo.model.description import class_of, describe
from tlzoo.nn import AnyPooling
from tlzoo.training.run import read_yaml
from tlzoo.transfer.finetune.finetune_request import Request, called
from tlzoo.transfer.finetune.recipes import Recipe, Strategy, strategy

Side = Literal["transfer", "scratch"]
SIDES: Final[tuple[Side, ...]] = ("transfer", "scratch")
Tree = dict[str, Any]

# What a configuration on top must leave alone: it would be another comparison.
OURS: Final = ("backbone", "freezing", "layer_decay", "l2_sp")

# Heads of one number, which take a smallest value.
LIMITED: Final = ("Regression", "Gaussian", "Quantile", "tlzoo.zoo.head")


def in_unit(card: Mapping[str, Any], unit: str) -> list[str]:
    """Name the targets of a model that have a unit: what it predicts of them may nearly be the property.

    In no unit, ``""`` or ``"1"``, are too many properties for that to mean anything.
    """
    if unit in {"", "1"}:
        return []
    return [name for name, its in zip(card["targets"], card["units"], strict=True) if its == unit]


@dataclass(frozen=True)
class Choice:
    """What validation chooses.

    Attributes:
        rate: Learning rate.
        pooling: From atoms to the crystal; None for what the network has.
        start: The model to start from, or from scratch the one whose network it is; None if there is one.
        strategy: What trains; None where only one is tried.
    """

    rate: float
    pooling: AnyPooling | None = None
    start: str | None = None
    strategy: Strategy | None = None

    def __str__(self) -> str:
        pooling = f", {self.pooling} pooling" if self.pooling else ""
        first = "".join(f"{each}, " for each in (self.start, self.strategy) if each)
        return f"{first}learning rate {self.rate:g}{pooling}"

    def facts(self) -> dict[str, Any]:
        """Return it as plain data, the strategy only where several are tried."""
        return {name: value for name, value in vars(self).items() if name != "strategy" or value}

    @property
    def slug(self) -> str:
        """The same as the part of a file name."""
        start = f"{called(self.start)}-" if self.start else ""
        start += f"{self.strategy}-" if self.strategy else ""
        return f"{start}lr-{self.rate:g}" + (f"-{self.pooling}" if self.pooling else "")


@dataclass(frozen=True)
class Plan:
    """Both experiments, but for what is chosen and the seed.

    There is a tree for each side with each model to start from, as choices name it.
    """

    trees: Mapping[tuple[Side, str | None], Tree]
    choices: Mapping[Side, tuple[Choice, ...]]

    @property
    def head(self) -> str:
        """The class of the head, which a configuration on top may change."""
        scratch = next(tree for (side, _), tree in self.trees.items() if side == "scratch")
        return str(scratch["model"]["head"]["class_path"]).rpartition(".")[2]

    @property
    def least(self) -> float:
        """The smallest value that a prediction may have; -inf for no limit."""
        scratch = next(tree for (side, _), tree in self.trees.items() if side == "scratch")
        minimum = scratch["model"]["head"].get("init_args", {}).get("minimum")
        return -inf if minimum is None else float(minimum)

    @property
    def classes(self) -> bool:
        """Whether classes are learned."""
        return self.head == "Classification"

    def tree(self, side: Side, choice: Choice, seed: int) -> Tree:
        """Return the configuration of one training."""
        tree = deepcopy(self.trees[side, choice.start])
        tree["model"]["optimizer"]["init_args"]["lr"] = choice.rate
        tree["model"] |= deepcopy(strategy(choice.strategy or "all"))
        if choice.pooling is not None:
            tree["model"]["backbone"]["init_args"]["pooling"] = choice.pooling
        return {"seed_everything": seed, **tree}


def draft(request: Request, start: Loaded) -> Tree:
    """Return the scratch experiment before the number of crystals is known: enough to read the data with."""
    model = {"backbone": start.network, "head": {"class_path": "Regression"}}
    return _on_top(request, {"model": model, "data": _data(request)})


def plan(
    request: Request,
    starts: Mapping[str, Loaded],
    row: Recipe,
    targets: Sequence[str],
    *,
    classes: bool = False,
    minimum: float | None = None,
) -> Plan:
    """Write both experiments in full; a new head predicts a number, or which of two classes it is.

    Of equal networks one is trained from scratch; the recipe is for what was not asked. ``minimum`` is the
    smallest number that is possible, None if nobody knows.
    """
    several = len(starts) > 1
    networks: dict[str, str] = {}
    trees: dict[tuple[Side, str | None], Tree] = {}
    choices: dict[Side, list[Choice]] = {side: [] for side in SIDES}
    kept = row.kept_head_rates if request.head is not None else row.rates
    rates = {"transfer": request.rates or kept, "scratch": scratch_rates(request, row)}
    fresh: Tree = {"class_path": "Classification" if classes else "Regression"}
    for name, start in starts.items():
        models = _models(request, name, start.network, row, fresh)
        poolings = _poolings(request, name, start.network, row)
        same = networks.setdefault(_network(models["scratch"]), name) != name
        for side in SIDES:
            if side == "scratch" and same:
                continue
            label = name if several else None
            trees[side, label] = _limited(_experiment(request, models[side], row, targets), minimum)
            choices[side] += [
                Choice(rate, pooling, label, trains)
                for trains in (request.strategies or (None,) if side == "transfer" else (None,))
                for pooling in poolings[side]
                for rate in rates[side]
            ]
    return Plan(trees, {side: tuple(found) for side, found in choices.items()})


def scratch_rates(request: Request, row: Recipe) -> tuple[float, ...]:
    """Return the learning rates that training from scratch tries.

    Those that are asked for, unless they are meant for a trained head, which moves in smaller steps: then its
    own, and further ones by factors of three below and above until they are as many.
    """
    if request.rates is None or request.head is None:
        return request.rates or row.rates
    rates = sorted(row.rates)
    while len(rates) < len(set(request.rates)):
        rates = (
            [float(f"{rates[0] / 3:.1g}"), *rates]
            if len(rates) % 2
            else [*rates, float(f"{3 * rates[-1]:.1g}")]
        )
    return tuple(rates)


def neglected(plan: "Plan", row: Recipe, best: "Choice") -> list[str]:
    """Say what the recipe would have given to training from scratch and this comparison did not.

    ``best`` is what did best there: rates beyond the largest that was tried are missed only if that was it.
    """
    tree, tried = (
        next(tree for (side, _), tree in plan.trees.items() if side == "scratch"),
        plan.choices["scratch"],
    )
    found = []
    if (epochs := tree["trainer"]["max_epochs"]) is not None and 0 <= epochs < row.epochs:
        found.append(f"{row.epochs} epochs (it had {epochs})")
    rates = sorted({choice.rate for choice in tried})
    missed = {rate for rate in row.rates if not rates[0] <= rate <= rates[-1]}
    if beyond := [
        rate for rate in sorted(missed) if best.rate == (rates[-1] if rate > rates[-1] else rates[0])
    ]:
        end = "largest" if beyond[-1] > best.rate else "smallest"
        named = " and ".join(f"{rate:g}" for rate in beyond)
        where = f"the {end} tried" if len(rates) > 1 else "the only one tried"
        found.append(f"learning rate {named} (it did best at {best.rate:g}, {where})")
    poolings = {choice.pooling for choice in tried}
    offered = _offered(tree["model"]["backbone"])
    missed_poolings = [each for each in row.poolings if each in offered and each not in poolings]
    if None not in poolings and (others := missed_poolings):
        found.append(f"{' and '.join(others)} pooling")
    return found


def _models(request: Request, name: str, spec: Tree, row: Recipe, fresh: Tree) -> dict[Side, Tree]:
    """Return the section ``model`` of each side, but for the optimiser; ``fresh`` is a new head."""
    head = kept = fresh
    if request.head is not None:
        head = describe(zoo.head(name, request.head))
        arguments: Tree = {"name": name, "target": request.head}
        kept = {"class_path": "tlzoo.zoo.head", "init_args": arguments}
        if "loss" in head["init_args"]:
            # what a new head learns with, not what the model was pre-trained with
            head["init_args"]["loss"] = arguments["loss"] = "l1"
        if "minimum" not in head["init_args"]:
            arguments["minimum"] = None  # it has no such limit: classes
        elif head["init_args"]["minimum"] is None:
            del head["init_args"]["minimum"]  # not chosen by anybody yet
    backbone = {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": name}}
    strategic = {} if request.strategies else strategy(request.strategy or row.strategy)
    return {
        "transfer": {"backbone": backbone, "head": kept, **strategic},
        "scratch": {"backbone": spec, "head": head},
    }


def _poolings(
    request: Request, name: str, spec: Tree, row: Recipe
) -> dict[Side, tuple[AnyPooling | None, ...]]:
    if "pooling" in spec["init_args"]:
        offered = _offered(spec)
        if unknown := [each for each in request.poolings or () if each not in offered]:
            raise UserError(f"{name} has the poolings {' and '.join(offered)}, not {unknown[0]}")
        poolings = request.poolings or tuple(each for each in row.poolings if each in offered)
        # a trained head reads what the trained pooling gives
        kept = request.head is not None and not request.poolings
        return {"transfer": (spec["init_args"]["pooling"],) if kept else poolings, "scratch": poolings}
    if request.poolings:
        raise UserError(f"{name} has no choice of pooling: leave --pooling out")
    return {"transfer": (None,), "scratch": (None,)}


def _offered(spec: Tree) -> tuple[str, ...]:
    """Return the poolings that a network has a choice of, as its constructor says; else all."""
    hint = get_type_hints(class_of(spec).__init__).get("pooling")
    return get_args(hint) or get_args(AnyPooling)


def _network(model: Tree) -> str:
    """Return what tells a network from others, whatever its pooling, which is tried."""
    backbone = deepcopy(model["backbone"])
    backbone["init_args"].pop("pooling", None)
    return json.dumps([backbone, model["head"]], sort_keys=True)


def _experiment(request: Request, model: Tree, row: Recipe, targets: Sequence[str]) -> Tree:
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": None, "weight_decay": 1e-4}}
    data = {**_data(request), "targets": list(targets), "batch_size": request.batch_size or row.batch_size}
    trainer = {"max_epochs": request.epochs or row.epochs}
    model = {**model, "optimizer": optimizer, "keep": "last"}
    return _on_top(request, {"model": model, "data": data, "trainer": trainer})


def _data(request: Request) -> Tree:
    split = {"class_path": "Random", "init_args": {"val": 0.15, "test": 0.2, "seed": 0}}
    data: Tree = {"source": request.source, "split": split}
    if request.target is not None:
        data["targets"] = [request.target]
        if request.unit is not None:
            data["units"] = {request.target: request.unit}
    return data


def _limited(tree: Tree, minimum: float | None) -> Tree:
    """Give a head its smallest value, whatever its class, where it has one and the request does not say."""
    head = tree["model"]["head"]
    if minimum is not None and head["class_path"].removeprefix("tlzoo.heads.") in LIMITED:
        arguments = {"minimum": minimum, **head.get("init_args", {})}
        tree["model"] = {**tree["model"], "head": {**head, "init_args": arguments}}
    return tree


def _on_top(request: Request, tree: Tree) -> Tree:
    for path in request.configs:
        given = read_yaml(path)
        if ours := [name for name in OURS if name in (given.get("model") or {})]:
            raise UserError(
                f"{path} sets model.{ours[0]}, which differs between the two sides that are compared; "
                "use --from and --strategy"
            )
        tree = merge(tree, given)
    return tree


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
