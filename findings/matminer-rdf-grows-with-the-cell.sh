#!/usr/bin/env bash
# matminer 0.10.1: `RadialDistributionFunction` counts the neighbours of all atoms of the cell together and divides by the volume
# of each shell and the number density, not by the number of atoms. Its values are those of a radial distribution function
# times that number: the same crystal in a larger cell has larger ones, and far out they tend to the number of atoms, not to 1.
# `PartialRadialDistributionFunction` beside it is the same in all cells. Seen for rutile: in cells two and three times as long
# all values are 2 and 3 times as large, with a mean between 15 and 20 Å of 6, 12 and 18 for 6, 12 and 18 atoms.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet matminer==0.10.1 pymatgen==2026.10.24 pymatgen-core==2026.10.16 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
import numpy as np
from matminer.featurizers.structure import PartialRadialDistributionFunction, RadialDistributionFunction
from pymatgen.core import Lattice, Structure

places = [[0, 0, 0], [0.305, 0.305, 0]]
rutile = Structure.from_spacegroup("P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], places)
whole, part = RadialDistributionFunction(cutoff=20, bin_size=0.1), PartialRadialDistributionFunction(include_elems=["Ti", "O"])
part.fit([rutile])
first, other = np.array(whole.featurize(rutile)), np.array(part.featurize(rutile))
for times in (1, 2, 3):
    longer = rutile * [1, 1, times]
    found = np.array(whole.featurize(longer))
    shells, edges = first > 0, 0.1 * np.arange(len(first) + 1)
    volumes = np.diff(edges**3)[150:]
    print(len(longer), "atoms:", round(float((found[shells] / first[shells]).min()), 3), "times as large,", end=" ")
    print("far out", round(float((found[150:] * volumes).sum() / volumes.sum())), end="; ")
    print("partial ones the same:", bool(np.allclose(part.featurize(longer), other)))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
6 atoms: 1.0 times as large, far out 6; partial ones the same: True
12 atoms: 2.0 times as large, far out 12; partial ones the same: True
18 atoms: 3.0 times as large, far out 18; partial ones the same: True
OUT
