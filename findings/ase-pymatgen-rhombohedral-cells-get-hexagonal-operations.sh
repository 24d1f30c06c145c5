#!/usr/bin/env bash
# ase 3.29.0, pymatgen 2026.10.24: a CIF may name its space group without its operations, and `R -3 m` is a group of rhombohedral
# cells, too (the name "does not necessarily contain complete information about the symmetry and the space-group origin", says the core
# dictionary; the cell tells). Both take the operations of the hexagonal cell, whatever the cell is. Seen for bismuth, two atoms in
# a cell of 70.8 Å^3: ASE, without a warning, and pymatgen, with one only that it took the name, give 36 atoms, 176.5 g/cm^3 (osmium
# has 22.6), some 0.78 Å apart. gemmi 0.7.5 looks at the cell: 2 atoms.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet ase==3.29.0 pymatgen==2026.10.24 pymatgen-core==2026.10.16 gemmi==0.7.5 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
import io
import warnings

import gemmi
from ase.io import read
from pymatgen.core import Structure

lengths = "".join(f"_cell_length_{name} 4.746\n" for name in "abc")
angles = "".join(f"_cell_angle_{name} 57.23\n" for name in ("alpha", "beta", "gamma"))
sites = "loop_\n_atom_site_label\n_atom_site_type_symbol\n" + "".join(f"_atom_site_fract_{name}\n" for name in "xyz")
text = f"data_Bi\n{lengths}{angles}_symmetry_space_group_name_H-M 'R -3 m'\n{sites}Bi1 Bi 0.2339 0.2339 0.2339\n"
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    atoms = read(io.StringIO(text), format="cif")
density = 1.66054 * atoms.get_masses().sum() / atoms.get_volume()
print("ase", len(atoms), "atoms,", round(density, 1), "g/cm^3, warnings:", len(said))
warnings.simplefilter("ignore")
structure = Structure.from_str(text, fmt="cif")
nearest = min(site.nn_distance for site in structure.get_neighbors(structure[0], 4))
print("pymatgen", len(structure), "atoms,", round(float(structure.density), 1), "g/cm^3, nearest", round(nearest, 2))
small = gemmi.make_small_structure_from_block(gemmi.cif.read_string(text).sole_block())
print("gemmi", len(small.get_all_unit_cell_sites()), "atoms")
PY
cd "$work"
"$work/env/bin/python" "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
ase 36 atoms, 176.5 g/cm^3, warnings: 0
pymatgen 36 atoms, 176.5 g/cm^3, nearest 0.78
gemmi 2 atoms
OUT
