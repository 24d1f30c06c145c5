#!/usr/bin/env bash
# torch-sim-atomistic 0.3.0 (the last for Python 3.11; the same in 0.6.2): `calculate_elastic_tensor` corrects for the pressure P of the
# crystal, with a list of signs for each crystal system. Some are in another order than its constants, and constants that are zero by
# symmetry are corrected, too: by default, triclinic, C14 to C56 of a cubic crystal are -P; as tetragonal, C12 has 2 P too much, and C16
# is -P. There is no warning. Seen for a compressed cubic crystal, P = 1.74 GPa, taken for cubic, tetragonal and triclinic.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0
"$work/env/bin/pip" install --quiet torch-sim-atomistic==0.3.0 torch==2.13.0 ase==3.29.0 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
import torch
from ase.build import bulk
from ase.units import GPa
from torch_sim.elastic import BravaisType, calculate_elastic_tensor
from torch_sim.io import atoms_to_state
from torch_sim.models.lennard_jones import LennardJonesModel

settings = {"device": torch.device("cpu"), "dtype": torch.float64}
model = LennardJonesModel(sigma=3.4, epsilon=0.0104, cutoff=8.5, compute_forces=True, compute_stress=True, **settings)
state = atoms_to_state(bulk("Ar", "fcc", a=5.0, cubic=True), **settings)
state.stress = model(state)["stress"]
print("pressure", round(-float(state.stress.squeeze().trace()) / 3 / GPa, 2))
places = {"C11": (0, 0), "C12": (0, 1), "C13": (0, 2), "C14": (0, 3), "C16": (0, 5), "C44": (3, 3), "C56": (4, 5)}
for name in ("CUBIC", "TETRAGONAL", "TRICLINIC"):
    strains = {"max_strain_normal": 1e-3, "max_strain_shear": 1e-3}
    tensor = calculate_elastic_tensor(model, state=state, bravais_type=BravaisType[name], **strains)
    print(name.lower(), {constant: round(float(tensor[place]) / GPa, 2) + 0.0 for constant, place in places.items()})
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
pressure 1.74
cubic {'C11': 25.58, 'C12': 13.61, 'C13': 13.61, 'C14': 0.0, 'C16': 0.0, 'C44': 13.61, 'C56': 0.0}
tetragonal {'C11': 25.58, 'C12': 17.1, 'C13': 13.61, 'C14': 0.0, 'C16': -1.74, 'C44': 13.61, 'C56': 0.0}
triclinic {'C11': 25.58, 'C12': 13.61, 'C13': 13.61, 'C14': -1.74, 'C16': -1.74, 'C44': 13.61, 'C56': -1.74}
OUT
