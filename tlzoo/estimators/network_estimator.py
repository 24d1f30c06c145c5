"""A network that is fine-tuned on structures and labels, as an estimator of scikit-learn."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from tlzoo.crystals import Crystals
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import Random
from tlzoo.errors import UserError
from tlzoo.estimators import estimator_file
from tlzoo.estimators.crystal_input import crystals_of, of_structures
from tlzoo.estimators.experiment_tree import RATE, START, Described, Plain, Tree
from tlzoo.machine.files import write_text
from tlzoo.model import checkpoint
from tlzoo.model.trained import Model, load
from tlzoo.nn import AnyPooling
from tlzoo.training import fitting
from tlzoo.training.run import Run
from tlzoo.transfer.finetune.recipes import Strategy

# Crystals that it takes to learn from some and to validate with others.
LEAST: Final = 3
# The rate falls to zero over all epochs: where these are few, it has fallen before the training is stopped.
EPOCHS: Final = 40
TARGET: Final = "target"


class NetworkEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What the estimators of networks share; see :class:`~tlzoo.estimators.regressor.TransferRegressor`."""

    model_: Model
    history_: pd.DataFrame

    def __init__(
        self,
        from_: str | PathLike[str] | None = START,
        *,
        backbone: Described | None = None,
        strategy: Strategy = "all",
        pooling: AnyPooling | None = None,
        epochs: int | None = EPOCHS,
        learning_rate: float = RATE,
        batch_size: int | None = None,
        validation: float = 0.15,
        patience: int | None = 20,
        random_state: Any = 0,  # noqa: ANN401 (scikit-learn's union)
        config: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self.from_ = from_
        self.backbone = backbone
        self.strategy = strategy
        self.pooling = pooling
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.validation = validation
        self.patience = patience
        self.random_state = random_state
        self.config = config
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 (scikit-learn has no types)
        """Say that X holds structures, not numbers in two dimensions."""
        tags = of_structures(super().__sklearn_tags__())
        tags.target_tags.required = True
        tags.non_deterministic = False
        return tags

    def _train(self, crystals: Crystals, y: NDArray[np.float64], name: str, head: Described) -> None:
        """Fine-tune on labels, ``(crystals,)``; keep the model and the course of the training."""
        check_consistent_length(crystals, y)
        if len(crystals) < LEAST:
            raise UserError(
                f"wanted {LEAST} crystals or more, to learn from some and to validate with others, got "
                f"n_samples = {len(crystals)}"
            )
        if not isinstance(self.validation, Real) or not self.validation > 0:
            raise UserError(f"validation must be above 0: it chooses the epoch, got {self.validation!r}")
        seed = _seed(self.random_state)
        module, split = _divided(replace(crystals, columns={name: y}), name, self.validation, seed)
        plain = Plain(
            from_=self.from_,
            backbone=self.backbone,
            head=head,
            strategy=self.strategy,
            pooling=self.pooling,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            patience=self.patience,
            seed=seed,
            config=self.config,
        )
        with TemporaryDirectory(prefix="tlzoo-") as folder:
            data = {"source": module.source, "targets": [name], "split": split}
            data |= {"cache_dir": str(Path(folder) / "graphs")}
            tree = plain.tree(data, len(module.split.train))
            tree["trainer"].setdefault("enable_progress_bar", bool(self.verbose))
            run = fitting.fit(tree, data=module, run_dir=Path(folder) / "run", quiet=not self.verbose)
            model, self.history_ = load(run.path), run.curves
            known = model.domain  # read before the folder goes
        source = f"{len(crystals):,} crystals, given to {type(self).__name__}{self._labels()}"
        card = {**model.card, "source": source}
        self.model_ = replace(model, card=card, weights=None, learned_from=known)

    def _said(self, X: Any) -> pd.DataFrame:  # noqa: ANN401, N803 (see crystals_of)
        """Return what the network predicts, a row a crystal."""
        check_is_fitted(self)
        return self.model_.predict(crystals_of(X)).drop(columns="id")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def embed(self, X: Any, layer: str = "embedding") -> NDArray[np.float32]:  # noqa: ANN401, N803 (see crystals_of)
        """Return what a layer of the fine-tuned network says of structures, ``(crystals, dim)``."""
        check_is_fitted(self)
        return self.model_.embed(crystals_of(X), layer=layer)

    def save(self, folder: str | Path) -> Path:
        """Write the fitted estimator as data, without pickles, into a folder that :func:`tlzoo.load` takes.

        It is a directory of a model, too: ``tlzoo predict FOLDER …`` answers from it.

        Raises:
            UserError: It cannot be written.
            NotFittedError: It has not been fitted.
        """
        check_is_fitted(self)
        place, model = Path(folder), self.model_
        estimator_file.begin(place)
        checkpoint.save(place / "model", model.backbone, model.head, model.card, domain=model.domain)
        write_text(Run(place).history, self.history_.to_csv(index=False))
        return estimator_file.write(place, self, **self._facts())

    def _labels(self) -> str:
        """Say what the numbers stand for that the network learns, where they are not the labels."""
        return ""

    def _facts(self) -> dict[str, Any]:
        """Return what was learned beside the network, as plain data."""
        return {}

    @classmethod
    def restored(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Return the estimator that :meth:`save` wrote into a folder.

        Raises:
            UserError: A file is missing or damaged.
        """
        estimator: Self = estimator_file.built(cls, folder, facts)
        estimator.model_, estimator.history_ = load(folder), Run(folder).curves
        return estimator


def _divided(table: Crystals, name: str, validation: float, seed: int) -> tuple[CrystalDataModule, Tree]:
    """Return crystals divided for a training, and how, as a part of a configuration.

    Equal structures are in one part, but where there are too many of them for that.
    """
    part = validation if validation >= 1 else max(1, round(validation * len(table)))
    for together in (True, False):
        sizes: Tree = {"val": part, "test": 0, "seed": seed, "keep_duplicates_together": together}
        split = {"class_path": "Random", "init_args": sizes}
        module = CrystalDataModule.from_crystals(table, targets=[name], split=Random(**sizes))
        with contextlib.suppress(UserError):
            if len(module.split.val) and len(module.split.train):
                break
    return module, split


def _seed(random_state: Any) -> int:  # noqa: ANN401 (scikit-learn's union)
    """Return a seed for a training: a whole number is one, a generator draws one."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def check_given(y: Any) -> None:  # noqa: ANN401 (any labels)
    """Refuse no labels, in scikit-learn's words.

    Raises:
        ValueError: There are none.
    """
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None")


def named(y: Any) -> str:  # noqa: ANN401 (any labels)
    """Return what labels are called: a column of a data frame has a name."""
    name = getattr(y, "name", None)
    return name if isinstance(name, str) and name else TARGET
