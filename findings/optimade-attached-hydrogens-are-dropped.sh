#!/usr/bin/env bash
# optimade 1.5.0: a species of an OPTIMADE structure may have atoms attached that have no site of their own; methyl, CH3, is
# the example of the specification. All adapters, to pymatgen, ASE, jarvis and CIF, drop the attached atoms without a
# warning, though what they cannot carry else (a partial occupancy in ASE) is an error. Seen: a crystal whose formula is CH3F
# is CF in all of them; jarvis takes the name of the species, CH3, for an element.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet optimade==1.5.0 ase==3.29.0 pymatgen==2026.10.24 jarvis-tools==2026.6.12
cat > "$work/seen.py" <<'PY'
from optimade.adapters import Structure

attributes = {
    "elements": ["C", "F", "H"],
    "nelements": 3,
    "elements_ratios": [0.2, 0.2, 0.6],
    "chemical_formula_descriptive": "CH3F",
    "chemical_formula_reduced": "CFH3",
    "chemical_formula_anonymous": "A3BC",
    "dimension_types": [1, 1, 1],
    "nperiodic_dimensions": 3,
    "lattice_vectors": [[4, 0, 0], [0, 4, 0], [0, 0, 4]],
    "cartesian_site_positions": [[0, 0, 0], [1.4, 0, 0]],
    "nsites": 2,
    "species_at_sites": ["CH3", "F"],
    "species": [
        {"name": "CH3", "chemical_symbols": ["C"], "concentration": [1.0], "attached": ["H"], "nattached": [3]},
        {"name": "F", "chemical_symbols": ["F"], "concentration": [1.0]},
    ],
    "structure_features": ["site_attachments"],
    "last_modified": "2020-01-01T00:00:00Z",
}
structure = Structure({"id": "1", "type": "structures", "attributes": attributes})
print("formula", attributes["chemical_formula_reduced"])
print("pymatgen", structure.as_pymatgen.formula)
print("ase", structure.as_ase.get_chemical_formula())
print("jarvis", structure.as_jarvis.elements)
print("cif", sorted({word for line in structure.as_cif.splitlines() for word in line.split() if word in {"C", "F", "H"}}))
PY
cd "$work"
"$work/env/bin/python" -W ignore "$work/seen.py" 2>&1 | tee "$work/out"
diff "$work/out" - <<'OUT'
formula CFH3
pymatgen C1 F1
ase CF
jarvis ['CH3', 'F']
cif ['C', 'F']
OUT
