"""What a graph is made of; part of a backbone's specification."""

from dataclasses import dataclass

from tlzoo.errors import UserError

# Å. Within 30 Å a solid has some 6,000 atoms, and the nearest neighbours are a few of them: a file that asks
# for more would only exhaust the memory.
FARTHEST = 30.0


@dataclass(frozen=True)
class GraphOptions:
    """Which neighbours of an atom are its bonds, and what counts as equal.

    The k nearest within a cut-off, with complete shells: atoms tied with the k-th are kept too, so that
    the graph does not depend on the order of atoms or the choice of cell.

    Attributes:
        cutoff: Radius of the neighbour search, in Å.
        neighbours: Nearest neighbours kept per atom (k).
        tie_tolerance: An atom at most this much farther than the k-th is tied with it, in Å.
        symmetric: Add the reverse of every bond that lacks one, as ALIGNN does.
        angles: Whether the line graph is there, with the angles between the bonds of an atom.
        merge_tolerance: Lengths (Å) and cosines that differ by at most this are equal; atoms, bonds and
            angles that are equal for every network are stored once (:mod:`tlzoo.graphs.merge`). With 0
            each is stored by itself.

    Raises:
        UserError: A value is out of range.
    """

    cutoff: float = 8.0
    neighbours: int = 12
    tie_tolerance: float = 1e-3
    symmetric: bool = False
    angles: bool = False
    merge_tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if not self.cutoff > 0:
            raise UserError(f"cutoff must be positive (Å), got {self.cutoff}")
        if self.neighbours < 1:
            raise UserError(f"neighbours must be at least 1, got {self.neighbours}")
        if not self.tie_tolerance >= 0:
            raise UserError(f"tie_tolerance must not be negative (Å), got {self.tie_tolerance}")
        if self.cutoff + self.tie_tolerance > FARTHEST:
            raise UserError(
                f"cutoff and tie_tolerance must not be above {FARTHEST:g} Å together, got "
                f"{self.cutoff} and {self.tie_tolerance}"
            )
        if not 0 <= self.merge_tolerance <= 0.01:
            raise UserError(
                f"merge_tolerance must be from 0 (nothing is merged) to 0.01 (Å), got {self.merge_tolerance}"
            )
