#!/usr/bin/env bash
# crystals 1.7.0: the occupancy of each site of a CIF is read and kept, `Atom.occupancy`, and not used: `chemical_composition`
# counts sites, and `to_poscar` and `to_xyz` write all elements of a shared site as whole atoms at one place. Seen: Fe0.1Co0.9O is
# a third of each element.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet crystals==1.7.0
cat > "$work/mixed.cif" <<'CIF'
data_mixed
_cell_length_a 4.27
_cell_length_b 4.27
_cell_length_c 4.27
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Fe1 Fe 0 0 0 0.1
Co1 Co 0 0 0 0.9
O1 O 0.5 0.5 0.5 1
CIF
cat > "$work/seen.py" <<'PY'
from crystals import Crystal

crystal = Crystal.from_cif("mixed.cif")
print(sorted({(atom.element, atom.occupancy) for atom in crystal}))
print({element: round(float(part), 3) for element, part in sorted(crystal.chemical_composition.items())})
crystal.to_poscar("mixed.vasp")
with open("mixed.vasp") as file:
    print("POSCAR", *(line.split() for line in file.readlines()[5:7]))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
[('Co', 0.9), ('Fe', 0.1), ('O', 1.0)]
{'Co': 0.333, 'Fe': 0.333, 'O': 0.333}
POSCAR ['Co', 'Fe', 'O'] ['4', '4', '4']
OUT
