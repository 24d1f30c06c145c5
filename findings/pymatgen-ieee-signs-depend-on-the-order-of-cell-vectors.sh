#!/usr/bin/env bash
# pymatgen-core 2026.10.16: `convert_to_ieee` turns a tensor into the axes of the IEEE standard, so that those of one crystal can be
# compared. Of polar and of some trigonal crystals the outcome depends on which vector of the cell is called a: with the same atoms
# at the same places and the same tensor, piezoelectric constants and C14 come with either sign. (The standard fixes it: in class
# 6mm, +z so that d33 is positive.) There is no warning. Seen with cells listed as a, b, c, as b, c, a and as c, a, b, all right-handed: e33
# of wurtzite GaN, 0.73 C/m^2, and C14 of quartz, 17.9 GPa, each with both signs. Turning cell and tensor together changes nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pymatgen==2026.10.24 pymatgen-core==2026.10.16 spglib==2.8.0 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
import numpy as np
from pymatgen.analysis.elasticity.elastic import ElasticTensor
from pymatgen.analysis.piezo import PiezoTensor
from pymatgen.core import Lattice, Structure

nitride = [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.377]]
nitride = Structure.from_spacegroup("P6_3mc", Lattice.hexagonal(3.19, 5.189), ["Ga", "N"], nitride)
quartz = [[0.47, 0, 1 / 3], [0.413, 0.266, 0.2137]]
quartz = Structure.from_spacegroup("P3_121", Lattice.hexagonal(4.91, 5.40), ["Si", "O"], quartz)
e = np.zeros((3, 6))
e[0, 4] = e[1, 3] = -0.30
e[2] = [-0.49, -0.49, 0.73, 0, 0, 0]
c = np.diag([86.8, 86.8, 105.8, 58.2, 58.2, 39.9])
c[0, 1] = c[1, 0] = 7.0
c[:2, 2] = c[2, :2] = 11.9
c[0, 3] = c[3, 0] = c[4, 5] = c[5, 4] = 17.9
c[1, 3] = c[3, 1] = -17.9
piezo, elastic = PiezoTensor.from_voigt(e), ElasticTensor.from_voigt(c)
print("they have the symmetry:", piezo.is_fit_to_structure(nitride, 0.01), elastic.is_fit_to_structure(quartz, 0.1))
for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
    same = [Structure(Lattice(s.lattice.matrix[order]), s.species, s.frac_coords[:, order]) for s in (nitride, quartz)]
    e33 = piezo.convert_to_ieee(same[0]).voigt[2, 2]
    c14 = elastic.convert_to_ieee(same[1]).voigt[0, 3]
    print(", ".join("abc"[k] for k in order), "e33", round(float(e33), 2), "C14", round(float(c14), 1))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
they have the symmetry: True True
a, b, c e33 0.73 C14 17.9
b, c, a e33 -0.73 C14 -17.9
c, a, b e33 0.73 C14 17.9
OUT
