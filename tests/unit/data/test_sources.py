"""Every kind of input gives the same crystals."""

import bz2
import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry

from tlzoo.crystals import Crystals
from tlzoo.data.sources import parse, read, read_all

NAMES = ["nacl", "si", "cscl"]
GAPS = [8.5, 1.12, 8.3]


@pytest.fixture(scope="module")
def structures():
    return [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]]),
        Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    ]


def write_folder(folder: Path, structures, endings=("cif", "vasp", "json")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    formats = {"cif": "cif", "vasp": "poscar", "json": "json"}
    for name, structure, ending in zip(NAMES, structures, endings, strict=True):
        structure.to(str(folder / f"{name}.{ending}"), fmt=formats[ending])
    return folder


def same(crystals: Crystals, structures, *, atol: float = 1e-6) -> None:
    """Same cells and the same atoms, in whatever order a format keeps them."""
    assert len(crystals) == len(structures)
    for row, structure in enumerate(structures):
        found = crystals.structure(row)
        np.testing.assert_allclose(np.abs(found.lattice.matrix), np.abs(structure.lattice.matrix), atol=atol)
        assert found.composition == structure.composition
        key = [(s.specie.Z, *np.round(s.frac_coords % 1, 4) % 1) for s in structure]
        assert sorted((s.specie.Z, *np.round(s.frac_coords % 1, 4) % 1) for s in found) == sorted(key)


def test_folder_alone(tmp_path, structures):
    crystals = read(write_folder(tmp_path, structures))
    assert crystals.ids.tolist() == ["cscl", "nacl", "si"]
    assert crystals.columns == {}
    assert crystals.origin(0) == f"{tmp_path}/cscl.json"
    same(crystals, [structures[2], structures[0], structures[1]])


def test_names_with_numbers_are_sorted_as_people_do(tmp_path, structures):
    for name in ("10", "9", "1"):
        structures[2].to(str(tmp_path / f"{name}.cif"))
    assert read(tmp_path).ids.tolist() == ["1", "9", "10"]


def test_folder_with_csv_keeps_the_order_of_the_csv(tmp_path, structures):
    write_folder(tmp_path, structures)
    (tmp_path / "labels.csv").write_text("gap,material,note\n1.12,si,a\n8.5,nacl.cif,\n,cscl,b\n")
    crystals = read(tmp_path, targets=["gap"], units={"gap": "eV"})
    assert crystals.ids.tolist() == ["si", "nacl", "cscl"]
    np.testing.assert_array_equal(crystals.columns["gap"], [1.12, 8.5, np.nan])
    assert crystals.columns["note"].tolist() == ["a", None, "b"]
    assert crystals.units == {"gap": "eV"}
    same(crystals, [structures[1], structures[0], structures[2]])


@pytest.mark.parametrize("ask_for_file", [False, True])
def test_id_prop_without_header(tmp_path, structures, ask_for_file):
    folder = write_folder(tmp_path / "cgcnn", structures)
    (folder / "atom_init.json").write_text('{"1": [0, 1]}')
    (folder / "id_prop.csv").write_text("".join(f"{n},{g}\n" for n, g in zip(NAMES, GAPS, strict=True)))
    crystals, problems = read_all(folder / "id_prop.csv" if ask_for_file else folder, targets=["target"])
    assert crystals.ids.tolist() == NAMES
    assert crystals.columns["target"].tolist() == GAPS
    assert [p.message for p in problems] == ["1 other file(s) were not read: atom_init.json"]
    assert problems[0].severity == "note"


def test_id_prop_with_a_header(tmp_path, structures):
    write_folder(tmp_path, structures)
    (tmp_path / "id_prop.csv").write_text("name,gap\nsi,1\nnacl,4\ncscl,7\n")
    assert read(tmp_path, targets=None, id_column="name").columns["gap"].tolist() == [1, 4, 7]


def test_id_prop_with_several_targets(tmp_path, structures):
    write_folder(tmp_path, structures)
    (tmp_path / "id_prop.csv").write_text("si,1,2,3\nnacl,4,5,6\ncscl,7,8,9\n")
    assert list(read(tmp_path, targets=None).columns) == ["target", "target_2", "target_3"]


@pytest.mark.parametrize("inside", ["", "data/"])
def test_zip(tmp_path, structures, inside):
    folder = write_folder(tmp_path / "plain", structures)
    (folder / "id_prop.csv").write_text("si,1.12\nnacl,8.5\ncscl,8.3\n")
    archive = tmp_path / "crystals.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.iterdir():
            file.write(path, inside + path.name)
        file.writestr("__MACOSX/._si.vasp", "resource fork")
    crystals = read(archive, targets=["target"])
    assert crystals.columns["target"].tolist() == [1.12, 8.5, 8.3]
    assert crystals.origin(1) == f"{archive}/nacl.cif"
    same(crystals, [structures[1], structures[0], structures[2]])


def test_vasp_runs_in_sub_folders(tmp_path, structures):
    for name, structure in zip(NAMES, structures, strict=True):
        (tmp_path / "runs" / name).mkdir(parents=True)
        structure.to(str(tmp_path / "runs" / name / "CONTCAR"), fmt="poscar")
    assert read(tmp_path).ids.tolist() == ["runs/cscl", "runs/nacl", "runs/si"]


@pytest.mark.parametrize("name", ["a.cif", "a.vasp", "POSCAR", "a.json"])
def test_single_file(tmp_path, structures, name):
    fmt = {"a.cif": "cif", "a.json": "json"}.get(name, "poscar")
    structures[0].to(str(tmp_path / name), fmt=fmt)
    crystals = read(tmp_path / name)
    assert crystals.ids.tolist() == [Path(name).stem]
    same(crystals, structures[:1])


def table_of(structures, column, cells):
    return pd.DataFrame({"material_id": NAMES, column: cells, "gap": GAPS, "kind": ["ionic", None, "ionic"]})


def check_table(crystals, structures):
    assert crystals.ids.tolist() == NAMES
    assert crystals.columns["gap"].tolist() == GAPS
    assert crystals.columns["kind"].tolist() == ["ionic", None, "ionic"]
    same(crystals, structures)


@pytest.mark.parametrize(
    ("ending", "separator"), [(".csv", ","), (".csv", ";"), (".tsv", "\t"), (".csv.gz", ",")]
)
def test_csv_of_cif_text(tmp_path, structures, ending, separator):
    path = tmp_path / f"table{ending}"
    table_of(structures, "cif", [s.to(fmt="cif") for s in structures]).to_csv(
        path, index=False, sep=separator
    )
    check_table(read(path, targets=["gap"]), structures)


def test_csv_names_the_line_where_a_row_begins(tmp_path, structures):
    path = tmp_path / "table.csv"
    cifs = [s.to(fmt="cif") for s in structures]
    table_of(structures, "cif", cifs).to_csv(path, index=False)
    assert read(path).origin(1) == f"{path}, line {1 + 1 + cifs[0].count(chr(10)) + 1}"


@pytest.mark.parametrize("column", ["Path", "where"])
def test_csv_of_paths(tmp_path, structures, column):
    write_folder(tmp_path / "cells", structures)
    files = ["cells/nacl.cif", "cells/si.vasp", "cells/cscl.json"]
    table_of(structures, column, files).to_csv(tmp_path / "table.csv", index=False)
    check_table(read(tmp_path / "table.csv"), structures)


def test_csv_without_ids_takes_file_names(tmp_path, structures):
    write_folder(tmp_path / "cells", structures)
    (tmp_path / "table.csv").write_text("file,gap\ncells/si.vasp,1\ncells/nacl.cif,2\n")
    assert read(tmp_path / "table.csv").ids.tolist() == ["si", "nacl"]


def test_columns_by_name(tmp_path, structures):
    write_folder(tmp_path, structures)
    (tmp_path / "table.csv").write_text("id,file,relaxed,code\n1,x,si.vasp,a\n2,y,nacl.cif,b\n")
    (tmp_path / "table.csv").rename(tmp_path / "table.tsv")
    text = (tmp_path / "table.tsv").read_text().replace(",", "\t")
    (tmp_path / "table.tsv").write_text(text)
    crystals = read(tmp_path / "table.tsv", id_column="code", structure_column="relaxed")
    assert crystals.ids.tolist() == ["a", "b"]
    assert crystals.columns["file"].tolist() == ["x", "y"]


def test_columnar_parquet(tmp_path, structures):
    Crystals.from_structures(structures, ids=NAMES, columns={"gap": GAPS}, units={"gap": "eV"}).write_parquet(
        tmp_path / "a.parquet"
    )
    crystals = read(tmp_path / "a.parquet", targets=["gap"])
    assert crystals.units == {"gap": "eV"}
    assert crystals.columns["gap"].tolist() == GAPS
    assert crystals.origin(2) == f"{tmp_path}/a.parquet, row 3"
    same(crystals, structures)


@pytest.mark.parametrize("cell", ["cif", "json"])
def test_parquet_of_text(tmp_path, structures, cell):
    table_of(structures, "structure", [s.to(fmt=cell) for s in structures]).to_parquet(tmp_path / "a.parquet")
    check_table(read(tmp_path / "a.parquet"), structures)


def test_json_records(tmp_path, structures):
    rows = [
        {"id": n, "structure": s.as_dict(), "gap": g, "kind": k}
        for n, s, g, k in zip(NAMES, structures, GAPS, ["ionic", None, "ionic"], strict=True)
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, rows)))
    for name in ("a.json", "a.jsonl", "a.jsonl.gz"):
        check_table(read(tmp_path / name, targets=["gap"]), structures)


