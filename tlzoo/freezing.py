"""Which parts of a model train: strategies are values with pure methods, applied in one place."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf

from torch import nn

from tlzoo import adapters
from tlzoo.errors import UserError, did_you_mean


class Freezing(ABC):
    """Base class: a rule that says which groups of a model's layers are trained.

    Attributes:
        ridge: Whether the last linear layer of the head is initialised by a ridge regression.
    """

    ridge = False

    @abstractmethod
    def trainable(self, groups: Sequence[str], epoch: int) -> set[str]:
        """Name the groups that train.

        Args:
            groups: Names from input to output: those of the backbone, then those of the head.
            epoch: Number of the epoch, from 0.

        Raises:
            UserError: The model has no such part; the message lists those there are.
        """

    def adapters(self, groups: Sequence[str]) -> "Mapping[str, LoRA]":  # noqa: ARG002 (none by default)
        """Name the groups in which low-rank adapters train instead of the weights."""
        return {}

    def biases(self, groups: Sequence[str]) -> set[str]:  # noqa: ARG002 (none by default)
        """Name the groups in which biases train and nothing else."""
        return set()


@dataclass(frozen=True)
class All(Freezing):
    """Train everything."""

    def trainable(self, groups: Sequence[str], epoch: int) -> set[str]:  # noqa: ARG002 (the same at all times)
        """Name all groups."""
        return set(groups)


@dataclass(frozen=True)
class Only(Freezing):
    """What matches one of the patterns trains; a pattern that matches nothing is an error.

    >>> groups = ["embed", "conv.0", "conv.1", "head.out"]
    >>> sorted(Only(patterns=("conv.*", "head.out")).trainable(groups, epoch=0))
    ['conv.0', 'conv.1', 'head.out']

    Attributes:
        patterns: Names of groups; ``*`` stands for anything, case matters.
    """

    patterns: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.patterns, str) or not self.patterns:
            raise UserError(f"patterns must be a list of at least one pattern, got {self.patterns!r}")
        object.__setattr__(self, "patterns", tuple(self.patterns))

    def trainable(self, groups: Sequence[str], epoch: int) -> set[str]:  # noqa: ARG002 (the same at all times)
        """Name the groups that match."""
        return set().union(*(_matches(pattern, groups) for pattern in self.patterns))


@dataclass(frozen=True)
class NewHead(Freezing):
    """Train the head; the backbone is frozen."""

    def trainable(self, groups: Sequence[str], epoch: int) -> set[str]:  # noqa: ARG002 (the same at all times)
        """Name the groups of the head."""
        return _matches("head.*", groups)


@dataclass(frozen=True)
class LastLayer(Freezing):
    """Train only the last linear layer of the head."""

    def trainable(self, groups: Sequence[str], epoch: int) -> set[str]:  # noqa: ARG002 (the same at all times)
        """Name the output layer of the head."""
        return _matches("head.out", groups)


@dataclass(frozen=True)
class TwoBody(Freezing):
    """Train the layers that see pairs of atoms, and the head.

    ALIGNN: the node-update block of each line-graph layer (``*.twobody``) and all graph layers (``gcn.*``).
    CGCNN: all convolutions (``conv.*``). MomentNet: the same, although its convolutions also see angles.
    """

    def trainable(self, groups: Sequence[str], epoch: int) -> set[str]:  # noqa: ARG002 (the same at all times)
        """Name the two-body groups and the head's."""
        parts = ("*.twobody", "gcn.*", "conv.*")
        pairs = {name for name in groups if any(fnmatchcase(name, part) for part in parts)}
        if not pairs:
            raise UserError(
                "this backbone has no two-body part: no group matches '*.twobody', 'gcn.*' or 'conv.*'; "
                f"there are: {', '.join(groups)}"
            )
        return pairs | _matches("head.*", groups)


