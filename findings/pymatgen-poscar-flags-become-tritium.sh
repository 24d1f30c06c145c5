#!/usr/bin/env bash
# pymatgen 2026.10.24: a POSCAR of VASP 4 names no elements. If each line of coordinates ends with the flags
# of selective dynamics, `T T T`, the first is taken for a symbol. Seen: a cell of silicon with flags and no
# line of symbols is read as hydrogen (T, tritium), with `F F F` as fluorine, with a warning only of what it was taken for.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pymatgen==2026.10.24 pymatgen-core==2026.10.16
cat > "$work/seen.py" <<'PY'
from pymatgen.io.vasp import Poscar

text = """silicon
5.43
0 0.5 0.5
0.5 0 0.5
0.5 0.5 0
2
Direct
0 0 0 FLAGS
0.25 0.25 0.25 FLAGS
"""
for flags in ("T T T", "F F F"):
    print(flags, "is", Poscar.from_str(text.replace("FLAGS", flags)).structure.formula)
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
T T T is H2
F F F is F2
OUT
