#!/usr/bin/env bash
# pymatgen 2026.10.24: `Structure.copy(properties={…})` puts the properties into the structure that is copied, too:
# both share one dict. `copy(properties={})` makes no copy without properties, it keeps all. Of what makes one structure
# of another, `copy`, `get_primitive_structure` and `get_sorted_structure` keep the properties, `get_reduced_structure` and a
# supercell by `*` drop them. Two structures that differ in properties alone are not equal. Seen: a gap that was given
# to the copy alone is in the original.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pymatgen==2026.10.24
cat > "$work/seen.py" <<'PY'
from pymatgen.core import Lattice, Structure


def oxide(**properties):
    return Structure(Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]], properties=properties)


original = oxide(source="paper")
copy = original.copy(properties={"gap": 7.8})
print("copy", copy.properties)
print("original", original.properties)
print("one dict", copy.properties is original.properties)
print("copy(properties={})", oxide(source="paper").copy(properties={}).properties)
for name, made in {
    "copy": original.copy(),
    "primitive": original.get_primitive_structure(),
    "reduced": original.get_reduced_structure(),
    "sorted": original.get_sorted_structure(),
    "supercell": original * [2, 1, 1],
}.items():
    print(name, made.properties)
print("equal", oxide(gap=7.8) == oxide())
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
copy {'source': 'paper', 'gap': 7.8}
original {'source': 'paper', 'gap': 7.8}
one dict True
copy(properties={}) {'source': 'paper'}
copy {'source': 'paper', 'gap': 7.8}
primitive {'source': 'paper', 'gap': 7.8}
reduced {}
sorted {'source': 'paper', 'gap': 7.8}
supercell {}
equal False
OUT
