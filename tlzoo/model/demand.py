"""What a file asks to be built, held against what it brings: nothing larger is begun."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from tlzoo.errors import UserError


class ExcessError(UserError):
    """A specification builds far more weights than there are in its file."""


@contextmanager
def bounded(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Let not far more weights be made than there are in a file, counted as tensors and as numbers.

    Twice as many and some are let pass, so that of what nearly fits the difference can be told.
    Else a depth of 10⁹ in a header of a few bytes would be built for ever, a width of 10⁹ exhaust the memory.

    Raises:
        ExcessError: There are more.
    """
    there = {"tensors": len(tensors), "numbers": sum(tensor.numel() for tensor in tensors.values())}
    most = {"tensors": 2 * there["tensors"] + 100, "numbers": 2 * there["numbers"] + 10**6}
    made = dict.fromkeys(most, 0)

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:  # noqa: ARG001 (torch's)
        if parameter is None:
            return
        made["tensors"] += 1
        made["numbers"] += parameter.numel()
        if any(made[kind] > most[kind] for kind in most):
            raise ExcessError(
                f"its specification asks for far more weights than the {there['tensors']:,} tensors of "
                f"{there['numbers']:,} numbers that are there"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
