#!/usr/bin/env bash
# pymatgen-core 2026.10.16: `ExcitingInput.write_file(…, cartesian=True)` writes atoms in Cartesian coordinates: each component is the sum
# of the same component of all three vectors, times one fractional coordinate, where each vector has to be multiplied by its own. That
# is right if the vectors are at right angles along x, y and z; in other cells the atoms are elsewhere, without an error. Seen for
# wurtzite ZnO, read back by pymatgen: the shortest bond is 1.25 instead of 1.97 Å; with `cartesian=False` it is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pymatgen-core==2026.10.16 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
from pymatgen.core import Lattice, Structure
from pymatgen.io.exciting import ExcitingInput

places = [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.3817], [2 / 3, 1 / 3, 0.8817]]
oxide = Structure(Lattice.hexagonal(3.25, 5.207), ["Zn", "Zn", "O", "O"], places)
for cartesian in (False, True):
    text = ExcitingInput(oxide).write_string("unchanged", cartesian=cartesian)
    again = ExcitingInput.from_str(text).structure
    nearest = [min(site.nn_distance for site in again.get_neighbors(each, 4)) for each in again]
    print("cartesian:", cartesian, [round(float(distance), 2) for distance in nearest])
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
cartesian: False [1.97, 1.97, 1.97, 1.97]
cartesian: True [1.25, 1.25, 1.25, 1.25]
OUT
