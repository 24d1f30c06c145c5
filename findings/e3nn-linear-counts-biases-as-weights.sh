#!/usr/bin/env bash
# e3nn 0.6.0: `o3.Linear.weight_views()` of a layer with biases raises a RuntimeError, for it takes the biases
# for weights and reads beyond the end. Without biases it yields the block of each path. Seen: shapes (2, 3)
# and (1, 2) without, an error with them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet e3nn==0.6.0 torch==2.13.0
cat > "$work/seen.py" <<'PY'
from e3nn import o3

for biases in (False, True):
    linear = o3.Linear("2x0e+1x1o", "3x0e+2x1o", biases=biases)
    try:
        views = list(linear.weight_views())
    except RuntimeError as error:
        print(biases, f"RuntimeError: {error}")
    else:
        print(biases, [tuple(view.shape) for view in views])
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
False [(2, 3), (1, 2)]
True RuntimeError: start (8) + length (3) exceeds dimension size (8).
OUT
