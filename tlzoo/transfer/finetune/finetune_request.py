"""What `tlzoo finetune` is asked: light to import, for the command line is made of it."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final, get_args

from tlzoo.errors import UserError, did_you_mean
from tlzoo.machine import latest
from tlzoo.nn import AnyPooling
from tlzoo.transfer.finetune.recipes import Strategy, strategy

# Leads to the newest of the comparisons that nobody named a directory for.
LATEST: Final = Path("runs/finetune")
# Each fold is a whole training, or comparison.
MOST_FOLDS: Final = 50
# Where nobody names a model: for structures, and for formulas without any.
START: Final = ("momentnet-u",)
FORMULA_START: Final = ("roost-fe-bg",)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to fine-tune on what, and how; what is None follows from the number of crystals.

    Attributes:
        source: Labelled crystals: a folder, archive, table or named data set, as ``data.source`` of `tlzoo
            fit`.
        target: Column to learn; not needed if the data have only one.
        unit: Unit of the target, if the data do not state it.
        starts: Models to start from: checkpoints (`tlzoo zoo list`), run directories or ``.safetensors``
            files. With several, the validation part chooses. By default roost-fe-bg if the data
            are formulas alone, otherwise momentnet-u.
        strategy: Which layers of the network are trained, and how. By default the number of crystals decides,
            as for all options below that state no default.
        strategies: Try several strategies instead of one; the validation part chooses.
        head: Keep the trained head of this property, one that the model predicts, instead of a new head:
            for properties that are nearly the same. The learning rates to try are then smaller, and the
            pooling is the model's.
        epochs: Passes over the training part, for transfer and from scratch alike.
        batch_size: Crystals per batch.
        rates: Learning rates to try, for transfer and from scratch alike; the validation part chooses.
        poolings: Poolings (from atoms to the crystal) to try, for transfer and from scratch alike: mean, max,
            sum, attention, statistics. The validation part chooses. Ignored for networks without a choice.
        seeds: Number of trainings with the settings that were chosen; the predictions of all are averaged.
        together: Average the predictions of the best training from each of the models (and of as many from
            scratch), instead of taking the best of all. Needs several models.
        no_frozen: Leave out the head on frozen features (of the models and of descriptors), which is
            otherwise fitted besides the trainings and makes the predictions, alone or together with the
            network, if the validation part says so.
        beside: Further features for the head on frozen features: phonons:chgnet, elastic:sevennet-0, or other
            models.
        folds: Compare this many times, each time with another part of the crystals left out to test on; the
            models of all folds then predict together. A test part that a --config names is in none of them.
        seed: Seed of the first training; those of the others follow from it.
        minutes: Train for at most about this many minutes, as estimated from a few training steps. To fit,
            fewer learning rates and poolings are tried, then epochs are cut; what you set yourself is kept.
        jobs: Number of processes that train, with one core each; by default one per core. Networks of the
            same shape also train together in one process.
        configs: YAML file with settings for all trainings: split, columns, precision, logger …; may be
            repeated.
        run_dir: Directory for the results. By default every set of options has its own, and runs/finetune is
            a link to the newest.
    """

    source: str
    target: str | None = None
    unit: str | None = None
    starts: tuple[str, ...] = START
    strategy: Strategy | None = None
    strategies: tuple[Strategy, ...] | None = None
    head: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    rates: tuple[float, ...] | None = None
    poolings: tuple[AnyPooling, ...] | None = None
    seeds: int = 1
    together: bool = False
    no_frozen: bool = False
    beside: tuple[str, ...] = ()
    folds: int | None = None
    seed: int = 0
    minutes: float | None = None
    jobs: int | None = None
    configs: Sequence[Path] = ()
    run_dir: Path = LATEST

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "seeds", "minutes", "jobs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name.replace('_', '-')} must be at least 1, got {value}")
        check_folds(self.folds)
        _check_choices(self.rates, self.poolings)
        _check_starts(self.starts)
        if self.together and (len(self.starts) == 1 or self.seeds > 1):
            raise UserError(
                "--together is for one training from each of several models: name them with --from A,B, "
                "and leave --seeds out"
            )
        if self.beside and self.no_frozen:
            raise UserError("--beside is read by the head on frozen features: leave out --no-frozen")
        self._check_strategies()
        if self.unit is not None and self.target is None:
            raise UserError(f"--unit {self.unit} needs the name of the target: give --target too")
        if self.run_dir == LATEST:
            object.__setattr__(self, "run_dir", self.place())

    def _check_strategies(self) -> None:
        if self.strategy is not None and self.strategies is not None:
            raise UserError("--strategy is the only one that is tried; give either it or --strategies")
        names = self.strategies or (() if self.strategy is None else (self.strategy,))
        for name in names:
            strategy(name)
        if "last-layer" in names and self.head is None:
            raise UserError(
                "last-layer trains the last layer of a trained head alone: name one of the model's targets "
                "with --head, or take another strategy"
            )

    def facts(self) -> dict[str, Any]:
        """Return what is asked; an option that came later only where it is used: the others are as before."""
        later = {"strategies": None, "no_frozen": False, "beside": (), "minutes": None, "folds": None}
        return {
            name: value
            for name, value in vars(self).items()
            # how many at a time changes nothing
            if name != "jobs" and (name not in later or value != later[name])
        }

    def place(self) -> Path:
        """Return the directory where none is named: it follows from what is asked.

        A comparison that was once made in ``runs/finetune`` itself stays there.
        """
        facts = {name: value for name, value in self.facts().items() if name != "run_dir"}
        facts["configs"] = [Path(p).read_text("utf-8") for p in self.configs if Path(p).is_file()]
        if LATEST.is_dir() and not LATEST.is_symlink():
            plain = json.loads(json.dumps(facts, default=str))
            with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
                asked = json.loads((LATEST / "comparison.json").read_text("utf-8"))["asked"]
                if all(asked.get(name, value) == value for name, value in plain.items()):
                    return LATEST
        words = ["finetune", PurePath(self.source).stem, self.target or ""]
        return latest.folder(LATEST, words, facts)

    def start_models(self) -> dict[str, Any]:
        """Read the models to start from, each as :func:`tlzoo.model.checkpoint.load` does.

        Raises:
            UserError: One of them is missing; the message lists those there are. Or they are to answer
                together, but read different graphs.
        """
        from tlzoo.cards.library import locate
        from tlzoo.model import checkpoint

        models = {start: checkpoint.load(locate(start)) for start in self.starts}
        graphs = {start: model.backbone.graph for start, model in models.items()}
        first = self.starts[0]
        if other := [start for start in self.starts if self.together and graphs[start] != graphs[first]]:
            raise UserError(
                f"{first} and {other[0]} read different graphs of a crystal and cannot answer together; name "
                "models of one kind, or leave --together out"
            )
        return models

    def start(self, choice: Any) -> str:  # noqa: ANN401 (a choice of an experiment, which imports torch)
        """Return the model that a choice starts from."""
        return choice.start or self.starts[0]


