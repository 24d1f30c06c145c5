"""What a graph is made of; part of a backbone's specification."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from tlzoo.errors import UserError
from tlzoo.graphs.harmonics import HIGHEST
from tlzoo.periodicity import VACUUM

Rule: TypeAlias = Literal["shells", "cgcnn", "alignn"]


@dataclass(frozen=True)
class GraphOptions:
    """Which neighbours of an atom are its bonds, and what counts as equal.

    The k nearest within a cut-off, with complete shells: atoms tied with the k-th are kept too, so that
    the graph does not depend on the order of atoms or the choice of cell.

    Attributes:
        cutoff: Radius of the neighbour search, in Å, below the 20 Å at which layers are set apart.
        neighbours: Nearest neighbours kept per atom (k).
        tie_tolerance: An atom at most this much farther than the k-th is tied with it, in Å.
        symmetric: Add the reverse of every bond that lacks one, as ALIGNN does.
        angles: Whether the line graph is there, with the angles between the bonds of an atom.
        merge_tolerance: Lengths (Å) and cosines that differ by at most this are equal; atoms, bonds and
            angles that are equal for every network are stored once (:mod:`tlzoo.graphs.merge`). With 0
            each is stored by itself.
        degree: Highest degree of the harmonics of bonds' directions, up to 3; 0: bonds have none.
        rule: ``shells``: complete ones, as said above. For weights from elsewhere, as they were trained
            (:mod:`tlzoo.graphs.conventions`): ``cgcnn``: exactly k, cut within a shell; ``alignn``: both
            ways, own images counted twice, the cut-off raised where an atom has fewer than k.

    Raises:
        UserError: A value is out of range.
    """

    cutoff: float = 8.0
    neighbours: int = 12
    tie_tolerance: float = 1e-3
    symmetric: bool = False
    angles: bool = False
    merge_tolerance: float = 1e-4
    degree: int = 0
    rule: Rule = "shells"

    def __post_init__(self) -> None:
        if not self.cutoff > 0:
            raise UserError(f"cutoff must be positive (Å), got {self.cutoff}")
        if not self.tie_tolerance >= 0:
            raise UserError(f"tie_tolerance must not be negative (Å), got {self.tie_tolerance}")
        if not self.cutoff + self.tie_tolerance < VACUUM:
            raise UserError(
                f"cutoff and tie_tolerance together must be below {VACUUM:g} Å, as far as layers and chains "
                f"are set apart, got {self.cutoff} and {self.tie_tolerance}"
            )
        if self.neighbours < 1:
            raise UserError(f"neighbours must be at least 1, got {self.neighbours}")
        if not 0 <= self.degree <= HIGHEST:
            raise UserError(f"degree must be from 0 (no directions) to {HIGHEST}, got {self.degree}")
        if self.rule not in get_args(Rule):
            raise UserError(f"rule must be one of {', '.join(get_args(Rule))}, got {self.rule!r}")
        if not 0 <= self.merge_tolerance <= 0.01:
            raise UserError(
                f"merge_tolerance must be from 0 (nothing is merged) to 0.01 (Å), got {self.merge_tolerance}"
            )
