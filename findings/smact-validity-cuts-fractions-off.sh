#!/usr/bin/env bash
# smact 4.0.2: `smact_validity`, with which generated crystals are judged, takes fractional amounts, and cuts off what is behind
# the decimal point. Ca1.5Cl3 is then CaCl3, Mg1.5O1.9 is MgO. Only where nothing but noughts is left is there an error. Seen:
# CaCl2 is valid and is not as Ca1.5Cl3, NaKCl2 is and Na0.5K0.5Cl is not; Mg1.5O1.9, of no whole charge, is.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet SMACT==4.0.2 pymatgen==2026.10.24
cat > "$work/seen.py" <<'PY'
from smact.screening import smact_validity

for formula in ("CaCl2", "Ca1.5Cl3", "NaKCl2", "Na0.5K0.5Cl", "MgO", "Mg1.5O1.9", "Mg15O19"):
    print(formula, smact_validity(formula))
PY
cd "$work"
"$work/env/bin/python" -W error::UserWarning "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
CaCl2 True
Ca1.5Cl3 False
NaKCl2 True
Na0.5K0.5Cl False
MgO True
Mg1.5O1.9 True
Mg15O19 False
OUT
