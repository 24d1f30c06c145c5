"""Low-rank adapters: a linear map learns a small change of weights that stay as they are."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

# What the names of an adapter's tensors begin with, below the module whose weight it changes.
BELOW: Final = ".parametrizations.weight.0."


class LowRank(nn.Module):
    r"""A weight with a change of low rank, for each matrix W in it.

    .. math::
        W + \frac{\alpha}{r} B A, \qquad B \in \mathbb{R}^{out \times r}, \; A \in \mathbb{R}^{r \times in}

    of W of shape (out, in), with r at most its smaller side. B is zero at first, so that nothing is changed;
    A is drawn as W itself would be before training.

    Args:
        weight: The weight; one matrix, or several, flat, one after the other.
        shapes: (out, in) of each matrix.
        flat: Whether the matrices are laid out as (in, out), in units of their own spread, as those of e3nn.
        rank: r.
        alpha: α.

    References:
        LoRA: Hu et al., arXiv:2106.09685.
    """

    scale: Tensor

    def __init__(
        self, weight: Tensor, shapes: Sequence[tuple[int, int]], *, flat: bool, rank: int, alpha: float
    ) -> None:
        super().__init__()
        self.flat = flat
        ranks = [min(rank, *shape) for shape in shapes]
        sizes = list(zip(ranks, shapes, strict=True))
        self.a = nn.ParameterList(weight.new_empty(r, columns) for r, (_, columns) in sizes)
        self.b = nn.ParameterList(weight.new_zeros(rows, r) for r, (rows, _) in sizes)
        for a in self.a:
            if flat:
                nn.init.normal_(a)
            else:
                nn.init.kaiming_uniform_(a, a=5**0.5)
        self.register_buffer("scale", weight.new_tensor(alpha / rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight."""
        # a product of lower precision would not be the one that is stored in the end
        with torch.autocast(weight.device.type, enabled=False):
            changes = [b @ a for a, b in zip(self.a, self.b, strict=True)]
            parts = [(change.T if self.flat else change).reshape(-1) for change in changes]
            return weight + self.scale * torch.cat(parts).view_as(weight)


def attach(module: nn.Module, *, rank: int, alpha: float) -> None:
    """Give each linear map in a module an adapter: those of torch, and block by block those of e3nn.

    The same weights are changed, so what is equivariant stays so.
    """
    for part in list(module.modules()):
        if (shapes := _matrices(part)) and not parametrize.is_parametrized(part):
            flat = not isinstance(part, nn.Linear)
            change = LowRank(part.weight, shapes, flat=flat, rank=rank, alpha=alpha)  # type: ignore[arg-type]
            parametrize.register_parametrization(part, "weight", change)


def attach_stored(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a module the adapters that a state dict has values for."""
    ranks: dict[str, int] = {}
    for key, value in state.items():
        name, found, tensor = key.partition(BELOW)
        if found and tensor.startswith("a."):
            ranks[name] = max(ranks.get(name, 0), len(value))
    paths = dict(module.named_modules())
    for name in ranks.keys() & paths.keys():
        attach(paths[name], rank=ranks[name], alpha=1.0)


def merge(module: nn.Module) -> None:
    """Put the changes into the weights, and leave the module without adapters."""
    for part in list(module.modules()):
        if any(isinstance(each, LowRank) for each in _changes(part)):
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=True)


def parameters(modules: Sequence[nn.Module]) -> set[nn.Parameter]:
    """The parameters of all adapters in modules."""
    parts = [part for module in modules for part in module.modules() if isinstance(part, LowRank)]
    return {parameter for part in parts for parameter in part.parameters()}


def _changes(part: nn.Module) -> list[nn.Module]:
    """What torch lets act on the weight of a module."""
    if not parametrize.is_parametrized(part, "weight"):
        return []
    return list(part.get_submodule("parametrizations.weight").children())


def _matrices(part: nn.Module) -> list[tuple[int, int]]:
    """The shapes (out, in) of the matrices in the weight of a linear map; none of another module."""
    weight = getattr(part, "weight", None)
    if isinstance(part, nn.Linear):
        return [(part.out_features, part.in_features)]
    # e3nn.o3.Linear, which need not be installed; instructions that read no input are biases
    paths = [path for path in getattr(part, "instructions", ()) if getattr(path, "i_in", -1) >= 0]
    if not paths or not isinstance(weight, nn.Parameter) or weight.ndim != 1:
        return []
    return [(path.path_shape[1], path.path_shape[0]) for path in paths if 0 not in path.path_shape]