@pytest.mark.parametrize("orient", ["split", "columns", "index", "records"])
def test_json_of_pandas(tmp_path, structures, orient):
    table = pd.DataFrame({"structure": [s.as_dict() for s in structures], "gap": GAPS}, index=NAMES)
    if orient == "records":
        table = table.reset_index(names="id")
    content = {o: table.to_dict(orient=o) for o in ("split", "index", "records")}
    content["columns"] = table.to_dict()
    (tmp_path / "a.json").write_text(json.dumps(content[orient]))
    crystals = read(tmp_path / "a.json")
    assert crystals.ids.tolist() == NAMES
    assert crystals.columns["gap"].tolist() == GAPS
    same(crystals, structures)


def test_json_of_jarvis(tmp_path, structures):
    rows = [
        {
            "jid": name,
            "atoms": {
                "lattice_mat": s.lattice.matrix.tolist(),
                "coords": s.cart_coords.tolist(),
                "elements": [str(e) + " " for e in s.species],
                "cartesian": True,
            },
        }
        for name, s in zip(NAMES, structures, strict=True)
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    crystals = read(tmp_path / "a.json")
    assert crystals.ids.tolist() == NAMES
    same(crystals, structures)


def ase_atoms(structures):
    from pymatgen.io.ase import AseAtomsAdaptor

    return [AseAtomsAdaptor.get_atoms(s, msonable=False) for s in structures]


def test_extxyz(tmp_path, structures):
    from ase.io import write

    frames = ase_atoms(structures)
    for atoms, name, gap in zip(frames, NAMES, GAPS, strict=True):
        atoms.info = {"name": name, "gap": gap}
    write(tmp_path / "a.extxyz", frames)
    crystals = read(tmp_path / "a.extxyz", targets=["gap"])
    assert crystals.ids.tolist() == NAMES
    assert crystals.columns["gap"].tolist() == GAPS
    assert crystals.origin(1) == f"{tmp_path}/a.extxyz, frame 2"
    same(crystals, structures)


@pytest.mark.parametrize("ending", ["db", "json"])
def test_ase_database(tmp_path, structures, ending):
    from ase.db import connect

    path = tmp_path / f"a.{ending}"
    with connect(path) as database:
        for atoms, name, gap in zip(ase_atoms(structures), NAMES, GAPS, strict=True):
            database.write(atoms, name=name, gap=gap)
    crystals = read(path, targets=["gap"])
    assert crystals.ids.tolist() == NAMES
    assert crystals.columns["gap"].tolist() == GAPS
    same(crystals, structures)


@pytest.mark.parametrize("packed", [False, True])
def test_entries_of_pymatgen(tmp_path, structures, packed):
    """As the files of Alexandria have them, packed by bzip2."""
    entries = [
        {**ComputedStructureEntry(s, -1.0).as_dict(), "data": {"mat_id": name, "gap": gap}}
        for s, name, gap in zip(structures, NAMES, GAPS, strict=True)
    ]
    content = json.dumps({"entries": entries} if packed else entries).encode()
    path = tmp_path / f"a.json{'.bz2' if packed else ''}"
    path.write_bytes(bz2.compress(content) if packed else content)
    crystals = read(path, targets=["gap"])
    assert crystals.ids.tolist() == NAMES
    assert crystals.columns["gap"].tolist() == GAPS
    same(crystals, structures)


def test_xsf(tmp_path, structures):
    """XCrySDen, as ase and pymatgen write it."""
    from ase.io import write

    write(tmp_path / "nacl.xsf", ase_atoms(structures)[0])
    (tmp_path / "si.xsf").write_text(f"# a comment\n\n{structures[1].to(fmt='xsf')}")
    same(read(tmp_path), structures[:2])
    path = tmp_path / "several.xsf"
    write(path, ase_atoms(structures)[::2])
    assert "holds 2 structures; one a file is wanted" in read_all(path)[1][0].message
    path.write_text((tmp_path / "nacl.xsf").read_text().replace("CRYSTAL", "SLAB"))
    assert read_all(path)[1][0].message.startswith("is periodic in a and b only")


def test_symmetry_of_a_cif_is_applied(tmp_path, structures):
    sides = "".join(f"_cell_length_{axis} 5.64(2)\n" for axis in "abc")
    angles = "".join(f"_cell_angle_{angle} 90\n" for angle in ("alpha", "beta", "gamma"))
    (tmp_path / "a.cif").write_text(
        f"data_nacl\n{sides}{angles}_symmetry_space_group_name_H-M 'F m -3 m'\n"
        "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        "Na1 0 0 0\nCl1 0.5 0.5 0.5\n"
    )
    crystals, problems = read_all(tmp_path / "a.cif")
    same(crystals, structures[:1])
    assert problems == []


def test_many_files_are_parsed_in_worker_processes(tmp_path, structures, monkeypatch):
    monkeypatch.setattr(parse, "PARALLEL_FROM", 3)
    monkeypatch.setattr(parse, "CHUNK", 2)
    (tmp_path / "bad.cif").write_text("data_\n_cell_length_a 3\n")
    sources = [
        write_folder(tmp_path, structures) / "nacl.cif",
        structures[1].to(fmt="poscar"),
        tmp_path / "bad.cif",
    ]
    alone = [parse.parse(source) for source in sources]
    apart = parse.parse_all(sources, workers=2)
    for one, other in zip(alone, apart, strict=True):
        assert one[1:] == other[1:]
        if one.sites is not None:
            assert all(np.array_equal(a, b) for a, b in zip(one.sites, other.sites, strict=True))
    assert [result.sites is None for result in apart] == [False, False, True]


def test_matminer_file_equals_the_columnar_one(data_dir):
    genuine = read(data_dir / "matminer" / "matbench_phonons.json.gz", targets=["last phdos peak"])
    columnar = read(data_dir / "phonons.parquet", targets=["last_phdos_peak"])
    place = {name: row for row, name in enumerate(genuine.ids)}
    genuine = genuine.select([place[name] for name in columnar.ids])
    assert len(genuine) == 1265
    np.testing.assert_array_equal(genuine.numbers, columnar.numbers)
    np.testing.assert_allclose(genuine.lattice, columnar.lattice)
    np.testing.assert_allclose(genuine.frac_coords, columnar.frac_coords, atol=1e-7)
    np.testing.assert_allclose(
        genuine.columns["last phdos peak"], columnar.columns["last_phdos_peak"], atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "crystals", "target", "unit"),
    [
        ("phonons", 1265, "last_phdos_peak", "1/cm"),
        ("dielectric", 1056, "poly_total", "1"),
        ("jarvis_2d", 1103, "band_gap_optb88", "eV"),
        ("piezoelectric", 941, "eij_max", "C/m^2"),
    ],
)
def test_real_columnar_files(data_dir, name, crystals, target, unit):
    found = read(data_dir / f"{name}.parquet", targets=[target])
    assert len(found) == crystals
    assert found.units[target] == unit
    assert np.isfinite(found.columns[target]).all()
