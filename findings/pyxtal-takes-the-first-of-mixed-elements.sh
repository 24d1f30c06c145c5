#!/usr/bin/env bash
# pyxtal 1.1.5: `from_seed` takes CIFs and structures of pymatgen, also with sites that several elements share. It keeps the
# element that is named first, whole, and drops the others, without a warning. Seen: Fe0.1Co0.9O is FeO or CoO, depending
# on which element comes first, and Fe0.9O has no vacancies.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pyxtal==1.1.5 pymatgen==2026.10.24
cat > "$work/seen.py" <<'PY'
from pymatgen.core import Lattice, Structure
from pyxtal import pyxtal

for shared in ({"Fe": 0.1, "Co": 0.9}, {"Co": 0.9, "Fe": 0.1}, {"Fe": 0.9}):
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.27), [shared, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    crystal = pyxtal()
    crystal.from_seed(structure)
    print(structure.formula, "->", crystal.formula)
PY
cd "$work"
"$work/env/bin/python" -W error::UserWarning "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
Fe0.4 Co3.6 O4 -> Fe4O4
Fe0.4 Co3.6 O4 -> Co4O4
Fe3.6 O4 -> Fe4O4
OUT
