#!/usr/bin/env bash
# jarvis-tools 2026.6.12: `Atoms` keeps the lattice as it is given (`lattice_mat`), and beside it one rounded to 5
# decimals (`lattice`). Atoms are placed by the rounded one, their images in `get_all_neighbors` by the other. Equal bonds
# are unequal then by some 1e-5 Å. Seen: the six equal Na-Cl distances of rock salt, 2.8163347 Å, come as three of 2.816330
# and three of 2.816339 Å, so that "all neighbours as near as the third" are three of six.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet jarvis-tools==2026.6.12
cat > "$work/seen.py" <<'PY'
from jarvis.core.atoms import Atoms

half = 2.8163347
atoms = Atoms(
    lattice_mat=[[0, half, half], [half, 0, half], [half, half, 0]],
    coords=[[0.1, 0.1, 0.1], [0.6, 0.6, 0.6]],
    elements=["Na", "Cl"],
    cartesian=False,
)
print("lattice_mat", [float(x) for x in atoms.lattice_mat[0]])
print("lattice", [float(x) for x in atoms.lattice.lattice()[0]])
print("Cl at", round(float(atoms.cart_coords[1][0]), 7), "not", round(1.2 * half, 7))
for neighbours in atoms.get_all_neighbors(r=8):
    nearest = sorted(each[2] for each in neighbours)[:6]
    print([round(float(x), 6) for x in nearest], sum(x <= nearest[2] + 1e-7 for x in nearest))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
lattice_mat [0.0, 2.8163347, 2.8163347]
lattice [0.0, 2.81633, 2.81633]
Cl at 3.379596 not 3.3796016
[2.81633, 2.81633, 2.81633, 2.816339, 2.816339, 2.816339] 3
[2.81633, 2.81633, 2.81633, 2.816339, 2.816339, 2.816339] 3
OUT
