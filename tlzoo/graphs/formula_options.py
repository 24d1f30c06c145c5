"""What is read of a formula; part of the specification of a network that reads no structure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FormulaOptions:
    """The elements of the reduced formula and how many atoms of each it has; there is nothing to choose."""
