#!/usr/bin/env bash
# jarvis-tools 2026.6.12: the second line of a POSCAR scales the lattice and Cartesian coordinates; a negative one is the volume of
# the cell (VASP wiki, POSCAR). `Poscar` multiplies the lattice by it, whatever its sign, and leaves Cartesian coordinates as
# they stand, without a warning. Seen for rock salt written in four ways: with a scale of 5.64 and Cartesian coordinates chlorine
# is 0.87 Å from sodium, not 2.82 Å; with a scale of -44.85, the volume in Å^3, the cell has 1,443,469 Å^3. ASE reads all as one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet jarvis-tools==2026.6.12 ase==3.29.0
cat > "$work/seen.py" <<'PY'
import numpy as np
from ase.io import read
from jarvis.io.vasp.inputs import Poscar


def poscar(scale, half, mode, last):
    rows = [f"0 {half} {half}", f"{half} 0 {half}", f"{half} {half} 0"]
    return "\n".join(["rock salt", str(scale), *rows, "Na Cl", "1 1", mode, "0 0 0", last]) + "\n"


ways = {
    "scale 1, direct": poscar(1.0, 2.82, "Direct", "0.5 0.5 0.5"),
    "scale 5.64, direct": poscar(5.64, 0.5, "Direct", "0.5 0.5 0.5"),
    "scale 5.64, Cartesian": poscar(5.64, 0.5, "Cartesian", "0.5 0.5 0.5"),
    "the volume, direct": poscar(-44.85, 2, "Direct", "0.5 0.5 0.5"),
}
for way, text in ways.items():
    with open("POSCAR", "w") as file:
        file.write(text)
    for name, atoms in {"ase": read("POSCAR"), "jarvis": Poscar.from_file("POSCAR").atoms.ase_converter()}.items():
        atoms = atoms.repeat(2)
        others = atoms.get_distances(0, range(1, len(atoms)), mic=True)
        print(f"{way}, {name}: {atoms.get_volume() / 8:.0f} A^3, {others.min():.2f} A", end="; " if name == "ase" else "\n")
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
scale 1, direct, ase: 45 A^3, 2.82 A; scale 1, direct, jarvis: 45 A^3, 2.82 A
scale 5.64, direct, ase: 45 A^3, 2.82 A; scale 5.64, direct, jarvis: 45 A^3, 2.82 A
scale 5.64, Cartesian, ase: 45 A^3, 2.82 A; scale 5.64, Cartesian, jarvis: 45 A^3, 0.87 A
the volume, direct, ase: 45 A^3, 2.82 A; the volume, direct, jarvis: 1443469 A^3, 89.70 A
OUT
