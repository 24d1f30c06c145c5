#!/usr/bin/env bash
# pymatgen 2026.10.24: a negative second line of a POSCAR is the volume of the cell (VASP wiki, POSCAR).
# pymatgen scales the lattice to it, but multiplies Cartesian coordinates by the negative number itself. Seen:
# rock salt in its primitive cell has its nearest atoms 2.82 Angstrom apart with direct coordinates, and 2.47
# with the same coordinates written in Cartesian ones.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pymatgen==2026.10.24 pymatgen-core==2026.10.16
cat > "$work/seen.py" <<'PY'
from pymatgen.io.vasp import Poscar

text = """rock salt
-44.848536
0 2.82 2.82
2.82 0 2.82
2.82 2.82 0
Na Cl
1 1
MODE
0 0 0
SITE
"""
for mode, site in (("Direct", "0.5 0.5 0.5"), ("Cartesian", "2.82 2.82 2.82")):
    structure = Poscar.from_str(text.replace("MODE", mode).replace("SITE", site)).structure
    print(mode, f"{structure.volume:.2f} A^3, {structure.get_distance(0, 1):.2f} A")
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
Direct 44.85 A^3, 2.82 A
Cartesian 44.85 A^3, 2.47 A
OUT
