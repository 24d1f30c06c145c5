#!/usr/bin/env bash
# ase 3.29.0: an unknown value in extended XYZ comes back as True. `write` puts info["gap"] = None down as a
# key without a value, and `read` takes such a key for a flag. A label that nobody knows is then 1.0 in any
# table made of it. Seen: None comes back as True; nan survives.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet ase==3.29.0
cat > "$work/seen.py" <<'PY'
from ase import Atoms
from ase.io import read, write

cell = Atoms("Si2", [[0, 0, 0], [1.36, 1.36, 1.36]], cell=[5.43] * 3, pbc=True)
for value in (None, float("nan"), 1.5):
    cell.info["gap"] = value
    write("si.extxyz", cell)
    print(value, "comes back as", str(read("si.extxyz").info["gap"]))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
None comes back as True
nan comes back as nan
1.5 comes back as 1.5
OUT
