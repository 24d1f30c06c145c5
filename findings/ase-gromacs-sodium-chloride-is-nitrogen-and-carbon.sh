#!/usr/bin/env bash
# ase 3.29.0: files of GROMACS (.gro) name ions in capitals, as its force fields do: NA, CL, MG, ZN. ASE takes a name for an element
# only if it is spelt as one, and otherwise its first letter, if that is one, and then its last, without a warning. Seen: rock
# salt of NA and CL is nitrogen and carbon; zinc is nitrogen, and MG, of which no letter is an element, is X.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet ase==3.29.0
cat > "$work/seen.py" <<'PY'
import ase.io

for names in (("Na", "Cl"), ("NA", "CL"), ("ZN", "MG")):
    lines = ["a salt", "2"]
    for row, (name, place) in enumerate(zip(names, (0.0, 0.282), strict=True), start=1):
        lines.append(f"{row:5d}{name:<5}{name:>5}{row:5d}{place:8.3f}{0:8.3f}{0:8.3f}")
    lines.append(f"{0.564:10.5f}{0.564:10.5f}{0.564:10.5f}")
    with open("salt.gro", "w") as file:
        file.write("\n".join(lines) + "\n")
    print(*names, "->", *ase.io.read("salt.gro").get_chemical_symbols())
PY
cd "$work"
"$work/env/bin/python" -W error "$work/seen.py" | tee "$work/out"
diff "$work/out" - <<'OUT'
Na Cl -> Na Cl
NA CL -> N C
ZN MG -> N X
OUT
