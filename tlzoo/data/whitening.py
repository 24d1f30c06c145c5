"""Principal components of unit variance: many numbers of atoms as a few that count equally."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError, first_line
from tlzoo.machine.files import whole

# Of rare atoms numbers are many standard deviations off; farther than this they count no more.
CLIP: Final = 8.0
# A number that varies by less, in standard deviations of the largest, is a constant with rounding, and so is
# a component that has less of the variance than the largest, times this.
LEAST: Final = 1e-6
BLOCK: Final = 1 << 14  # atoms that are in double precision at a time
NAMES: Final = ("mean", "scale", "components", "variances")

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Whitening:
    r"""A linear map that makes the numbers of an atom few, uncorrelated and of unit variance.

    With each number standardised and cut off at 8 standard deviations, z, and the eigenvectors :math:`v_k`
    and eigenvalues :math:`\lambda_k` of :math:`\langle z z^T \rangle`, the k-th is
    :math:`v_k \cdot z / \sqrt{\lambda_k}`.

    Attributes:
        mean: Of each number, ``(numbers,)``.
        scale: Standard deviation of each; infinite of a constant, which says nothing, ``(numbers,)``.
        components: :math:`v_k / \sqrt{\lambda_k}`, ``(numbers, kept)``.
        variances: All eigenvalues, descending, ``(numbers,)``.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    components: NDArray[np.float32]
    variances: NDArray[np.float32]

    @classmethod
    def fit(cls, sample: Floats, kept: int) -> Self:
        """Learn it of a sample of atoms, which count equally, ``(atoms, numbers)``.

        Raises:
            UserError: There are not as many components to keep.
        """
        pieces = [slice(start, start + BLOCK) for start in range(0, len(sample), BLOCK)]
        total = len(sample)
        mean = np.sum([sample[piece].sum(axis=0, dtype=np.float64) for piece in pieces], axis=0) / total
        squares = [np.square(sample[piece].astype(np.float64) - mean).sum(axis=0) for piece in pieces]
        scale = np.sqrt(np.sum(squares, axis=0) / total)
        scale[scale <= LEAST * scale.max()] = np.inf
        products = np.zeros((len(mean), len(mean)))
        for piece in pieces:
            z = _standardised(sample[piece].astype(np.float64), mean, scale)
            products += z.T @ z
        found, vectors = np.linalg.eigh(products / total)
        order = np.argsort(found)[::-1]
        found, vectors = found[order], vectors[:, order]
        there = int((found > LEAST * found[0]).sum())
        if not 1 <= kept <= there:
            raise UserError(
                f"--whiten {kept}: what varies among {total:,} atoms of the sample is {there} independent "
                "numbers; ask for no more, or give more crystals"
            )
        # the sign of an eigenvector is the library's choice: the largest part is positive
        largest = np.abs(vectors).argmax(axis=0)
        vectors *= np.sign(vectors[largest, np.arange(len(largest))])
        parts = (mean, scale, vectors[:, :kept] / np.sqrt(found[:kept]), found)
        return cls(*(part.astype(np.float32) for part in parts))

    @property
    def back(self) -> NDArray[np.float32]:
        """What makes components the numbers of an atom again, each standardised, ``(kept, numbers)``."""
        return (self.components * self.variances[: self.components.shape[1]]).T

    @property
    def explained(self) -> float:
        """The part of the variance that is kept."""
        return float(self.variances[: self.components.shape[1]].sum() / self.variances.sum())

    def apply(self, numbers: Floats) -> NDArray[np.float32]:
        """Return the components of atoms, ``(atoms, kept)``, of their numbers, ``(atoms, numbers)``."""
        found: list[Floats] = [np.empty((0, self.components.shape[1]), dtype=np.float32)]
        for start in range(0, len(numbers), BLOCK):
            some = numbers[start : start + BLOCK].astype(np.float32)
            found.append(_standardised(some, self.mean, self.scale) @ self.components)
        return np.concatenate(found).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            UserError: It cannot be written.
        """
        import safetensors.numpy

        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in NAMES}
        with whole(path) as partial:
            partial.write_bytes(safetensors.numpy.save(arrays))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            UserError: It is damaged.
        """
        import safetensors.numpy
        from safetensors import SafetensorError

        try:
            arrays: Mapping[str, Any] = safetensors.numpy.load(path.read_bytes())
            found = cls(*(arrays[name] for name in NAMES))
        except (OSError, KeyError, SafetensorError) as error:
            raise UserError(_damaged(path, first_line(error))) from error
        sizes = {len(each) for each in (found.mean, found.scale, found.components, found.variances)}
        if found.components.ndim != 2 or len(sizes) > 1:
            raise UserError(_damaged(path, "its arrays do not belong together"))
        return found


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}): delete the folder, and begin anew"


def _standardised(numbers: Floats, mean: Floats, scale: Floats) -> Floats:
    return np.clip((numbers - mean) / scale, -CLIP, CLIP)
