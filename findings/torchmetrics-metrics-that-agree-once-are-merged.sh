#!/usr/bin/env bash
# torchmetrics 1.9.0: a `MetricCollection` lets metrics that count the same share one state. Which these are it sees by the
# numbers of the first batch, not by the settings: two metrics that happen to agree there are one for ever, and all later
# batches count for the first alone. Seen: accuracy above thresholds of 0.5 and 0.8, equal in the first batch and not in the
# second, is 1.0 twice; alone, and with `compute_groups=False`, the second is 0.75. With the batches exchanged it is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torchmetrics==1.9.0 torch==2.13.0
cat > "$work/seen.py" <<'PY'
import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAccuracy

truth = torch.tensor([0, 1, 1, 0])
clear, unclear = torch.tensor([0.1, 0.9, 0.95, 0.2]), torch.tensor([0.1, 0.6, 0.6, 0.2])


def measured(metric, *batches):
    for batch in batches:
        metric.update(batch, truth)
    return metric.compute()


def both(**options):
    return MetricCollection({"mild": BinaryAccuracy(threshold=0.5), "strict": BinaryAccuracy(threshold=0.8)}, **options)


for name, found in {
    "together": measured(both(), clear, unclear),
    "in the other order": measured(both(), unclear, clear),
    "without groups": measured(both(compute_groups=False), clear, unclear),
    "strict alone": {"strict": measured(BinaryAccuracy(threshold=0.8), clear, unclear)},
}.items():
    print(name, {key: value.item() for key, value in found.items()})
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
together {'mild': 1.0, 'strict': 1.0}
in the other order {'mild': 1.0, 'strict': 0.75}
without groups {'mild': 1.0, 'strict': 0.75}
strict alone {'strict': 0.75}
OUT
