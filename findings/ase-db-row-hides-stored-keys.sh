#!/usr/bin/env bash
# ase 3.29.0: a database takes key-value pairs called `volume`, `mass` or `charge`, but reading gives the
# cell's own value instead of the one that was stored, also in `row.key_value_pairs`. Seen: 100 and 7 are
# stored as volume and mass of a copper cell, and are in the table `systems` of the file; both ways of reading
# say 27.0 and 63.546. Other keys (`gap`) are read as stored.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet ase==3.29.0
cat > "$work/seen.py" <<'PY'
import json
import sqlite3

from ase import Atoms
from ase.db import connect

cell = Atoms("Cu", cell=[3, 3, 3], pbc=True)
with connect("made.db") as database:
    database.write(cell, volume=100.0, mass=7.0, gap=1.5)
row = next(connect("made.db").select())
((text,),) = sqlite3.connect("made.db").execute("select key_value_pairs from systems")
for way, pairs in {"the file": json.loads(text), "key_value_pairs": row.key_value_pairs}.items():
    print(way, {name: round(float(pairs[name]), 3) for name in sorted(pairs)})
print("attributes", round(float(row.volume), 3), round(float(row.mass), 3), row.gap)
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
the file {'gap': 1.5, 'mass': 7.0, 'volume': 100.0}
key_value_pairs {'gap': 1.5, 'mass': 63.546, 'volume': 27.0}
attributes 27.0 63.546 1.5
OUT