def check_folds(folds: int | None) -> None:
    """Refuse a number of folds that crystals cannot be dealt to."""
    if folds is not None and (not isinstance(folds, int) or not 2 <= folds <= MOST_FOLDS):
        raise UserError(f"--folds must be a whole number from 2 to {MOST_FOLDS}, got {folds!r}")


def _check_choices(rates: tuple[float, ...] | None, poolings: tuple[str, ...] | None) -> None:
    """Refuse learning rates and poolings that nothing can be trained with."""
    if rates == ():
        raise UserError("give at least one learning rate")
    if rates is not None and not all(rate > 0 for rate in rates):
        raise UserError(f"learning rates must be positive, got {', '.join(map(str, rates))}")
    for pooling in poolings or ():
        if pooling not in get_args(AnyPooling):
            raise UserError(
                f"pooling must be one of {', '.join(get_args(AnyPooling))}; got {pooling!r}"
                f"{did_you_mean(pooling, get_args(AnyPooling))}"
            )


def _check_starts(starts: tuple[str, ...]) -> None:
    """Refuse models that could not be told apart."""
    if not starts or not all(starts):
        raise UserError("give at least one model to start from, several separated by commas")
    names = [called(start) for start in starts]
    if twice := [start for start, name in zip(starts, names, strict=True) if names.count(name) > 1]:
        raise UserError(f"the models to start from need different names, got {', '.join(twice)}")


def called(start: str) -> str:
    """Return a model's name as a part of a file name.

    >>> called("runs/first"), called("wandb:me/zoo/cgcnn:v3")
    ('first', 'cgcnn-v3')
    """
    return re.sub(r"[^\w.-]", "-", PurePath(start).name)[:40]