@dataclass(frozen=True)
class ThreeBody(Freezing):
    """Train the layers that see angles, and the head.

    ALIGNN: the edge-update block of each line-graph layer (``*.threebody``). CGCNN has none. MomentNet sees
    pairs and angles in the same layers, so that it has none of its own either.
    """

    def trainable(self, groups: Sequence[str], epoch: int) -> set[str]:  # noqa: ARG002 (the same at all times)
        """Name the three-body groups and the head's."""
        angles = {name for name in groups if fnmatchcase(name, "*.threebody")}
        if not angles:
            raise UserError(
                "this backbone has no three-body part: no group matches '*.threebody'; there are: "
                f"{', '.join(groups)}. CGCNN sees no angles, MomentNet angles and distances in the same "
                "layers: use TwoBody, which trains these, or ALIGNN, where they are apart"
            )
        return angles | _matches("head.*", groups)


@dataclass(frozen=True)
class Gradual(Freezing):
    """The head trains from the start; every few epochs one more group of the backbone does, last first.

    >>> groups = ["embed", "conv.0", "head.hidden", "head.out"]
    >>> [len(Gradual(every=2).trainable(groups, epoch)) for epoch in range(6)]
    [2, 2, 3, 3, 4, 4]

    Attributes:
        every: Epochs between two releases.
    """

    every: int = 5

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UserError(f"every must be at least 1 epoch, got {self.every}")

    def trainable(self, groups: Sequence[str], epoch: int) -> set[str]:
        """Name the groups released so far and the head's."""
        head = _matches("head.*", groups)
        backbone = [name for name in groups if name not in head]
        return head | set(backbone[max(0, len(backbone) - epoch // self.every) :])


@dataclass(frozen=True)
class LoRA(Freezing):
    r"""The head trains, and a change of low rank of each linear map of the backbone; all else is frozen.

    .. math::
        W + \frac{\alpha}{r} B A

    At first nothing is changed. Trained models are stored as usual, with the changed weights.

    >>> groups = ["embed", "conv.0", "conv.1", "head.out"]
    >>> sorted(LoRA(patterns=("conv.*",)).trainable(groups, epoch=0))
    ['conv.0', 'conv.1', 'head.out']

    Attributes:
        rank: r; at most the smaller side of a map is used.
        alpha: α; a larger one makes larger steps.
        patterns: Names of groups of the backbone; ``*`` stands for anything, case matters.

    References:
        Hu et al., arXiv:2106.09685.
    """

    rank: int = 8
    alpha: float = 16.0
    patterns: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        if self.rank < 1 or not 0 < self.alpha < inf:
            raise UserError(f"rank must be at least 1 and alpha positive, got {self.rank} and {self.alpha}")
        if isinstance(self.patterns, str) or not self.patterns:
            raise UserError(f"patterns must be a list of at least one pattern, got {self.patterns!r}")
        object.__setattr__(self, "patterns", tuple(self.patterns))

    def trainable(self, groups: Sequence[str], epoch: int) -> set[str]:  # noqa: ARG002 (the same at all times)
        """Name the groups that match and the head's."""
        return {*self.adapters(groups), *_matches("head.*", groups)}

    def adapters(self, groups: Sequence[str]) -> "Mapping[str, LoRA]":
        """Name the groups of the backbone that match."""
        backbone = [name for name in groups if not name.startswith("head.")]
        found = set().union(*(_matches(pattern, backbone) for pattern in self.patterns))
        return {name: self for name in backbone if name in found}


@dataclass(frozen=True)
class Biases(Freezing):
    """The head trains, and in the backbone every bias; weights and running statistics are frozen.

    The difference to the model that training began with is then a file of a few kB (`tlzoo zoo adapter`).

    >>> groups = ["embed", "conv.0", "head.out"]
    >>> sorted(Biases(patterns=("conv.*",)).biases(groups))
    ['conv.0']

    Attributes:
        patterns: Names of groups of the backbone; ``*`` stands for anything, case matters.

    References:
        BitFit: Ben Zaken et al., ACL 2022, arXiv:2106.10199.
    """

    patterns: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        if isinstance(self.patterns, str) or not self.patterns:
            raise UserError(f"patterns must be a list of at least one pattern, got {self.patterns!r}")
        object.__setattr__(self, "patterns", tuple(self.patterns))

    def trainable(self, groups: Sequence[str], epoch: int) -> set[str]:  # noqa: ARG002 (the same at all times)
        """Name the groups that match and the head's."""
        return self.biases(groups) | _matches("head.*", groups)

    def biases(self, groups: Sequence[str]) -> set[str]:
        """Name the groups of the backbone that match."""
        backbone = [name for name in groups if not name.startswith("head.")]
        return set().union(*(_matches(pattern, backbone) for pattern in self.patterns))


@dataclass(frozen=True)
class LPFT(Freezing):
    """Linear probing, then fine-tuning: the head first, the backbone frozen, then what ``then`` says.

    A backbone that follows the large steps of a new head forgets what it has learned.

    >>> groups = ["embed", "conv.0", "head.hidden", "head.out"]
    >>> [len(LPFT(epochs=2).trainable(groups, epoch)) for epoch in range(4)]
    [2, 2, 4, 4]

    Attributes:
        epochs: Epochs in which the head trains alone.
        ridge: Whether the last linear layer of the head starts as a ridge regression on what it reads, its
            strength chosen by leaving one out; heads of one number per target have that.
        then: What trains afterwards; everything by default.

    References:
        Kumar et al., ICLR 2022, arXiv:2202.10054.
    """

    epochs: int = 10
    ridge: bool = True
    then: Freezing | None = None

    def __post_init__(self) -> None:
        if self.epochs < 0 or (self.epochs == 0 and not self.ridge):
            raise UserError(
                f"epochs of the head alone must be at least 1, or 0 with ridge: true; got {self.epochs}"
            )

    def trainable(self, groups: Sequence[str], epoch: int) -> set[str]:
        """Name the head's groups; after ``epochs`` those of the other strategy, which counts from there."""
        later = (self.then or All()).trainable(groups, max(0, epoch - self.epochs))
        return later if epoch >= self.epochs else _matches("head.*", groups)

    def adapters(self, groups: Sequence[str]) -> Mapping[str, LoRA]:
        """Name the groups with adapters of the other strategy."""
        return self.then.adapters(groups) if self.then else {}

    def biases(self, groups: Sequence[str]) -> set[str]:
        """Name the groups in which the other strategy trains biases alone."""
        return self.then.biases(groups) if self.then else set()


@dataclass(frozen=True)
class GroupRow:
    """What happened to a group.

    Attributes:
        name: Its name.
        parameters: How many it has, those of adapters included.
        trainable: Whether it trains.
        moving: How many of its parameters do, if not all.
        of: What these belong to.
    """

    name: str
    parameters: int
    trainable: bool
    moving: int | None = None
    of: str = "adapters"

    @property
    def state(self) -> str:
        """Whether it trains, in words."""
        if not self.trainable:
            return "frozen"
        return "trains" if self.moving is None else f"{self.moving:,} of {self.of} train"


@dataclass(frozen=True)
class Applied:
    """A strategy carried out on the groups of a model, from input to output.

    The frozen modules must stay in eval mode, whatever ``train()`` of the model says.
    """

    rows: list[GroupRow]
    frozen: list[nn.Module]


def prepare(freezing: Freezing, groups: Mapping[str, Sequence[nn.Module]]) -> None:
    """Give the groups of a model the adapters that a strategy wants; where there are any, nothing happens."""
    for name, lora in freezing.adapters(list(groups)).items():
        for module in groups[name]:
            adapters.attach(module, rank=lora.rank, alpha=lora.alpha)


def apply(
    freezing: Freezing, groups: Mapping[str, Sequence[nn.Module]], epoch: int, *, training: bool = True
) -> Applied:
    """Freeze and release the groups of a model.

    Frozen means no gradients *and* eval mode: running statistics of batch norm stay, dropout does nothing.
    ``module.train()`` undoes the latter; override it to keep ``frozen`` in eval. Of a group with adapters all
    but these is frozen, of one in which biases train all but these.

    Args:
        freezing: The strategy.
        groups: Modules by name, from input to output: the backbone's, then the head's; :func:`prepare` has
            given them adapters.
        epoch: Number of the epoch, from 0.
        training: Mode of the groups that train.

    Raises:
        UserError: The model has no part that the strategy names.
    """
    trainable, adapted = freezing.trainable(list(groups), epoch), freezing.adapters(list(groups))
    biased = freezing.biases(list(groups))
    rows: list[GroupRow] = []
    frozen: list[nn.Module] = []
    for name, modules in groups.items():
        parameters = {parameter for module in modules for parameter in module.parameters()}
        moving = adapters.parameters(modules) if name in adapted else parameters
        moving = _biases(modules) if name in biased else moving
        moving = moving if name in trainable else set()
        for parameter in parameters:
            parameter.requires_grad_(parameter in moving)
            if parameter not in moving:
                # optimisers step on any gradient left over from before
                parameter.grad = None
        whole = name in trainable and name not in adapted and name not in biased
        for module in modules:
            module.train(training and whole)
        if not whole:
            frozen += modules
        total, part = (sum(parameter.numel() for parameter in some) for some in (parameters, moving))
        of = "biases" if name in biased else "adapters"
        rows.append(GroupRow(name, total, bool(moving), part if 0 < part < total else None, of))
    return Applied(rows, frozen)


def _biases(modules: Sequence[nn.Module]) -> set[nn.Parameter]:
    """Return the parameters that are called biases, those of normalisations included."""
    named = [pair for module in modules for pair in module.named_parameters()]
    return {parameter for name, parameter in named if name.rpartition(".")[2] == "bias"}


def layer_rates(groups: Sequence[str], decay: float) -> dict[str, float]:
    """Return a factor for the learning rate of each group: 1 for the last, each earlier one times ``decay``.

    The groups of the head share the factor 1. Layer-wise learning-rate decay: Howard & Ruder, ACL 2018,
    arXiv:1801.06146 ("discriminative fine-tuning").

    >>> layer_rates(["embed", "conv.0", "head.hidden", "head.out"], decay=0.5)
    {'embed': 0.25, 'conv.0': 0.5, 'head.hidden': 1.0, 'head.out': 1.0}

    Raises:
        UserError: ``decay`` is not above 0 and at most 1.
    """
    if not 0 < decay <= 1:
        raise UserError(f"the decay of learning rates must be above 0 and at most 1, got {decay}")
    backbone = [name for name in groups if not name.startswith("head.")]
    factors = {name: decay ** (len(backbone) - i) for i, name in enumerate(backbone)}
    return {name: factors.get(name, 1.0) for name in groups}


def table(rows: Sequence[GroupRow]) -> str:
    """Return the groups as lines of text, with totals.

    >>> print(table([GroupRow("embed", 5952, False), GroupRow("head.out", 129, True)]))
    group     parameters
    embed          5,952  frozen
    head.out         129  trains
    total          6,081  129 train, 5,952 frozen
    """
    moving = sum(row.parameters if row.moving is None else row.moving for row in rows if row.trainable)
    total = sum(row.parameters for row in rows)
    cells = [("group", "parameters", "")]
    cells += [(row.name, f"{row.parameters:,}", row.state) for row in rows]
    cells += [("total", f"{total:,}", f"{moving:,} train, {total - moving:,} frozen")]
    wide, number = (max(len(row[i]) for row in cells) for i in (0, 1))
    return "\n".join(f"{name:<{wide}}  {count:>{number}}  {state}".rstrip() for name, count, state in cells)


def _matches(pattern: str, groups: Sequence[str]) -> set[str]:
    found = {name for name in groups if fnmatchcase(name, pattern)}
    if not found:
        raise UserError(
            f"no group matches {pattern!r}; there are: {', '.join(groups)}{did_you_mean(pattern, groups)}"
        )
    return found
