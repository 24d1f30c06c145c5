r"""What a network knows of an element before it has learned anything.

The 92 numbers are nine one-hot blocks, as in table S1 of the supplement of Xie & Grossman,
Phys. Rev. Lett. 120, 145301 (2018):

=========================== ======================= =====
property                    range                   bins
=========================== ======================= =====
group                       0 … 18                  19
period                      1 … 7                   7
electronegativity           0.5 … 4.0 (Pauling)     10
covalent radius             25 … 250 pm             10
valence electrons           1 … 12                  12
ln(first ionisation energy) 1.3 … 3.3 (eV)          10
electron affinity           −3 … 3.7 eV             10
block                       s, p, d, f              4
ln(molar volume)            1.5 … 4.3 (cm³/mol)     10
=========================== ======================= =====

A value outside its range goes to the nearest bin; a value nobody has measured leaves its block all zero.
The properties are those of :mod:`tlzoo.nn.elements`.
"""

import math
from functools import cache
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tlzoo.crystals import SYMBOLS
from tlzoo.errors import UserError
from tlzoo.nn.elements import covered, properties
from tlzoo.nn.rows import Rows

FEATURES = 92


def features(number: int) -> Float[Tensor, " 92"]:
    """Return the features of one element.

    Raises:
        UserError: The element is not in the table.
    """
    check_numbers(torch.tensor([number]))
    row = properties()[number]
    blocks = [
        _one_hot(int(row["group"]), 19),
        _one_hot(int(row["period"]) - 1, 7),
        _bin(row["electronegativity"], 0.5, 4.0),
        _bin(row["covalent_radius"], 25.0, 250.0),
        _one_hot(min(int(row["valence_electrons"]), 12) - 1, 12),
        _bin(row["ionisation_energy"], 1.3, 3.3, log=True),
        _bin(row["electron_affinity"], -3.0, 3.7),
        _one_hot("spdf".index(row["block"]), 4),
        _bin(row["molar_volume"], 1.5, 4.3, log=True),
    ]
    return torch.tensor([value for block in blocks for value in block])


@cache
def feature_table() -> Float[Tensor, "numbers 92"]:
    """Return the features of all elements; row Z is the element of atomic number Z, row 0 is zero."""
    return torch.stack([torch.zeros(FEATURES), *(features(number) for number in covered())])


def check_numbers(numbers: Int[Tensor, " atoms"]) -> None:
    """Refuse elements without features.

    Raises:
        UserError: Names the first element that is not covered, and those that are.
    """
    last = max(covered())
    if not len(numbers):
        return
    least, most = numbers.aminmax()
    if int(least) < 1 or int(most) > last:
        number = next(int(z) for z in numbers if not 1 <= z <= last)
        name = f"{SYMBOLS[number]} (Z = {number})" if 0 < number < len(SYMBOLS) else f"Z = {number}"
        raise UserError(
            f"the model has no features for element {name}; it covers H (Z = 1) to {SYMBOLS[last]} "
            f"(Z = {last}): leave this crystal out"
        )


class ElementEmbedding(nn.Module):
    """One vector per atom from its atomic number.

    Args:
        features: ``"elements"``: the 92 features through a linear layer; ``"learned"``: a free vector for
            each element.
        dim: Length of the vector.
    """

    table: Tensor

    def __init__(self, *, features: Literal["elements", "learned"] = "elements", dim: int = 64) -> None:
        super().__init__()
        if features not in {"elements", "learned"}:
            raise UserError(f"features must be 'elements' or 'learned', got {features!r}")
        self.linear: nn.Module
        if features == "elements":
            # not stored with the weights: the table is part of the code
            self.register_buffer("table", feature_table().clone(), persistent=False)
            self.linear = nn.Linear(FEATURES, dim)
        else:
            self.linear = nn.Embedding(max(covered()) + 1, dim)
        self.features = features

    def forward(
        self, numbers: Int[Tensor, " atoms"], atoms: Rows | None = None
    ) -> Float[Tensor, "atoms dim"]:
        """Embed atomic numbers, of several networks each its own.

        Raises:
            UserError: An element is not covered. Not on a GPU, where looking would wait for it: what reads
                crystals has refused such elements.
        """
        if not numbers.is_cuda:
            check_numbers(numbers)
        known = self.table[numbers] if self.features == "elements" else numbers
        blocks = atoms.blocks if atoms is not None else None
        result: Tensor = self.linear(known) if blocks is None else self.linear(known, blocks)
        return result


def _one_hot(index: int, size: int) -> list[float]:
    return [float(i == index) for i in range(size)]


def _bin(text: str, low: float, high: float, *, log: bool = False, size: int = 10) -> list[float]:
    if not text:
        return [0.0] * size
    value = math.log(float(text)) if log else float(text)
    index = math.floor((value - low) / (high - low) * size)
    return _one_hot(min(max(index, 0), size - 1), size)
