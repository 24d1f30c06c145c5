#!/usr/bin/env bash
# chgnet 0.4.2 (CHGNet 0.3.0): force constants by finite differences depend on the displacement, and not as
# those of a smooth energy do, which change with its square: frequencies are uncertain by some per cent,
# whatever the step. Seen for sulphur in sulvanite, Cu3VS4: 7.3, 7.0, 6.9, 7.2 and 7.5 eV/A^2 with steps of
# 0.003 to 0.03 A; the highest mode at the zone centre moves from 344 to 387 1/cm between 0.005 and 0.03 A (of
# SevenNet-0: from 403.9 to 404.3).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet chgnet==0.4.2 torch==2.13.0
cat > "$work/seen.py" <<'PY'
import contextlib
import io

from pymatgen.core import Lattice, Structure

with contextlib.redirect_stdout(io.StringIO()):
    from chgnet.model.model import CHGNet

    model = CHGNet.load(use_device="cpu", verbose=False)
# sulvanite
places = [[0, 0, 0], [0.5, 0, 0], [0.237, 0.237, 0.237]]
cell = Structure.from_spacegroup("P-43m", Lattice.cubic(5.39), ["V", "Cu", "S"], places)
sulphur = next(row for row, site in enumerate(cell) if site.specie.symbol == "S")
for step in (0.003, 0.005, 0.01, 0.02, 0.03):
    forces = []
    for sign in (1, -1):
        moved = cell.copy()
        moved.translate_sites([sulphur], [sign * step, 0, 0], frac_coords=False)
        forces.append(model.predict_structure(moved, task="ef")["f"][sulphur][0])
    print(f"{step} A: {(forces[1] - forces[0]) / (2 * step):.1f} eV/A^2")
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
0.003 A: 7.3 eV/A^2
0.005 A: 7.0 eV/A^2
0.01 A: 6.9 eV/A^2
0.02 A: 7.2 eV/A^2
0.03 A: 7.5 eV/A^2
OUT
