#!/usr/bin/env bash
# uncertainty-toolbox 0.1.1: `optimize_recalibration_ratio` finds the number to multiply standard deviations by, so that they fit the
# errors. It searches between 0 and 100 for a minimum, and far from it nothing changes with the number. Of deviations that are
# eight times too large or more, the answer is 100 instead of an eighth: they become worse by two orders, and nothing
# warns. Seen: for deviations 5 times too large 0.20, 8 times 100, by all three criteria.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet uncertainty-toolbox==0.1.1
cat > "$work/seen.py" <<'PY'
import numpy as np
from uncertainty_toolbox.recalibration import optimize_recalibration_ratio

generator = np.random.default_rng(0)
deviations = generator.uniform(0.5, 1.5, 1000)
errors = generator.normal(size=1000) * deviations
for times in (2, 5, 8, 20):
    found = [
        optimize_recalibration_ratio(np.zeros(1000), deviations * times, errors, criterion=criterion)
        for criterion in ("ma_cal", "rms_cal", "miscal")
    ]
    print(times, "times too large:", *(f"{ratio:.1f}" for ratio in found))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
2 times too large: 0.5 0.5 0.5
5 times too large: 0.2 0.2 0.2
8 times too large: 100.0 100.0 100.0
20 times too large: 100.0 100.0 100.0
OUT
