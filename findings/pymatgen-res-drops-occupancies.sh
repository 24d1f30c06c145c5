#!/usr/bin/env bash
# pymatgen 2026.10.24: a SHELX file (.res) states the occupancy of each site; pymatgen writes it, and ignores it in
# reading: a site that two elements share becomes two whole atoms at one point, without a warning, in a structure that
# counts as ordered. Seen: rock salt with Na and K half and half, Na2 K2 Cl4, comes back as Na4 K4 Cl4 whose nearest
# atoms are 0 Å apart, though the file says 0.5.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pymatgen==2026.10.24
cat > "$work/seen.py" <<'PY'
from pymatgen.core import Lattice, Structure

shared = {"Na": 0.5, "K": 0.5}
mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(6), [shared, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
text = mixed.to(fmt="res")
print("occupancies in the file", sorted({line.split()[-1] for line in text.splitlines() if line[:2] in ("Na", "K ")}))
read = Structure.from_str(text, fmt="res")
print("written", mixed.formula, "ordered", mixed.is_ordered)
print("read", read.formula, "ordered", read.is_ordered)
print("nearest atoms", read.distance_matrix[0, 1:].min())
PY
cd "$work"
"$work/env/bin/python" -W error "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
occupancies in the file ['0.500000']
written K2 Na2 Cl4 ordered False
read K4 Na4 Cl4 ordered True
nearest atoms 0.0
OUT
