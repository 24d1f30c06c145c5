"""What a graph with bond vectors is made of; part of the specification of a potential."""

from dataclasses import dataclass

from tlzoo.errors import UserError
from tlzoo.periodicity import VACUUM


@dataclass(frozen=True)
class VectorOptions:
    """All neighbours of an atom within a cut-off, each with its vector; nothing is merged.

    What networks read that look at directions: equal atoms of a crystal may be rotated copies of each other.

    Attributes:
        cutoff: Radius of the neighbour search, in Å, below the 20 Å at which layers are set apart.

    Raises:
        UserError: The cut-off is out of range.
    """

    cutoff: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.cutoff < VACUUM:
            raise UserError(f"cutoff must be positive and below {VACUUM:g} Å, got {self.cutoff}")
