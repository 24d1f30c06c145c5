"""What modules put out while a network computes."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn


@contextmanager
def outputs(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Collect the output of each module while the context is open; of a tuple its first part."""
    found: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _: object, out: Tensor | tuple[Tensor, ...]) -> None:
        found[module] = out[0] if isinstance(out, tuple) else out

    with ExitStack() as hooks:
        for module in modules:
            hooks.enter_context(module.register_forward_hook(keep))
        yield found
