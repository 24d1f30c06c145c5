#!/usr/bin/env bash
# pymatgen 2026.10.24: occupancy `.` in a CIF means the dictionary's default, which is 1; pymatgen reads it as
# 0 and drops the site, with a warning about the formula alone. Seen: rock salt with `.` for the occupancy of
# chlorine has one element; with 1 it has two.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pymatgen==2026.10.24 pymatgen-core==2026.10.16
cat > "$work/seen.py" <<'PY'
from pymatgen.io.cif import CifParser

text = """data_salt
_symmetry_space_group_name_H-M 'P 1'
_cell_length_a 3.99
_cell_length_b 3.99
_cell_length_c 3.99
_cell_angle_alpha 60
_cell_angle_beta 60
_cell_angle_gamma 60
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na 0 0 0 1
Cl1 Cl 0.5 0.5 0.5 OCC
"""
for occupancy in ("1", "."):
    (structure,) = CifParser.from_str(text.replace("OCC", occupancy)).parse_structures(primitive=False)
    print(occupancy, structure.formula)
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
1 Na1 Cl1
. Na1
OUT
