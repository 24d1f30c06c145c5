r"""What a student says of its teacher's numbers of atoms: the linear map from its states that fits best.

With the states h of an atom, those of all layers of atoms side by side, each standardised to z, and the
teacher's own numbers t, each standardised,

.. math::
    W = \arg\min \sum_a \lVert W^T z_a - t_a + \langle t \rangle \rVert^2 + \lambda \lVert W \rVert^2

over the atoms of crystals that both have read. What the student says so varies in few directions: the
principal components V of :math:`W^T z` with most of the variance are kept, and

.. math::
    s = V V^T W^T z

is what the student says. Its mean, deviation and maximum over the atoms of a crystal are features; along the
teacher's own numbers they tell a regression more than along the components or random directions.

The map is fitted once the student has been trained, and holds for its weights alone: beside them,
``NAME.teacher.safetensors`` holds it in 8 bits, and the card pins its hash. Checkpoints that were taught by
one teacher share V, in a file of its own.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import safetensors.torch
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from tlzoo.backbones.backbone import Backbone
from tlzoo.cards.beside import TAUGHT, TEACHER_MAP, TEACHER_NUMBERS, Beside, lacking
from tlzoo.data.whitening import LEAST, Whitening
from tlzoo.errors import UserError, first_line
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.nn.outputs import outputs

FORMAT: Final = 1
# Crystals that are enough to fit a map of some hundred numbers: they have ten times as many atoms.
CRYSTALS: Final = 5_000
# Penalty, in parts of the variance of a state.
RIDGE: Final = 1e-4
# Components that are kept: these have all but 0.03 % of the variance of what momentnet-u2 says of crystals
# that its map was not fitted to.
KEPT: Final = 384
# Steps from 0 to the largest number of an array in a file, as many as 8 bits have: with half of them noise
# has 1.5 % of that variance instead of 0.4 %.
STEPS: Final = 127


@dataclass(frozen=True, eq=False)
class TeacherMap:
    """A linear map of the states of atoms.

    Attributes:
        mean: Of each state, ``(states,)``.
        scale: One over the standard deviation of each, 0 of a constant, ``(states,)``.
        weight: From standardised states to components of what the student says, ``(states, kept)``.
        numbers: From components to the teacher's own numbers, orthonormal, ``(kept, numbers)``.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    numbers: Tensor

    @classmethod
    def fit(
        cls,
        backbone: Backbone,
        batches: Iterable[Batch],
        whitening: Whitening | None = None,
        *,
        numbers: Tensor | None = None,
    ) -> Self | None:
        """Fit it to batches with what the teacher says of their atoms; None if that is nothing.

        Args:
            backbone: The student, in eval mode.
            batches: Field :data:`~tlzoo.graphs.keys.ATOM_TARGETS` holds the teacher's numbers, NaN where it
                has not seen the crystal.
            whitening: How these were made of the teacher's own; None if they are its own.
            numbers: Those of another student of the same teacher, to be shared; by default its own.
        """
        sums = _sums(backbone, batches)
        if sums is None or not sums.atoms:
            return None
        mean, known = sums.x / sums.atoms, sums.t / sums.atoms
        scale = _inverse_deviation(sums.xx.diagonal() / sums.atoms - mean.square())
        own = (
            torch.diag(_inverse_deviation(sums.tt / sums.atoms - known.square()))
            if whitening is None
            else torch.from_numpy(whitening.back).double()
        )
        products = (sums.xx / sums.atoms - torch.outer(mean, mean)) * torch.outer(scale, scale)
        both = (sums.xt / sums.atoms - torch.outer(mean, known)) * scale[:, None]
        penalty = RIDGE * torch.eye(len(mean), dtype=torch.float64)
        fitted = torch.linalg.solve(products + penalty, both) @ own
        if numbers is None:
            numbers = _principal(fitted.T @ products @ fitted).T
        if not len(numbers):
            return None
        weight = fitted @ numbers.double().T
        return cls(*(part.float() for part in (mean, scale, weight, numbers)))

    @property
    def dim(self) -> int:
        """Numbers of an atom."""
        return self.numbers.shape[1]

    def __call__(self, states: Float[Tensor, "atoms states"]) -> Float[Tensor, "atoms numbers"]:
        """Return what the student says of the teacher's numbers of atoms, each standardised."""
        return ((states - self.mean) * self.scale) @ self.weight @ self.numbers

    def to(self, device: str | torch.device) -> Self:
        """Return it on a device."""
        parts = (self.mean, self.scale, self.weight, self.numbers)
        return type(self)(*(part.to(device) for part in parts))

    def content(self, *, shared: bool = False) -> bytes:
        """Return the content of a file that holds it, but for the ``numbers`` where these are shared."""
        tensors = {"mean": self.mean, "scale": self.scale, **_in_steps("weight", self.weight)}
        return _saved(tensors if shared else {**tensors, **_in_steps("numbers", self.numbers)})

    @property
    def shared(self) -> bytes:
        """The content of a file that holds the numbers alone."""
        return _saved(_in_steps("numbers", self.numbers))

    @classmethod
    def parse(cls, content: bytes, path: Path, numbers: Tensor | None = None) -> Self:
        """Read the content of such a file; ``numbers`` are those that it does not hold itself.

        Raises:
            UserError: It is another one.
        """
        arrays = _arrays(content, path)
        if "numbers" not in arrays and numbers is not None:
            arrays["numbers"] = numbers
        lacking = [name for name in ("mean", "scale", "weight", "numbers") if name not in arrays]
        if lacking:
            raise UserError(f"{path} is no map to the numbers of a teacher: it lacks {lacking[0]}")
        found = cls(*(arrays[name] for name in ("mean", "scale", "weight", "numbers")))
        states, kept = found.mean.shape, found.numbers.shape[:1]
        whole = found.mean.ndim == 1 and found.numbers.ndim == 2
        if not whole or found.scale.shape != states or found.weight.shape != states + kept:
            raise UserError(f"{path} is damaged: its arrays do not belong together")
        return found


