#!/usr/bin/env bash
# chemparse 0.3.2: a formula is read up to the first character that the package does not know, and from there no further, without
# an error. That character may be the centred dot of a hydrate, a subscript, or a number in front. Seen: Na2SO4·10H2O is
# Na2SO4, H₂O is one H, and 2H2O is nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet chemparse==0.3.2
cat > "$work/seen.py" <<'PY'
from chemparse import parse_formula

for formula in ("Na2SO4(H2O)10", "Na2SO4·10H2O", "H2O", "H₂O", "2H2O"):
    print(formula, dict(sorted(parse_formula(formula).items())))
PY
cd "$work"
PYTHONIOENCODING=utf-8 "$work/env/bin/python" -W error "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
Na2SO4(H2O)10 {'H': 20.0, 'Na': 2.0, 'O': 14.0, 'S': 1.0}
Na2SO4·10H2O {'Na': 2.0, 'O': 4.0, 'S': 1.0}
H2O {'H': 2.0, 'O': 1.0}
H₂O {'H': 1.0}
2H2O {}
OUT
