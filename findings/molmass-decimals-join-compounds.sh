#!/usr/bin/env bash
# molmass 2026.1.8: a full stop in a formula joins two compounds, also where it is a decimal point: Fe1.5O2 is Fe with five of
# O2, FeO10. What stands last is then a number of nothing and is lost. There is no warning; only an amount that begins with a
# nought (Fe0.95O) is an error. Seen: CsPbBr1.5I1.5 has the mass of CsPbBrI, 546.91 instead of 650.31.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet molmass==2026.1.8
cat > "$work/seen.py" <<'PY'
from molmass import Formula

for text in ("CsPbBr1.5I1.5", "Cs2Pb2Br3I3", "Fe1.5O2", "Li1.2O2.5"):
    formula = Formula(text)
    print(text, formula.empirical, round(formula.mass, 2))
PY
cd "$work"
"$work/env/bin/python" -W error "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
CsPbBr1.5I1.5 BrCsIPb 546.91
Cs2Pb2Br3I3 Br3Cs2I3Pb2 1300.63
Fe1.5O2 FeO10 215.84
Li1.2O2.5 LiO4 70.94
OUT
