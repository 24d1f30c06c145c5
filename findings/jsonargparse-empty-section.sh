#!/usr/bin/env bash
# jsonargparse 4.53.0: `parse_object` refuses a key it does not know, unless the value is an empty mapping: a
# misspelt section with nothing in it passes in silence. Seen: {"trainre": {}} is accepted, with a key in it, or
# None, it is refused.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet 'jsonargparse[signatures]==4.53.0'
cat > "$work/seen.py" <<'PY'
from jsonargparse import ArgumentParser

parser = ArgumentParser(exit_on_error=False)
parser.add_argument("--trainer.epochs", type=int, default=1)
for tree in ({"trainre": {}}, {"trainre": {"epochs": 2}}, {"trainre": None}):
    try:
        parser.parse_object(tree)
        print(tree, "accepted")
    except Exception as error:
        print(tree, "refused:", error)
PY
"$work/env/bin/python" "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
{'trainre': {}} accepted
{'trainre': {'epochs': 2}} refused: Option 'trainre.epochs' is not accepted
{'trainre': None} refused: Option 'trainre' is not accepted
OUT
