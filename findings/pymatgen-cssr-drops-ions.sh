#!/usr/bin/env bash
# pymatgen-core 2026.10.16: `Cssr` writes a site by its species, with the charge if it has one, `Na+`, and reads only names without a
# sign; lines with another name are passed over. Of a structure with oxidation states no site comes back, of one where some have
# them the others, without an error or a warning. Seen: rock salt of Na+ and Cl- has 8 sites and comes back with 0, of Na+ and Cl with 4.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pymatgen-core==2026.10.16 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
import warnings

from pymatgen.core import Lattice, Structure
from pymatgen.io.cssr import Cssr

for elements in (["Na", "Cl"], ["Na+", "Cl-"], ["Na+", "Cl"]):
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), elements, [[0, 0, 0], [0.5, 0.5, 0.5]])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        again = Cssr.from_str(str(Cssr(salt))).structure
    print(elements, len(salt), "sites, read back", len(again), "warnings:", len(said))
PY
cd "$work"
"$work/env/bin/python" "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
['Na', 'Cl'] 8 sites, read back 8 warnings: 0
['Na+', 'Cl-'] 8 sites, read back 0 warnings: 0
['Na+', 'Cl'] 8 sites, read back 4 warnings: 0
OUT
