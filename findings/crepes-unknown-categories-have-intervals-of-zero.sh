#!/usr/bin/env bash
# crepes 0.9.1: Mondrian regressors have intervals of their own for each category of the calibration set, such as the crystal systems. For
# a category that is not among them the interval is [0, 0], whatever was predicted, without a warning. (One that is, but with
# too few members, has an infinite interval and a warning.) `evaluate` counts it as an interval of width 0. Seen: 3 eV predicted
# for a cubic crystal is 1.2 to 4.8 eV, for a trigonal one, after calibration with cubic and hexagonal ones, 0 to 0 eV.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet crepes==0.9.1 scikit-learn==1.9.1 numpy==2.4.6
cat > "$work/seen.py" <<'PY'
import warnings

import numpy as np
from crepes import ConformalRegressor

errors = np.tile(np.linspace(-2, 2, 100), 2)
regressor = ConformalRegressor().fit(errors, bins=np.repeat(["cubic", "hexagonal"], 100))
systems = np.array(["cubic", "hexagonal", "trigonal"])
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    intervals = regressor.predict_int(np.full(3, 3.0), bins=systems, confidence=0.9)
print(dict(zip(systems.tolist(), intervals.round(1).tolist())), "warnings:", len(said))
PY
cd "$work"
"$work/env/bin/python" "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
{'cubic': [1.2, 4.8], 'hexagonal': [1.2, 4.8], 'trigonal': [0.0, 0.0]} warnings: 0
OUT
