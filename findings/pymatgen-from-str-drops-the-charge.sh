#!/usr/bin/env bash
# pymatgen 2026.10.24: the charge of a structure is in its JSON and its YAML. `Structure.from_file` and `from_dict` read
# it; `Structure.from_str` of the same text gives a neutral cell, though properties stay. The two compare as equal, so
# that no comparison tells. Seen: charge 1 comes back as 1 from the file and the dict, as 0 from the text.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pymatgen==2026.10.24
cat > "$work/seen.py" <<'PY'
import json
from pathlib import Path

from pymatgen.core import Lattice, Structure

charged = Structure(
    Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]], charge=1, properties={"defect": "V_Cl"}
)
for kind in ("json", "yaml"):
    path = Path(f"defect.{kind}")
    charged.to(str(path))
    file, text = Structure.from_file(path), Structure.from_str(path.read_text(), fmt=kind)
    print(kind, "file", file.charge, "text", text.charge, text.properties, "equal", file == text)
print("dict", Structure.from_dict(json.loads(Path("defect.json").read_text())).charge)
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
json file 1 text 0.0 {'defect': 'V_Cl'} equal True
yaml file 1 text 0.0 {'defect': 'V_Cl'} equal True
dict 1
OUT
