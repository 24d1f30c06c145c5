"""Tensors in a file that ``torch.save`` wrote. Nothing in it is run: what is no tensor is passed over."""

import io
import pickle  # noqa: TID251 (names that a file brings lead to nothing but what stands here)
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


class _Nothing:
    """In place of whatever else a file names: it takes everything and does nothing."""

    def __new__(cls, *_: object, **__: object) -> Self:
        """Return it, whatever it is called with."""
        return super().__new__(cls)

    def __call__(self, *_: object, **__: object) -> Self:
        """Return itself, whatever it is called with."""
        return self

    def __setstate__(self, state: object) -> None:
        """Take a state."""


def _tensor(values: NDArray[Any], offset: int, size: Sequence[int], stride: Sequence[int], *_: object) -> Any:  # noqa: ANN401
    import torch

    return torch.from_numpy(values).as_strided(size, stride, offset).clone()


KNOWN: Final[Mapping[tuple[str, str], Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): np.dtype("<f4"),
}


class _Reader(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile) -> None:
        (index,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        super().__init__(io.BytesIO(archive.read(index)))
        self._archive, self._folder = archive, index.removesuffix("data.pkl")

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        return KNOWN.get((module, name), _Nothing)

    def persistent_load(self, pid: Any) -> NDArray[Any]:  # noqa: ANN401
        _, kind, key, *_ = pid
        return np.frombuffer(bytearray(self._archive.read(f"{self._folder}data/{key}")), kind)


def tensors(content: bytes, inside: Sequence[str], where: str) -> "dict[str, Tensor]":
    """Return the tensors of a file by name.

    Args:
        content: Of the file.
        inside: Keys that lead to them.
        where: What the file is called.

    Raises:
        UserError: It is no such file.
    """
    from torch import Tensor

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = _Reader(archive).load()
        for key in inside:
            found = found[key]
        return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    except (
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
        EOFError,
    ) as error:
        raise UserError(f"{where} holds no tensors that torch.save wrote: {error}") from error
