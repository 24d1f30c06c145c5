#!/usr/bin/env bash
# dscribe 2.1.2: the descriptor of Valle and Oganov, made to compare crystals whatever their cells are, is that of the
# crystal for distances alone. That of angles is divided by the number of atoms once too often: it falls as one over the
# size of the cell. (`MBTR` with `normalization="valle_oganov"` has the same.) Seen for rutile in cells two and three times as
# long: distances 1.0 and 1.0 times as large, angles 0.5 and 0.333 times.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet dscribe==2.1.2 ase==3.26.0
cat > "$work/seen.py" <<'PY'
from ase.spacegroup import crystal
from dscribe.descriptors import ValleOganov

cell = (4.594, 4.594, 2.959, 90, 90, 90)
rutile = crystal(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=cell)
for function, sigma in {"distance": 0.1, "angle": 5}.items():
    descriptor = ValleOganov(species=["Ti", "O"], function=function, n=50, sigma=sigma, r_cut=5)
    of_one = descriptor.create(rutile)
    large = abs(of_one) > 0.1 * abs(of_one).max()
    for times in (2, 3):
        ratios = descriptor.create(rutile.repeat((1, 1, times)))[large] / of_one[large]
        print(function, times, "cells:", round(float(ratios.min()), 3), "to", round(float(ratios.max()), 3))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
distance 2 cells: 1.0 to 1.0
distance 3 cells: 1.0 to 1.0
angle 2 cells: 0.5 to 0.5
angle 3 cells: 0.333 to 0.333
OUT
