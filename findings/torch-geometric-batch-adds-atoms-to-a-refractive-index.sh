#!/usr/bin/env bash
# torch-geometric 2.8.1: `Batch.from_data_list` adds the number of nodes before it to every attribute that has "index" in
# its name, as edges need it: also to numbers with a fraction. A label called `refractive_index` is wrong in every batch
# from the second crystal on, by as much as there are atoms before it. Seen: 1.5, 2.4 and 1.7 of crystals of 2, 8 and 5 atoms
# come as 1.5, 4.4 and 11.7; called `n` they come as they are. `to_data_list` takes it off again, so that no round trip shows it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch-geometric==2.8.1 torch==2.13.0
cat > "$work/seen.py" <<'PY'
import torch
from torch_geometric.data import Batch, Data

values = {2: 1.5, 8: 2.4, 5: 1.7}
for name in ("refractive_index", "n"):
    crystals = [Data(x=torch.zeros(atoms, 1), **{name: torch.tensor([value])}) for atoms, value in values.items()]
    batch = Batch.from_data_list(crystals)
    print(name, [round(value, 2) for value in batch[name].tolist()])
    print("back", [round(each[name].item(), 2) for each in batch.to_data_list()])
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
refractive_index [1.5, 4.4, 11.7]
back [1.5, 2.4, 1.7]
n [1.5, 2.4, 1.7]
back [1.5, 2.4, 1.7]
OUT
