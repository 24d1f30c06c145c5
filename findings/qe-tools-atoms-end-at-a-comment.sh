#!/usr/bin/env bash
# qe-tools 2.3.0: the positions in an input of Quantum ESPRESSO are read up to the first line that the package does not know, and from
# there no further; `nat`, the number of atoms in the same file, is not compared. There is no warning. Such a line is one with a
# comment behind the numbers, with a name like `Si_0`, which its own text gives as an example, with -1 instead of -1.0, with
# -1.0E+00, or with 1/2. Seen: of three atoms of which the second is written so, one is left.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet qe-tools==2.3.0 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
from qe_tools.parsers import PwInputFile

namelists = "&CONTROL\n/\n&SYSTEM\n  ibrav = 1\n  A = 8.0\n  nat = 3\n  ntyp = 2\n/\n&ELECTRONS\n/\n"
head = f"{namelists}ATOMIC_SPECIES\nSi 28.085 Si.UPF\nSi_0 28.085 Si.UPF\n"
plain, odd = "Si 1.0 1.0 1.0", ("Si_0 1.0 1.0 1.0", "Si -1 1 1", "Si -1.0E+00 1.0 1.0", "Si 1/2 1.0 1.0")
for second in (plain, f"{plain} ! the second", *odd):
    text = f"{head}ATOMIC_POSITIONS angstrom\nSi 0.0 0.0 0.0\n{second}\nSi 2.0 2.0 2.0\nK_POINTS gamma\n"
    print(second, "|", len(PwInputFile(text).structure["positions"]), "of 3 atoms")
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
Si 1.0 1.0 1.0 | 3 of 3 atoms
Si 1.0 1.0 1.0 ! the second | 1 of 3 atoms
Si_0 1.0 1.0 1.0 | 1 of 3 atoms
Si -1 1 1 | 1 of 3 atoms
Si -1.0E+00 1.0 1.0 | 1 of 3 atoms
Si 1/2 1.0 1.0 | 1 of 3 atoms
OUT
