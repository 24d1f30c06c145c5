#!/usr/bin/env bash
# pymatgen 2026.10.24: `import pymatgen.analysis.prototypes` checks the BibTeX entry of each of its 288 AFLOW
# prototypes, though they come with the package: seconds before the first structure type is named.
# Seen: 288 entries are checked while the module is imported, 0 when a prototype is then asked for.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pymatgen==2026.10.24 pymatgen-core==2026.10.16
cat > "$work/seen.py" <<'PY'
from pymatgen.core import Lattice, Structure
from pymatgen.util import provenance

checked = []
check = provenance.is_valid_bibtex
provenance.is_valid_bibtex = lambda text: checked.append(text) or check(text)

from pymatgen.analysis.prototypes import AflowPrototypeMatcher

print("checked on import:", len(checked))
checked.clear()
salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
found = AflowPrototypeMatcher().get_prototypes(salt.get_primitive_structure())
print("NaCl:", found[0]["tags"]["strukturbericht"], "checked:", len(checked))
PY
"$work/env/bin/python" "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
checked on import: 288
NaCl: B1 checked: 0
OUT
