#!/usr/bin/env bash
# phonopy 4.10.0: a POSCAR or CONTCAR may name its elements as its POTCAR does, `Na_pv`, and VASP 6 writes the hash behind
# it. phonopy, which splits symbols from numbers in names of its own (`Na1`), takes a line with such a name for no line of
# symbols at all and counts the elements up instead: hydrogen, helium, lithium. There is no warning; masses, and with them all
# frequencies, are of these. Also of the file that phonopy itself writes of a cell with Na1 and Na2. Seen: rock salt is
# hydrogen and helium, of masses 1 and 4, if sodium is called Na_pv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet phonopy==4.10.0
cat > "$work/seen.py" <<'PY'
from pathlib import Path

from phonopy.interface.calculator import read_crystal_structure, write_crystal_structure
from phonopy.structure.atoms import PhonopyAtoms


def read(path):
    cell, _ = read_crystal_structure(path, interface_mode="vasp")
    return cell.symbols, cell.masses.round(1).tolist()


for names in ("Na Cl", "Na_pv Cl", "Na_pv/79d9987ad87 Cl/9f2f4b6dbc5"):
    text = f"rock salt\n1\n0 2.82 2.82\n2.82 0 2.82\n2.82 2.82 0\n{names}\n1 1\nDirect\n0 0 0\n.5 .5 .5\n"
    Path("CONTCAR").write_text(text)
    print(names, *read("CONTCAR"))
numbered = PhonopyAtoms(symbols=["Na1", "Na2"], cell=[[4, 0, 0], [0, 4, 0], [0, 0, 4]], scaled_positions=[[0] * 3, [0.5] * 3])
write_crystal_structure("POSCAR", numbered, interface_mode="vasp")
print(*numbered.symbols, *read("POSCAR"))
PY
cd "$work"
"$work/env/bin/python" -W error "$work/seen.py" 2>&1 | tee "$work/out"
diff "$work/out" - <<'OUT'
Na Cl ['Na', 'Cl'] [23.0, 35.5]
Na_pv Cl ['H', 'He'] [1.0, 4.0]
Na_pv/79d9987ad87 Cl/9f2f4b6dbc5 ['H', 'He'] [1.0, 4.0]
Na1 Na2 ['H', 'He'] [1.0, 4.0]
OUT
