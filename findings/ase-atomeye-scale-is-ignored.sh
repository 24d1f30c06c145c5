#!/usr/bin/env bash
# ase 3.29.0: a CFG file of AtomEye has a length, `A = 3.0 Angstrom`, in which its cell, H0, is written. ASE reads that line and
# leaves it out: the cell is too small by that factor, and the atoms, in fractions of it, are with it. Files that ASE writes have
# A = 1. Seen: two atoms of iron, whose cell of 2.87 Å is written as 1 with A = 2.87, are 0.87 instead of 2.49 Å apart.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet ase==3.29.0
cat > "$work/seen.py" <<'PY'
import ase.io

for length, edge in ((1.0, 2.87), (2.87, 1.0)):
    lines = ["Number of particles = 2", f"A = {length} Angstrom (basic length-scale)"]
    lines += [f"H0({i},{j}) = {edge if i == j else 0.0} A" for i in (1, 2, 3) for j in (1, 2, 3)]
    lines += [".NO_VELOCITY.", "entry_count = 3", "55.845", "Fe", "0 0 0", "55.845", "Fe", "0.5 0.5 0.5"]
    with open("iron.cfg", "w") as file:
        file.write("\n".join(lines) + "\n")
    atoms = ase.io.read("iron.cfg")
    print(f"A = {length}: cell {atoms.cell[0, 0]:.2f}, distance {atoms.get_distance(0, 1, mic=True):.2f}")
PY
cd "$work"
"$work/env/bin/python" -W error "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
A = 1.0: cell 2.87, distance 2.49
A = 2.87: cell 1.00, distance 0.87
OUT
