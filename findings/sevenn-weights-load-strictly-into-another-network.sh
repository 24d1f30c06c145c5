#!/usr/bin/env bash
# sevenn 0.13.0 with e3nn 0.6.0: the weights in the package's own file of SevenNet-0 load with `strict=True`
# into the network that the package builds of the same file's configuration, and are wrong there. The paths of
# the convolutions are in another order since the file was written, and some 3j symbols have the opposite
# sign; only `SevenNetCheckpoint.build_model()` sorts the weights. Cells of high symmetry do not show it.
# Seen: all keys match; rock salt has the same energy both ways, rutile another one by 0.06 eV/atom.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet sevenn==0.13.0 e3nn==0.6.0 ase==3.29.0 torch==2.13.0
cat > "$work/seen.py" <<'PY'
import torch
from ase.spacegroup import crystal
from sevenn.checkpoint import SevenNetCheckpoint
from sevenn.model_build import build_E3_equivariant_model
from sevenn.calculator import SevenNetCalculator
from sevenn.util import pretrained_name_to_path

path = pretrained_name_to_path("7net-0")
checkpoint = SevenNetCheckpoint(path)
plain = build_E3_equivariant_model(checkpoint.config)
stored = torch.load(path, map_location="cpu", weights_only=False)["model_state_dict"]
print("keys:", plain.load_state_dict(stored, strict=True))
cells = {
    "NaCl": crystal(["Na", "Cl"], [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=[5.64] * 3 + [90] * 3),
    "rutile": crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90]
    ),
}
for name, atoms in cells.items():
    energies = []
    for model in (checkpoint.build_model(), plain):
        atoms.calc = SevenNetCalculator(model, file_type="model_instance", device="cpu")
        energies.append(atoms.get_potential_energy() / len(atoms))
    print(f"{name}: {energies[0]:.2f} with build_model(), {energies[1]:.2f} with load_state_dict, eV/atom")
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
keys: <All keys matched successfully>
NaCl: -3.38 with build_model(), -3.38 with load_state_dict, eV/atom
rutile: -8.92 with build_model(), -8.98 with load_state_dict, eV/atom
OUT
