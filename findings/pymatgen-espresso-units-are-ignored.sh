#!/usr/bin/env bash
# pymatgen-core 2026.10.16, qe-tools 2.3.0: an input of Quantum ESPRESSO names the unit of its cell and of its positions: bohr, angstrom,
# alat (the length A) or crystal. `PWInput` takes every cell for Å and all positions that are not in Å for fractions of the cell, without a
# warning. It also reads the third coordinate of a line up to its exponent, 5.0e-01 as 5. qe-tools reads the units, and drops this
# exponent, too. Seen for rock salt, whose atoms are 2.82 Å apart in 44.85 Å^3, written in six ways.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pymatgen-core==2026.10.16 qe-tools==2.3.0 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
from pymatgen.core import Lattice
from pymatgen.io.pwscf import PWInput
from qe_tools.parsers import PwInputFile

namelists = "&CONTROL\n/\n&SYSTEM\n  ibrav = 0\n  nat = 2\n  ntyp = 2\n{}/\n&ELECTRONS\n/\n"
species = "ATOMIC_SPECIES\nNa 22.99 Na.UPF\nCl 35.45 Cl.UPF\n"
alat, bohr = "  A = 5.64\n", 0.529177
for unit, scale, places, chlorine, extra in (
    ("angstrom", 1, "crystal", "0.5 0.5 0.5", ""),
    ("bohr", bohr, "crystal", "0.5 0.5 0.5", ""),
    ("alat", 5.64, "crystal", "0.5 0.5 0.5", alat),
    ("angstrom", 1, "bohr", f"{2.82 / bohr:.6f} 0.0 0.0", ""),
    ("angstrom", 1, "alat", "0.5 0.0 0.0", alat),
    ("angstrom", 1, "angstrom", "0.0 0.0 0.282e+01", ""),
):
    half = f"{2.82 / scale:.6f}"
    cell = f"CELL_PARAMETERS {unit}\n0.0 {half} {half}\n{half} 0.0 {half}\n{half} {half} 0.0\n"
    atoms = f"ATOMIC_POSITIONS {places}\nNa 0.0 0.0 0.0\nCl {chlorine}\n"
    text = f"{namelists.format(extra)}{species}{cell}{atoms}K_POINTS gamma\n"
    structure, other = PWInput.from_str(text).structure, PwInputFile(text).structure
    lattice = Lattice(other["cell"])
    apart = lattice.get_distance_and_image(*map(lattice.get_fractional_coords, other["positions"]))[0]
    print(f"cell in {unit}, Cl at {chlorine} {places}")
    print("  pymatgen", round(structure.volume, 2), round(structure.get_distance(0, 1), 2))
    print("  qe-tools", round(lattice.volume, 2), round(apart, 2))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
cell in angstrom, Cl at 0.5 0.5 0.5 crystal
  pymatgen 44.85 2.82
  qe-tools 44.85 2.82
cell in bohr, Cl at 0.5 0.5 0.5 crystal
  pymatgen 302.67 5.33
  qe-tools 44.85 2.82
cell in alat, Cl at 0.5 0.5 0.5 crystal
  pymatgen 0.25 0.5
  qe-tools 44.85 2.82
cell in angstrom, Cl at 5.329030 0.0 0.0 bohr
  pymatgen 44.85 1.31
  qe-tools 44.85 2.82
cell in angstrom, Cl at 0.5 0.0 0.0 alat
  pymatgen 44.85 1.99
  qe-tools 44.85 2.82
cell in angstrom, Cl at 0.0 0.0 0.282e+01 angstrom
  pymatgen 44.85 0.28
  qe-tools 44.85 0.28
OUT
