#!/usr/bin/env bash
# xrayutilities 1.8.0: `Crystal.fromCIF` turns a CIF into Wyckoff positions of the number of its space group, and its table has one
# setting of a monoclinic number for each unique axis, P 21/c but not P 21/n. The operations in the file only say how many positions
# there are. A crystal in another setting becomes another crystal, of the same formula and density, without a warning. Seen: the
# nearest atoms of one in P 21/n are 3.20 instead of 3.48 Å apart, those of one in I 2/a 1.12 instead of 1.86 Å.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet xrayutilities==1.8.0 gemmi==0.7.5
cat > "$work/seen.py" <<'PY'
import gemmi
import numpy as np
import xrayutilities as xu


def nearest(cell, places):
    images = np.array([(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)])
    apart = np.linalg.norm((places[:, None, None] - places[None, :, None] + images) @ cell, axis=-1)
    return apart[apart > 0.1].min()


for name, number in (("P 1 21/c 1", 14), ("P 1 21/n 1", 14), ("I 1 2/a 1", 15)):
    group = gemmi.find_spacegroup_by_name(name)
    lines = ["data_oxygen", "_cell_length_a 5", "_cell_length_b 6", "_cell_length_c 7"]
    lines += ["_cell_angle_alpha 90", "_cell_angle_beta 100", "_cell_angle_gamma 90"]
    lines += [f"_symmetry_space_group_name_H-M '{name}'", f"_symmetry_Int_Tables_number {number}"]
    lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{o.triplet()}'" for o in group.operations())]
    lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol"]
    lines += [f"_atom_site_fract_{axis}" for axis in "xyz"] + ["O1 O 0.1 0.2 0.3"]
    with open("oxygen.cif", "w") as file:
        file.write("\n".join(lines) + "\n")
    right = gemmi.read_small_structure("oxygen.cif")
    places = np.array([site.fract.tolist() for site in right.get_all_unit_cell_sites()])
    cell = np.array(right.cell.orth.mat.tolist()).T
    crystal = xu.materials.Crystal.fromCIF("oxygen.cif")
    read = np.array([place for _, place, *_ in crystal.lattice.base()])
    axes = np.array([crystal.a1, crystal.a2, crystal.a3])
    print(f"{name}: {nearest(axes, read):.2f}, by its operations {nearest(cell, places):.2f}")
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
P 1 21/c 1: 3.20, by its operations 3.20
P 1 21/n 1: 3.20, by its operations 3.48
I 1 2/a 1: 1.12, by its operations 1.86
OUT
