#!/usr/bin/env bash
# matminer 0.10.1: `CoulombMatrix` and `SineCoulombMatrix` are flattened to their eigenvalues, so that the order of atoms does not
# matter (Rupp et al., Phys. Rev. Lett. 108, 058301, 2012, sort them). They are not sorted here: they come as LAPACK leaves
# them, which does depend on the order of atoms. A column "eig 4" holds this eigenvalue of one crystal, that one of the next.
# Seen for rutile with its six atoms listed in 30 orders: of both matrices the eigenvalues are always the same, but
# not their places: one column differs by more than 0.5 between two orders of the same atoms.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet matminer==0.10.1 pymatgen==2026.10.24 pymatgen-core==2026.10.16 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
import numpy as np
from matminer.featurizers.structure import CoulombMatrix, SineCoulombMatrix
from pymatgen.core import Lattice, Structure

places = [[0, 0, 0], [0.305, 0.305, 0]]
rutile = Structure.from_spacegroup("P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], places)
orders = [np.random.default_rng(seed).permutation(6) for seed in range(30)]
same = [Structure.from_sites([rutile[row] for row in order]) for order in orders]
for matrix in (CoulombMatrix(), SineCoulombMatrix()):
    matrix.fit([rutile])
    found = np.array([matrix.featurize(structure) for structure in same])
    apart = np.abs(np.sort(found, axis=1) - np.sort(found[0])).max()
    print(type(matrix).__name__, "the same eigenvalues:", bool(apart < 1e-6), end="; ")
    print("in one order:", bool(np.ptp(found, axis=0).max() < 1e-6), end="; ")
    print("one column differs by more than 0.5:", bool(np.ptp(found, axis=0).max() > 0.5))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
CoulombMatrix the same eigenvalues: True; in one order: False; one column differs by more than 0.5: True
SineCoulombMatrix the same eigenvalues: True; in one order: False; one column differs by more than 0.5: True
OUT
