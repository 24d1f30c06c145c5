"""Tensors in a file that ``torch.save`` wrote. Nothing in it is run: what is no tensor is passed over."""

import io
import math
import pickle  # noqa: TID251 (names that a file brings lead to nothing but what stands here)
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# What files begin with that torch older than 1.6 wrote: pickles one after the other, then the numbers.
OLD: Final = 0x1950A86A20F9469CFC6C
# What reading a damaged file can raise, in whichever place it is damaged.
BROKEN: Final = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    OSError,
    OverflowError,
    MemoryError,
    struct.error,
)


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

    def __setitem__(self, key: object, value: object) -> None:
        """Take an entry."""

    def append(self, value: object) -> None:
        """Take a value."""


def _tensor(values: NDArray[Any], offset: int, size: Sequence[int], stride: Sequence[int], *_: object) -> Any:  # noqa: ANN401
    import torch

    if math.prod(size) > len(values):
        raise ValueError("a tensor is larger than its numbers")
    return torch.from_numpy(values).as_strided(size, stride, offset).clone()


def _parameter(tensor: Any, *_: object) -> Any:  # noqa: ANN401
    return tensor


KNOWN: Final[Mapping[tuple[str, str], Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "DoubleStorage"): np.dtype("<f8"),
    ("torch", "HalfStorage"): np.dtype("<f2"),
    ("torch", "LongStorage"): np.dtype("<i8"),
    ("torch", "IntStorage"): np.dtype("<i4"),
    ("torch", "ByteStorage"): np.dtype("u1"),
    ("torch", "BoolStorage"): np.dtype("?"),
}


class _Reader(pickle.Unpickler):
    """Reads a pickle; what stands for numbers elsewhere in the file, ``numbers`` returns."""

    def __init__(self, file: io.BytesIO, numbers: Callable[[Any], Any]) -> None:
        super().__init__(file)
        self._numbers = numbers

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        return KNOWN.get((module, name), _Nothing)

    def persistent_load(self, pid: Any) -> Any:  # noqa: ANN401
        return self._numbers(pid)


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

    return {
        name: value for name, value in _found(content, inside, where).items() if isinstance(value, Tensor)
    }


def numbers(content: bytes, inside: Sequence[str], where: str) -> dict[str, float]:
    """Return the numbers of a file by name, plain or as tensors of one; arguments and errors of `tensors`."""
    from torch import Tensor

    found = _found(content, inside, where)
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, float | int) or (isinstance(value, Tensor) and value.numel() == 1)
    }


def _found(content: bytes, inside: Sequence[str], where: str) -> dict[str, Any]:
    """Return what keys lead to in a file."""
    try:
        found = _old(content) if _is_old(content) else _archive(content)
        for key in inside:
            if isinstance(found, dict) and key not in found:
                there = ", ".join(sorted(map(str, found))[:4]) or "nothing"
                raise UserError(f"{where} has no {key}, so it is of another --kind; it has {there} …")
            found = found[key]
        return {str(name): value for name, value in found.items()}
    except UserError:
        raise
    except BROKEN as error:
        told = str(error) or "it asks for more memory than there is"
        raise UserError(f"{where} holds no tensors that torch.save wrote: {told[:200]}") from error


def _archive(content: bytes) -> Any:  # noqa: ANN401 (what the file holds)
    """Read what torch writes since 1.6: an archive with the numbers of each tensor in a member."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            # torch compresses nothing; what is compressed may be of any size
            raise ValueError("it is compressed; unpack it first")
        (index,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = index.removesuffix("data.pkl")

        def numbers(pid: Any) -> NDArray[Any]:  # noqa: ANN401
            _, kind, key, *_ = pid
            return np.frombuffer(bytearray(archive.read(f"{folder}data/{key}")), kind)

        return _Reader(io.BytesIO(archive.read(index)), numbers).load()


def _is_old(content: bytes) -> bool:
    """Whether a file begins as those of torch before 1.6."""
    try:
        return bool(_Reader(io.BytesIO(content[:64]), _refuse).load() == OLD)
    except BROKEN:
        return False


def _old(content: bytes) -> Any:  # noqa: ANN401 (what the file holds)
    """Read what torch wrote before 1.6: it names the numbers before they come, so it is read twice."""
    kinds: dict[str, tuple[np.dtype[Any], int]] = {}

    def note(pid: Any) -> NDArray[Any]:  # noqa: ANN401
        _, kind, key, _, count, view = pid
        if view is not None or not 0 <= count <= len(content):
            raise ValueError("numbers of a kind that is not read")
        kinds[str(key)] = np.dtype(kind), count
        return np.zeros(count, kind)

    file = io.BytesIO(content)
    for _ in range(3):  # what the file is, the version of its format, the machine it comes from
        _Reader(file, _refuse).load()
    start = file.tell()
    _Reader(file, note).load()
    held = {}
    for key in _Reader(file, _refuse).load():
        kind, count = kinds[str(key)]
        if struct.unpack("<q", file.read(8)) != (count,):
            raise ValueError("numbers are not as many as was said")
        held[str(key)] = np.frombuffer(bytearray(file.read(count * kind.itemsize)), kind, count)
    file.seek(start)
    return _Reader(file, lambda pid: held[str(pid[2])]).load()


def _refuse(pid: object) -> NoReturn:
    raise ValueError(f"numbers in a place where there are none: {str(pid)[:60]}")