def read(weights: Path, card: Mapping[str, Any]) -> TeacherMap | None:
    """Return the map of a model from the file beside its weights; None if there is none.

    Raises:
        UserError: The file is not the one that the card pins.
    """
    if not card.get(TEACHER_MAP) or lacking(weights, card, TAUGHT):
        return None
    pinned = {name: Beside.of(card[name]) for name in TAUGHT if card.get(name)}
    paths = {name: weights.with_name(one.file) for name, one in pinned.items()}
    contents = {name: one.read(paths[name]) for name, one in pinned.items()}
    numbers = None
    if TEACHER_NUMBERS in contents:
        numbers = shared_numbers(contents[TEACHER_NUMBERS], paths[TEACHER_NUMBERS])
    return TeacherMap.parse(contents[TEACHER_MAP], paths[TEACHER_MAP], numbers)


def shared_numbers(content: bytes, path: Path) -> Tensor:
    """Return the numbers in a file that holds them alone.

    Raises:
        UserError: It is another file.
    """
    arrays = _arrays(content, path)
    if "numbers" not in arrays:
        raise UserError(f"{path} does not hold the numbers of a teacher")
    return arrays["numbers"]


def _principal(covariance: Tensor) -> Tensor:
    """Return the principal components that are kept, as columns."""
    variances, vectors = torch.linalg.eigh(covariance)
    there = int((variances > LEAST * variances[-1]).sum())
    vectors = vectors.flip(1)[:, : min(KEPT, there)]
    # the sign of an eigenvector is the library's choice: the largest part is positive
    largest = vectors.abs().argmax(dim=0)
    signed: Tensor = vectors * vectors[largest, torch.arange(len(largest))].sign()
    return signed


def _in_steps(name: str, values: Tensor) -> dict[str, Tensor]:
    step = values.abs().max().clamp(min=torch.finfo(torch.float32).tiny) / STEPS
    return {name: (values / step).round().to(torch.int8), f"{name}.step": step.reshape(1)}


def _saved(tensors: Mapping[str, Tensor]) -> bytes:
    content: bytes = safetensors.torch.save(
        {name: value.contiguous() for name, value in tensors.items()},
        metadata={"tlzoo": json.dumps({"format": FORMAT})},
    )
    return content


def _arrays(content: bytes, path: Path) -> dict[str, Tensor]:
    """Return the arrays of a file, what it holds in steps multiplied out.

    Raises:
        UserError: It is another file.
    """
    try:
        tensors = safetensors.torch.load(content)
        length = int.from_bytes(content[:8], "little")
        version = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["tlzoo"])["format"]
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} is no map to the numbers of a teacher: {first_line(error)}") from error
    if version != FORMAT:
        raise UserError(f"{path} has format {version}, this tlzoo reads format {FORMAT}; update tlzoo")
    steps = {name: tensors.pop(name) for name in [*tensors] if name.endswith(".step")}
    return {name: value.float() * steps.get(f"{name}.step", 1.0) for name, value in tensors.items()}


class _Sums(NamedTuple):
    """Sums over atoms that the teacher knows: of 1, states x, the teacher's numbers t, and products."""

    atoms: Tensor
    x: Tensor
    t: Tensor
    xx: Tensor
    xt: Tensor
    tt: Tensor  # of each number with itself


def _sums(backbone: Backbone, batches: Iterable[Batch]) -> _Sums | None:
    """Sum over all atoms of the cells; None if there is no batch."""
    layers = [layer.module for layer in backbone.state_layers().values()]
    device = next(backbone.parameters()).device
    total = None
    with torch.inference_mode():
        for batch in batches:
            with outputs(layers) as seen:
                backbone(batch.to(device))
            known = ~batch[keys.ATOM_TARGETS][:, 0].isnan()
            x = torch.cat([seen[each].cpu().double() for each in layers], dim=1)[known]
            t = batch[keys.ATOM_TARGETS][known].double()
            count = batch[keys.ATOM_COUNT][known].double()
            counted = x.T * count
            found = _Sums(
                count.sum(), counted.sum(dim=1), count @ t, counted @ x, counted @ t, count @ t.square()
            )
            total = found if total is None else _Sums(*map(torch.add, total, found))
    return total


def _inverse_deviation(variances: Tensor) -> Tensor:
    """Return one over the root of variances, 0 where there is none."""
    there = variances > LEAST * variances.max()
    return torch.where(there, variances.clamp(min=0).rsqrt(), 0.0)
