#!/usr/bin/env bash
# skops 0.16.0: a `deque` is saved and loaded without complaint, and comes back empty, without its
# `maxlen`; lists, sets and dicts come back whole, and what cannot be saved is an error. A dict that has both keys 1 and "1"
# comes back with one of them. Seen: deque([1, 2, 3]) is deque([]).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet skops==0.16.0
cat > "$work/seen.py" <<'PY'
from collections import deque

import skops.io

for value in (deque([1, 2, 3], maxlen=3), [1, 2, 3], {1, 2}, {1: "a", "1": "b"}):
    data = skops.io.dumps(value)
    print(value, "->", skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data)))
PY
cd "$work"
"$work/env/bin/python" -W error "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
deque([1, 2, 3], maxlen=3) -> deque([])
[1, 2, 3] -> [1, 2, 3]
{1, 2} -> {1, 2}
{1: 'a', '1': 'b'} -> {1: 'b'}
OUT
