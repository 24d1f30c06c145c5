#!/usr/bin/env bash
# vesin 0.6.2: `import vesin` imports torch wherever torch is installed, also for lists of neighbours from numpy
# arrays, which need none. A program that only looks at crystals then takes over a second longer to start and
# some 200 MB more. Seen: "torch imported: True"; a list of the neighbours of a simple cubic cell, 6 pairs, is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet vesin==0.6.2 numpy==2.4.6 torch==2.13.0
cat > "$work/seen.py" <<'PY'
import sys

import numpy as np
from vesin import NeighborList

print("torch imported:", "torch" in sys.modules)
pairs = NeighborList(cutoff=1.1, full_list=True).compute(
    points=np.zeros((1, 3)), box=np.eye(3), periodic=True, quantities="ij"
)
print("pairs:", len(pairs[0]))
PY
"$work/env/bin/python" "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
torch imported: True
pairs: 6
OUT
