#!/usr/bin/env bash
# structuretoolkit 0.1.0: how far to look for neighbours across the sides of the cell is reckoned with the cell's volume, which is negative
# if its vectors are left-handed, as they may be in any file. `get_neighbors` with a radius then finds no neighbours across the
# sides, and says nothing. Seen: the atoms of cubic copper have 12 neighbours within 3 Å; if the first two cell vectors
# are listed in the other order, none, and in a cell three times as long 0 to 8, depending on how near to a side they are.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet structuretoolkit==0.1.0 ase==3.29.0 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
import numpy as np
from ase.build import bulk
from structuretoolkit.analyse import get_neighbors

for repeat in (1, 3):
    right = bulk("Cu", "fcc", a=3.6, cubic=True) * repeat
    left = right.copy()
    left.set_cell(right.cell[[1, 0, 2]])
    for name, atoms in {"right-handed": right, "left-handed": left}.items():
        found = get_neighbors(atoms, num_neighbors=None, cutoff_radius=3.0)
        print(len(atoms), "atoms,", name, sorted({int(np.isfinite(each).sum()) for each in found.filled.distances}))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
4 atoms, right-handed [12]
4 atoms, left-handed [0]
108 atoms, right-handed [12]
108 atoms, left-handed [0, 2, 3, 8]
OUT
