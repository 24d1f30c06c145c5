"""The configuration of one training, from plain arguments: what `tlzoo fit` would read from a file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, Final, get_args

from tlzoo import heads
from tlzoo.cards.library import spelled
from tlzoo.data import splits
from tlzoo.data.splits import Splitter
from tlzoo.errors import UserError, no_such
from tlzoo.heads.head import Head
from tlzoo.nn import AnyPooling
from tlzoo.training.run import read_yaml
from tlzoo.transfer.finetune.experiment import merge
from tlzoo.transfer.finetune.recipes import Strategy, recipe, strategy

Tree = dict[str, Any]
# A part of a configuration: the name of a class, or that with its arguments.
Described = str | Mapping[str, Any]

START: Final = "momentnet-u"
# One of those that a comparison tries, and the safer one.
RATE: Final = 3e-3
# Splitters that need nothing but the sizes of the parts.
SPLITTERS: Final = ("Random", "ByComposition")


@dataclass(frozen=True, kw_only=True)
class Plain:
    """How to train, in plain words; None is what is usual for so many crystals.

    Attributes:
        from_: Checkpoint, run directory or ``.safetensors`` file to start from.
        backbone: A network to train from scratch instead: ``CGCNN``, or that with its arguments.
        head: What is predicted: the name of a class of head, or that with its arguments.
        strategy: What is trained of a network that has learned before.
        pooling: From atoms to the crystal; None keeps what it has.
        epochs: Passes over the training part, at most.
        learning_rate: Of the optimiser, AdamW.
        batch_size: Crystals in a batch.
        patience: Stop once the validation error has not become smaller for so many epochs, and keep the best
            epoch; None trains to the end and keeps the last.
        seed: Of weights and batches.
        config: A mapping or YAML file as `tlzoo fit` takes it, on top of all this.
    """

    from_: str | PathLike[str] | None = START
    backbone: Described | None = None
    head: Described = "Regression"
    strategy: Strategy = "all"
    pooling: AnyPooling | None = None
    epochs: int | None = None
    learning_rate: float = RATE
    batch_size: int | None = None
    patience: int | None = None
    seed: int = 0
    config: Mapping[str, Any] | str | Path | None = None

    def tree(self, data: Mapping[str, Any], crystals: int) -> Tree:
        """Return the configuration, for a section ``data`` with so many labelled crystals to learn from.

        Raises:
            UserError: A number is none to train with, or there is no such strategy.
        """
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(f"{name} must be a whole number, 1 or more, got {value!r}")
        rate = self.learning_rate
        if not isinstance(rate, Real) or not 0 < rate < inf:
            raise UserError(f"learning_rate must be a number above 0, got {rate!r}")
        if self.pooling is not None and self.pooling not in get_args(AnyPooling):
            raise UserError(no_such("pooling", self.pooling, get_args(AnyPooling)))
        usual = recipe(crystals)
        optimizer = {"lr": self.learning_rate, "weight_decay": 1e-4}
        model: Tree = {
            "backbone": self._backbone(),
            "head": described(self.head),
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": optimizer},
            "keep": "last" if self.patience is None else "best",
            **(strategy(self.strategy) if self.backbone is None else {}),
        }
        trainer: Tree = {"max_epochs": self.epochs or usual.epochs}
        if self.patience is not None:
            head = getattr(heads, model["head"]["class_path"].rpartition(".")[2], Head)
            stop = {"monitor": f"val/{head.monitor}", "patience": self.patience, "verbose": False}
            path = "lightning.pytorch.callbacks.EarlyStopping"
            trainer["callbacks"] = [{"class_path": path, "init_args": stop}]
        section = {"batch_size": self.batch_size or usual.batch_size, **data}
        tree = {"seed_everything": self.seed, "model": model, "data": section, "trainer": trainer}
        if self.config is None:
            return tree
        given = self.config if isinstance(self.config, Mapping) else read_yaml(Path(self.config))
        return merge(tree, dict(given))

    def _backbone(self) -> Tree:
        if self.backbone is not None:
            return described(self.backbone)
        if self.from_ is None:
            raise UserError("name the model to start from as from_, or a new network as backbone: 'CGCNN'")
        start = {"name": spelled(self.from_), **({"pooling": self.pooling} if self.pooling else {})}
        return {"class_path": "tlzoo.zoo.backbone", "init_args": start}


def described(part: Described) -> Tree:
    """Return a part of a configuration in full.

    >>> described("CGCNN")
    {'class_path': 'CGCNN'}
    """
    return {"class_path": part} if isinstance(part, str) else dict(part)


def splitter(name: str, *, validation: float, test: float, seed: int) -> tuple[Splitter, Tree]:
    """Return how crystals are divided, built and as a part of a configuration.

    Raises:
        UserError: There is no such way, or a number is none.
    """
    if name not in SPLITTERS:
        raise UserError(no_such("split", name, SPLITTERS))
    if not isinstance(seed, Integral):
        raise UserError(f"seed must be a whole number, got {seed!r}")
    for part, size in (("validation", validation), ("test", test)):
        if not isinstance(size, Real):
            raise UserError(f"{part} must be a fraction from 0 to 1 or a count of crystals, got {size!r}")
    sizes = {"val": validation, "test": test, "seed": seed}
    return getattr(splits, name)(**sizes), {"class_path": name, "init_args": sizes}


def learned_from(crystals: int, validation: float, test: float) -> int:
    """Return how many of so many crystals are left to learn from.

    >>> learned_from(100, 0.1, 20)
    70
    """
    return crystals - sum(ceil(part * crystals) if part < 1 else int(part) for part in (validation, test))


def names_of(target: str | Sequence[str] | None) -> list[str] | None:
    """Return the columns to learn as a list; None where none is named.

    Raises:
        UserError: It is no name and no names.
    """
    if target is None:
        return None
    names = [target] if isinstance(target, str) else target
    if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise UserError(f"target must be the name of a column or a list of names, got {target!r}")
    return list(names)
