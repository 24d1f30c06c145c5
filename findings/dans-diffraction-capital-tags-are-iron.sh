#!/usr/bin/env bash
# Dans_Diffraction 3.4.0: tags of a CIF may be written in capitals (International Tables G, 2.2.7.1). `Crystal` does not find
# them then, warns, and returns a crystal all the same: one atom of iron in a cube of 1 Å, which is what an empty crystal
# starts from, under the name of the file and ready for its diffraction pattern. Seen: caesium chloride whose length a and x
# begin with capitals is Fe with a density of 92.73 g/cm³; in lower case it is CsCl, of 4.03.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet Dans_Diffraction==3.4.0
cat > "$work/seen.py" <<'PY'
from pathlib import Path

from Dans_Diffraction import Crystal

text = """data_cscl
_cell_length_a 4.11
_cell_length_b 4.11
_cell_length_c 4.11
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_symmetry_equiv_pos_as_xyz
'x,y,z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cs1 Cs 0 0 0
Cl1 Cl 0.5 0.5 0.5
"""
capitals = text.replace("_cell_length_a", "_Cell_Length_A").replace("_atom_site_fract_x", "_Atom_Site_Fract_x")
for name, written in {"lower": text, "capitals": capitals}.items():
    Path(f"{name}.cif").write_text(written)
    crystal = Crystal(f"{name}.cif")
    atoms = sorted(map(str, crystal.Structure.get()[1]))
    print(crystal.name, atoms, [float(edge) for edge in crystal.Cell.lp()[:3]], round(float(crystal.Properties.density()), 2))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
lower ['Cl', 'Cs'] [4.11, 4.11, 4.11] 4.03
capitals ['Fe'] [1.0, 1.0, 1.0] 92.73
OUT
