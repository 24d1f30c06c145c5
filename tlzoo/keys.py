"""Every field of a batch: name, shape, dtype, unit, convention. The one source of truth.

Axes have the same names everywhere: ``crystals atoms bonds angles dim targets``.
"""

from typing import Final

# (atoms,) int64 | atomic number Z
NUMBERS: Final = "numbers"

# (atoms,) int64 | index of the crystal an atom belongs to, ascending
BATCH: Final = "batch"

# (2, bonds) int64 | row 0 the source (neighbour), row 1 the target (centre); sorted by target.
# A bond carries a message from its source to its target.
EDGE_INDEX: Final = "edge_index"

# (bonds, 3) float32, Å | from source to target, periodic image included
BOND_VECTOR: Final = "bond_vector"

# int | number of crystals in the batch (atoms-less crystals do not exist)
NUM_CRYSTALS: Final = "num_crystals"

# (crystals, targets) float32, physical units | NaN where unknown
TARGETS: Final = "targets"

# (crystals,) int64 | row of each crystal in the table the batch was taken from: ids travel with the batch
ROW: Final = "row"
