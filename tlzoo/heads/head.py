"""What every head promises."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tlzoo.errors import UserError
from tlzoo.machine import distributed
from tlzoo.nn.scaler import Scaler, Transform

if TYPE_CHECKING:
    import tlzoo.heads.metrics

Activation: TypeAlias = Literal["softplus", "silu", "relu"]
Loss: TypeAlias = Literal["l1", "mse", "huber"]

# Labels to fit a ridge regression to: one is left out, and two lie on a line anyway.
FEWEST = 3
# Of its penalty on standardised inputs: from next to none to one that leaves the mean alone.
STRENGTHS = tuple(10.0**power for power in range(-3, 6))

ACTIVATIONS: dict[str, type[nn.Module]] = {"softplus": nn.Softplus, "silu": nn.SiLU, "relu": nn.ReLU}


class Head(nn.Module, ABC):
    r"""From the embedding of a crystal to predictions, loss and metrics.

    The layers are those of the CGCNN reference: with g the activation and x the embedding,

    .. math::
        h_0 = g(x), \quad h_{k} = \mathrm{dropout}(g(W_k h_{k-1} + b_k)), \quad \mathrm{raw} = W h_K + b

    and, without hidden layers, :math:`\mathrm{raw} = W x + b` as in ALIGNN.

    Raw output and loss live in scaled space (:class:`~tlzoo.nn.scaler.Scaler`); targets come and predictions
    go in physical units. Unknown targets are NaN and are masked everywhere.

    Args:
        hidden: Width of each hidden layer.
        activation: Activation function.
        dropout: Fraction of the hidden values that are set to zero during training.
        transform: How targets are scaled.
        num_targets: Number of targets.
        towers: Number of separate stacks of layers, whose outputs are concatenated.
        minimum: Smallest value of each target that is physically possible, in its unit; None for no limit.
            Smaller predictions are replaced by it; the loss does not use it.

    Attributes:
        monitor: Name of the metric to minimise on the validation part: a key of :meth:`metrics`, or ``loss``.
        measured_by: Name of the class in :mod:`tlzoo.heads.metrics` that :meth:`metrics` returns.
        measured_with: Arguments of this class, besides the targets.
        raw_is_scaled: Whether the raw output is the scaled prediction itself.
        in_dim: Length of the embeddings that this head was bound to; None before :meth:`bind`.
    """

    monitor: ClassVar[str] = "mae"
    raw_is_scaled: ClassVar[bool] = False
    measured_by: ClassVar[str] = "RegressionMetrics"
    least: Tensor

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (128,),
        activation: Activation = "softplus",
        dropout: float = 0.0,
        transform: Transform | Sequence[Transform] = "standard",
        num_targets: int = 1,
        towers: int = 1,
        minimum: Sequence[float | None] | None = None,
    ) -> None:
        super().__init__()
        if any(width < 1 for width in hidden):
            raise UserError(f"hidden layers must be at least 1 wide, got {list(hidden)}")
        if activation not in ACTIVATIONS:
            raise UserError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.hidden = tuple(hidden)
        self.activation = activation
        self.dropout = dropout
        self.transform: Any = transform
        self.num_targets = num_targets
        self.measured_with: Mapping[str, Any] = {}
        self.in_dim: int | None = None
        self.scaler = Scaler(targets=num_targets, transform=transform)
        self.trunks = nn.ModuleList()
        self.outs = nn.ModuleList()
        self._towers = towers
        # a hyper-parameter: stored with the constructor's arguments, not with the learnt numbers
        self.register_buffer("least", _least(minimum or [None] * num_targets), persistent=False)

    @property
    def tower_out(self) -> int:
        """Raw numbers per crystal of one stack of layers."""
        return 1

    def bind(self, in_dim: int) -> "Head":
        """Create the layers for embeddings of a given length, once; return the head itself.

        Raises:
            UserError: The head is bound to another length.
        """
        if self.in_dim is None:
            self.in_dim = in_dim
            for _ in range(self._towers):
                self.trunks.append(self._trunk(in_dim))
                self.outs.append(nn.Linear((in_dim, *self.hidden)[-1], self.tower_out))
        elif self.in_dim != in_dim:
            raise UserError(
                f"this head reads embeddings of length {self.in_dim}, the backbone gives {in_dim}; "
                "use a fresh head or the backbone it was trained with"
            )
        return self

    def limit(self, *least: float) -> None:
        """Set the smallest value of each target that is physically possible, or one for all; -inf for none.

        In physical units; predictions below are replaced by it.
        """
        self.least = _least(list(least) if len(least) > 1 else [*least] * self.num_targets)
        limits = [None if value == -math.inf else value for value in self.least.tolist()]
        self.minimum: Any = self.limits(limits)

    def limits(self, least: Sequence[float | None]) -> object:
        """Return the argument ``minimum`` of the constructor for these."""
        return least[0]

    def groups(self) -> Mapping[str, Sequence[nn.Module]]:
        """Name the groups that freezing strategies refer to: ``head.hidden`` (if any) and ``head.out``."""
        self._need_bind()
        hidden = {"head.hidden": list(self.trunks)} if self.hidden else {}
        return {**hidden, "head.out": list(self.outs)}

    def check(self, targets: Float[Tensor, "crystals targets"], names: Sequence[str] = ()) -> None:
        """Make sure that labels (of any part) are of the kind this head learns.

        Raises:
            UserError: They are not; the message says which and how many.
        """
        if targets.shape[1] != self.num_targets:
            raise UserError(
                f"{type(self).__name__} has {self.num_targets} target(s), the data have {targets.shape[1]}"
            )
        self.scaler.check(targets, names)

    def fit(self, targets: Float[Tensor, "crystals targets"], names: Sequence[str] = ()) -> None:
        """Fit the scaler on the targets of the training part: physical units, NaN where unknown.

        Raises:
            UserError: A target has no label, or labels this head cannot learn.
        """
        self.check(targets, names)
        self.scaler.fit(targets, names)

    @torch.no_grad()
    def regress(
        self, embedding: Float[Tensor, "crystals dim"], targets: Float[Tensor, "crystals targets"]
    ) -> None:
        """Make the output layer a ridge regression on what it reads; nothing where it gives no such numbers.

        The strength is chosen by leaving one out. Targets are in physical units, NaN where unknown.
        """
        if not self.raw_is_scaled:
            return
        from sklearn.linear_model import RidgeCV

        scaled, known = self._scaled(targets)
        for column, (trunk, out) in enumerate(zip(self.trunks, self.outs, strict=True)):
            rows = known[:, column]
            if rows.sum() < FEWEST:
                continue
            x = trunk(embedding)[rows].double().cpu()
            mean, std = x.mean(0), x.std(0, correction=0).clamp(min=1e-6)
            y = scaled[rows, column].double().cpu()
            found = RidgeCV(alphas=STRENGTHS).fit(((x - mean) / std).numpy(), y.numpy())
            weight = torch.from_numpy(found.coef_)[None] / std
            out.load_state_dict({"weight": weight, "bias": found.intercept_ - weight @ mean})

    def forward(self, embedding: Float[Tensor, "crystals dim"]) -> Float[Tensor, "crystals out"]:
        """Return the raw output, in scaled space."""
        self._need_bind()
        towers = [out(trunk(embedding)) for trunk, out in zip(self.trunks, self.outs, strict=True)]
        return torch.cat(towers, dim=1) if len(towers) > 1 else towers[0]

    @abstractmethod
    def loss(
        self, raw: Float[Tensor, "crystals out"], targets: Float[Tensor, "crystals targets"]
    ) -> Float[Tensor, ""]:
        """Return the loss in scaled space of raw output over the known targets; 0 if none is known."""

    @abstractmethod
    def predict(self, raw: Float[Tensor, "crystals out"]) -> Float[Tensor, "crystals columns"]:
        """Return the predictions in physical units, one column for each name in :meth:`columns`."""

    @abstractmethod
    def columns(self, targets: Sequence[str]) -> list[str]:
        """Name the columns of :meth:`predict`; the first of each target's is its point prediction.

        Raises:
            UserError: The head is not made for these targets.
        """

    def metrics(self, targets: Sequence[str]) -> "tlzoo.heads.metrics.Metrics":
        """Return fresh metrics, to be updated with (:meth:`predict`, targets), both in physical units.

        Raises:
            UserError: The head is not made for these targets.
        """
        # torchmetrics imports scipy and matplotlib: seconds that a prediction need not wait
        from tlzoo.heads import metrics

        self.columns(targets)
        made: metrics.Metrics = getattr(metrics, self.measured_by)(targets, **self.measured_with)
        return made

    def _physical(self, scaled: Float[Tensor, "crystals values"]) -> Float[Tensor, "crystals values"]:
        """Return scaled values in the unit of the target, none below its least value."""
        return torch.maximum(self.scaler.inverse(scaled), self.least)

    def _trunk(self, in_dim: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        if self.hidden:
            layers.append(ACTIVATIONS[self.activation]())
        for wide, narrow in zip((in_dim, *self.hidden), self.hidden, strict=False):
            layers += [nn.Linear(wide, narrow), ACTIVATIONS[self.activation](), nn.Dropout(self.dropout)]
        return nn.Sequential(*layers)

    def _need_bind(self) -> None:
        if self.in_dim is None:
            raise RuntimeError("this head has no layers yet: call bind(backbone.out_dim)")

    def _one(self, targets: Sequence[str]) -> str:
        if len(targets) != 1:
            raise UserError(
                f"{type(self).__name__} predicts one target, got {len(targets)} ({', '.join(targets)}); "
                "use MultiProperty for several"
            )
        return targets[0]

    def _scaled(
        self, targets: Float[Tensor, "crystals targets"]
    ) -> tuple[Float[Tensor, "crystals targets"], Tensor]:
        """Return scaled targets, with a harmless number where unknown, and the mask of the known."""
        known = ~targets.isnan()
        return self.scaler.transform(torch.where(known, targets, 1.0)), known


def _least(minimum: Sequence[float | None]) -> Tensor:
    values = [-math.inf if value is None else float(value) for value in minimum]
    if any(math.isnan(value) or value == math.inf for value in values):
        raise UserError(f"minimum must be a finite number, or null for none; got {minimum}")
    return torch.tensor(values)


def full(raw: Tensor) -> Tensor:
    """Return at least float32: losses and physical units need more digits than mixed precision has."""
    return raw.to(torch.promote_types(raw.dtype, torch.float32))


def elementwise(loss: Loss, prediction: Tensor, target: Tensor) -> Tensor:
    """Return the loss of each element; ``huber`` turns linear at one standard deviation."""
    if loss == "l1":
        return (prediction - target).abs()
    if loss == "mse":
        return (prediction - target).square()
    return F.huber_loss(prediction, target, reduction="none")


def masked_mean(values: Tensor, known: Tensor) -> Tensor:
    """Return the mean over crystals of the known values; 0, still part of the graph, if there is none.

    The crystals are those of all processes that train together.
    """
    return masked_means(values, known)[0]


def masked_means(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return :func:`masked_mean` and how many values are known, for each column of ``known``."""
    sums, counts = torch.where(known, values, 0.0).sum(dim=0), known.sum(dim=0)
    if together := distributed.together():
        both = together.total(torch.cat([sums, counts.to(sums.dtype)]))
        sums, counts = torch.split(both, [len(sums), len(counts)])
    return sums / counts.clamp(min=1), counts
