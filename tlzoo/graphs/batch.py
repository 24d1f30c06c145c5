"""Crystals on their way through a network: tensors by name."""

from collections.abc import Callable, ItemsView, Iterator, KeysView
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor

if TYPE_CHECKING:
    from torch_geometric.data import Data


class Batch:
    """Crystals as named tensors (fields: :mod:`tlzoo.graphs.keys`), to be read as items or as attributes.

    Layers of torch-geometric take these tensors as they are: ``CGConv(dim, 1)(x, batch.edge_index,
    batch.bond_length[:, None])``, ``global_mean_pool(x, batch.batch)``. What wants a whole ``Data`` gets
    :meth:`data`. Whatever else is to travel with the tensors is a field too.
    """

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401 (tensors and a number)
        self.__dict__.update(fields)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # noqa: ANN401

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 (a tensor or a number)
        return self.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:  # noqa: ANN401
        self.__dict__[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.items())

    def __repr__(self) -> str:
        sizes = (f"{name}={list(getattr(value, 'shape', [value]))}" for name, value in self.items())
        return f"Batch({', '.join(sizes)})"

    def keys(self) -> KeysView[str]:
        """Return the names of the fields."""
        return self.__dict__.keys()

    def items(self) -> ItemsView[str, Any]:
        """Return names and values of the fields."""
        return self.__dict__.items()

    def apply(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return a batch of changed tensors; what is no tensor stays as it is."""
        changed = {name: change(v) if isinstance(v, Tensor) else v for name, v in self.items()}
        return type(self)(**changed)

    def to(self, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 (those of torch)
        """Return the batch on another device or in another type; arguments of :meth:`torch.Tensor.to`."""
        return self.apply(lambda values: values.to(*args, **kwargs))

    def clone(self) -> Self:
        """Return a copy."""
        return self.apply(Tensor.clone)

    def pin_memory(self) -> Self:
        """Return the batch in memory that a GPU can read; a ``DataLoader`` asks for it."""
        return self.apply(Tensor.pin_memory)

    def data(self) -> "Data":
        """Return the same tensors as torch-geometric holds them."""
        from torch_geometric.data import Data

        return Data(**self.__dict__)
