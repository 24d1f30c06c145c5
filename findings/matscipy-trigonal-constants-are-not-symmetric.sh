#!/usr/bin/env bash
# matscipy 1.3.1: `fit_elastic_constants` fits the constants that the symmetry of a crystal leaves. With `symmetry="trigonal_high"`
# (classes 32, 3m and -3m: quartz, corundum, calcite) the matrix it returns is not symmetric, C24 is 0 and C42 is -C14, and has C25 where
# C56 belongs; and C11, C12 and C44 are fitted to cells that are stretched and sheared at once, as if C14 were 0. There is no warning.
# Seen for copper along its threefold axis (GPa): C11 219 for 234, C44 35 for 49. "trigonal_low" and "triclinic" agree and are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet matscipy==1.3.1 ase==3.29.0 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
import numpy as np
from ase.calculators.emt import EMT
from ase.lattice.cubic import FaceCenteredCubic
from ase.units import GPa
from matscipy.elasticity import fit_elastic_constants

copper = FaceCenteredCubic(symbol="Cu", latticeconstant=3.59, directions=[[1, -1, 0], [1, 1, -2], [1, 1, 1]])
copper.calc = EMT()
places = ((1, 1), (1, 2), (4, 4), (2, 4), (4, 2), (2, 5), (5, 6))
for symmetry in ("triclinic", "trigonal_low", "trigonal_high"):
    constants = fit_elastic_constants(copper, symmetry=symmetry, verbose=False, delta=1e-4)[0] / GPa
    print(symmetry, "symmetric:", np.allclose(constants, constants.T, atol=0.1))
    print({f"C{row}{column}": round(constants[row - 1, column - 1]) for row, column in places})
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
triclinic symmetric: True
{'C11': 234, 'C12': 95, 'C44': 49, 'C24': 29, 'C42': 29, 'C25': 0, 'C56': -29}
trigonal_low symmetric: True
{'C11': 234, 'C12': 95, 'C44': 49, 'C24': 29, 'C42': 29, 'C25': 0, 'C56': -29}
trigonal_high symmetric: False
{'C11': 219, 'C12': 109, 'C44': 35, 'C24': 0, 'C42': 29, 'C25': 29, 'C56': 0}
OUT
