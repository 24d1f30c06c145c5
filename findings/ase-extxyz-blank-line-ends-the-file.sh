#!/usr/bin/env bash
# ase 3.29.0: an empty line between two frames of an XYZ file ends the reading, without a warning. Seen: of
# the two frames of a file that somebody put together with an empty line between them, `read(..., index=":")`
# gives one; without that line two.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet ase==3.29.0
cat > "$work/seen.py" <<'PY'
from pathlib import Path

from ase.io import read

frame = '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 pbc="T T T"\nCu 0 0 0\n'
for between in ("", "\n"):
    Path("two.extxyz").write_text(frame + between + frame)
    print(repr(between), len(read("two.extxyz", index=":")), "frame(s)")
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
'' 2 frame(s)
'\n' 1 frame(s)
OUT
