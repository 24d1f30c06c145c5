#!/usr/bin/env bash
# dpdata 1.1.0: three integers at the end of an atom's line in a data file of LAMMPS say through which periodic boundaries it has gone;
# `write_data` always writes them. dpdata takes the three columns behind the coordinates for a magnetic moment, and multiplies them by
# the last of them. There is no warning, and the moments are written for the training of DeePMD (`spin.npy`). Seen: an
# atom with flags 1 -1 2 has the spin 2 -2 4; without flags there are no spins.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet dpdata==1.1.0 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
from pathlib import Path

import dpdata

head = "LAMMPS data file via write_data\n\n2 atoms\n2 atom types\n\n0.0 2.8 xlo xhi\n0.0 2.8 ylo yhi\n0.0 2.8 zlo zhi\n\n"
for name, flags in {"without": ("", ""), "with": (" 0 0 1", " 1 -1 2")}.items():
    atoms = f"1 1 0.0 0.0 0.0{flags[0]}\n2 2 1.4 1.4 1.4{flags[1]}\n"
    Path("alloy.lmp").write_text(f"{head}Masses\n\n1 55.845\n2 26.98\n\nAtoms # atomic\n\n{atoms}")
    system = dpdata.System("alloy.lmp", fmt="lammps/lmp", type_map=["Fe", "Al"])
    system.to("deepmd/npy", name)
    spins = system.data["spins"][0].tolist() if "spins" in system.data else None
    print(name, "flags: spins", spins, sorted(path.name for path in Path(name, "set.000").iterdir()))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
without flags: spins None ['box.npy', 'coord.npy']
with flags: spins [[0.0, 0.0, 1.0], [2.0, -2.0, 4.0]] ['box.npy', 'coord.npy', 'spin.npy']
OUT
