"""Every field of a batch: name, shape, dtype, unit, convention. The one source of truth.

Axes have the same names everywhere: ``crystals atoms bonds angles dim targets``.

Atoms that no message-passing network can tell apart are one row with a count, and so are equal bonds of an
atom and equal angles of a bond (:mod:`tlzoo.graphs.merge`). "Atom", "bond" and "angle" mean such rows.
"""

from typing import Final

# (atoms,) int64 | atomic number Z
NUMBERS: Final = "numbers"

# (atoms,) float32 | how many atoms of the cell each stands for
ATOM_COUNT: Final = "atom_count"

# (atoms,) int64 | index of the crystal an atom belongs to, ascending
BATCH: Final = "batch"

# (2, bonds) int64 | row 0 the source (neighbour), row 1 the target (centre); sorted by target.
# A bond carries a message from its source to its target.
EDGE_INDEX: Final = "edge_index"

# (bonds,) float32, Å | from source to target, periodic image included
BOND_LENGTH: Final = "bond_length"

# (bonds,) float32 | how many such bonds the target has
BOND_COUNT: Final = "bond_count"

# (bonds, (L + 1)² − 1) float32 | real harmonics of degrees 1 to L of the directions of all such bonds of one
# target, added (:mod:`tlzoo.graphs.harmonics`); only where a backbone reads them
BOND_HARMONICS: Final = "bond_harmonics"

# (bonds, 3) float32, Å | from source to target; only where a backbone looks at directions
BOND_VECTOR: Final = "bond_vector"

# (bonds,) int64 | the same bond the other way round; only where there are vectors
BOND_REVERSE: Final = "bond_reverse"

# (2, angles) int64 | the line graph, where a backbone reads it: row 0 the source, a bond u→v, row 1 the
# target, a bond v→w, for all bonds into v, also u = w; sorted by target.
ANGLE_INDEX: Final = "angle_index"

# (angles,) float32 | cosine of the angle at v between v→u and v→w
ANGLE_COSINE: Final = "angle_cosine"

# (angles,) float32 | how many such angles the target has
ANGLE_COUNT: Final = "angle_count"

# (crystals, descriptors) float32, each in its unit | of backbones on descriptors, whose batches have no atoms
DESCRIPTORS: Final = "descriptors"

# (atoms, features) float32 | what a teacher says of each atom, a mean over those of the cell that one stands
# for; NaN where it has not seen the crystal; only where there is a teacher
ATOM_TARGETS: Final = "atom_targets"

# int | number of crystals in the batch (atoms-less crystals do not exist)
NUM_CRYSTALS: Final = "num_crystals"

# tlzoo.nn.row_blocks.Blocks | which crystals are for which network, those of one after those of another; only
# where several networks compute together
NETWORKS: Final = "networks"

# (crystals, targets) float32, physical units | NaN where unknown
TARGETS: Final = "targets"

# (crystals,) int64 | row of each crystal in the table the batch was taken from: ids travel with the batch
ROW: Final = "row"
