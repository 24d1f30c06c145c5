#!/usr/bin/env bash
# matminer 0.10.1: `StructuralComplexity` is the information in a crystal by Krivovichev (Mineral. Mag. 77, 275, 2013): that of the
# orbits of its atoms in the reduced cell, in bits per atom and per cell. It takes the cell as it is, and for orbits what the
# lattice of this cell leaves equivalent, so that both numbers, also that per atom, are larger in a supercell of the same crystal. Seen for
# SrTiO3, three orbits, 1.371 bits per atom and 6.855 in its cell of five atoms: in cells twice as long 1.922 and 19.219.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet matminer==0.10.1 pymatgen==2026.10.24 pymatgen-core==2026.10.16 spglib==2.8.0 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
import numpy as np
from matminer.featurizers.structure import StructuralComplexity
from pymatgen.core import Lattice, Structure
from spglib import get_symmetry_dataset

places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
perovskite = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], places)
for cell in (perovskite, perovskite * [2, 1, 1]):
    found = get_symmetry_dataset((cell.lattice.matrix, cell.frac_coords, cell.atomic_numbers), symprec=0.1)
    orbits = len(np.unique(found.crystallographic_orbits))
    per_atom, per_cell = StructuralComplexity().featurize(cell)
    print(f"{len(cell)} atoms, {orbits} orbits: {per_atom:.3f} bits per atom, {per_cell:.3f} per cell")
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
5 atoms, 3 orbits: 1.371 bits per atom, 6.855 per cell
10 atoms, 3 orbits: 1.922 bits per atom, 19.219 per cell
OUT
