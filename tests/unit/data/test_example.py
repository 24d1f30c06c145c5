"""The embedded example: what can be checked without data, and against measured gaps and computed volumes."""

import re
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from ase.data import covalent_radii
from numpy.typing import NDArray
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from maintenance import example as build
from maintenance.prototypes import PROTOTYPES
from tlzoo.crystals import Crystals
from tlzoo.data import named

# pymatgen does not yet catch the exceptions of spglib 2.7
OLD_SPGLIB = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")


@pytest.fixture(scope="module")
def example() -> Crystals:
    return named.load("semiconductors")


@pytest.fixture(scope="module")
def structures(example: Crystals) -> list[Structure]:
    return [example.structure(row) for row in range(len(example))]


@pytest.fixture(scope="module")
def groups() -> dict[str, str]:
    return {name: prototype.space_group for name, prototype in PROTOTYPES.items()}


def volume_per_atom(crystals: Crystals) -> NDArray[np.float64]:
    volume: NDArray[np.float64] = np.abs(np.linalg.det(crystals.lattice)) / crystals.num_atoms
    return volume


def test_is_there_without_data_or_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TLZOO_DATA", raising=False)
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "none"))
    start = time.process_time()
    crystals = named.load("semiconductors")
    assert time.process_time() - start < 1.5
    assert len(crystals) == named.DATASETS["semiconductors"].crystals


def test_is_large_and_varied(example: Crystals) -> None:
    assert len(example) >= 150
    types = Counter(example.column("structure_type"))
    assert len(types) >= 12
    assert set(types) == set(PROTOTYPES), "a structure type without a crystal, or the other way round"
    wanted = "diamond zincblende wurtzite rocksalt caesium-chloride fluorite antifluorite rutile perovskite"
    assert set(f"{wanted} chalcopyrite corundum cadmium-iodide molybdenite".split()) <= set(types)
    assert len(set(example.ids)) == len(example)
    assert "GaAs-zincblende" in example.ids


def test_columns_have_values_units_and_handbooks(example: Crystals) -> None:
    gaps = example.column("band_gap")
    assert ((gaps > 0) & (gaps < 15)).all()
    assert dict(example.units) == {"band_gap": "eV"}
    assert set(example.column("handbook")) == set(build.HANDBOOKS.values())
    silicon = list(example.ids).index("Si-diamond")
    assert gaps[silicon] == pytest.approx(1.12)


def test_composition_is_the_formula(example: Crystals, structures: list[Structure]) -> None:
    for name, structure in zip(example.ids, structures, strict=True):
        formula = name.split("-")[0]
        assert structure.composition.reduced_formula == Composition(formula).reduced_formula, name


@OLD_SPGLIB
def test_cells_are_primitive_and_have_the_symmetry_of_the_type(
    example: Crystals, structures: list[Structure], groups: dict[str, str]
) -> None:
    for row, structure in enumerate(structures):
        analyzer = SpacegroupAnalyzer(structure, symprec=1e-3)
        found = analyzer.get_space_group_symbol()
        assert found == groups[example.column("structure_type")[row]], example.ids[row]
        primitive = set(analyzer.get_symmetry_dataset().mapping_to_primitive)
        assert len(primitive) == len(structure), example.ids[row]


def test_neighbours_are_at_bonding_distance(example: Crystals, structures: list[Structure]) -> None:
    for name, structure in zip(example.ids, structures, strict=True):
        centre, neighbour, _, distance = structure.get_neighbor_list(4.2)
        numbers = np.array(structure.atomic_numbers)
        relative = distance / (covalent_radii[numbers[centre]] + covalent_radii[numbers[neighbour]])
        assert 0.7 < relative.min() < 1.35, name


def test_kept_file_is_of_this_table() -> None:
    note = pq.read_schema(build.BUILT).metadata[b"tlzoo"].decode()
    assert build.table_hash() in note, "rebuild with: python -m maintenance.example"


def test_a_crystal_by_hand(example: Crystals) -> None:
    row = list(example.ids).index("ZnS-wurtzite")
    by_hand = Structure(
        Lattice.hexagonal(3.8227, 6.2607),
        ["Zn", "Zn", "S", "S"],
        [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.3748], [2 / 3, 1 / 3, 0.8748]],
    )
    assert example.structure(row).matches(by_hand, scale=False, primitive_cell=False)


@pytest.mark.slow
def test_kept_file_is_what_is_built(example: Crystals) -> None:
    built = build.build()
    assert built.content_hash == example.content_hash
    assert list(built.ids) == list(example.ids)
    np.testing.assert_array_equal(built.column("band_gap"), example.column("band_gap"))


def test_a_table_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, example: Crystals) -> None:
    table = tmp_path / "two.csv"
    lines = build.TABLE.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if re.match(r"formula|TiO2,rutile|Te,selenium", line)]
    table.write_text("\n".join(kept), encoding="utf-8")
    monkeypatch.setattr(build, "TABLE", table)
    crystals = build.build()
    assert len(crystals) == 2
    shipped = example.select([list(example.ids).index(name) for name in crystals.ids])
    for name in ("offsets", "numbers", "frac_coords"):
        np.testing.assert_array_equal(getattr(crystals, name), getattr(shipped, name))
    # the last digit of a cosine depends on the processor
    np.testing.assert_allclose(crystals.lattice, shipped.lattice, rtol=0, atol=1e-14)


def test_gaps_agree_with_measured_ones(data_dir: Path, example: Crystals) -> None:
    """Within 0.3 eV for 90 % of the crystals whose formula is in expt_gap (the nearest value of several).

    Those that do not agree are known: AlAs is 0 there; GaP, AgCl, Mg2Si, Mg2Ge and Cu2O have another kind of
    gap. Compounds whose gap depends on its definition were left out of the table after this comparison: it
    shows agreement of what was kept, not the quality of a first guess.
    """
    measured = Crystals.read_parquet(data_dir / "expt_gap.parquet")
    gaps = defaultdict(list)
    for formula, gap in zip(measured.formulas, measured.column("expt_gap"), strict=True):
        gaps[formula].append(gap)
    ours = zip(example.formulas, example.column("band_gap"), strict=True)
    errors = np.array(
        [np.abs(np.array(gaps[formula]) - gap).min() for formula, gap in ours if formula in gaps]
    )
    assert len(errors) >= 60
    assert (errors <= 0.3).mean() >= 0.9


@OLD_SPGLIB
def test_volumes_agree_with_computed_ones(data_dir: Path, example: Crystals, groups: dict[str, str]) -> None:
    """Within 8 % for 95 % of the crystals whose formula and space group are in mp (the nearest of several).

    PBE expands van der Waals gaps by up to 25 %, so that layered crystals cannot be checked this way; most
    were left out of the table for it. Cells of mp are primitive, as ours.
    """
    computed = Crystals.read_parquet(data_dir / "mp.parquet")
    rows = defaultdict(list)
    for row, formula in enumerate(computed.formulas):
        rows[formula].append(row)
    ours, theirs, errors = volume_per_atom(example), volume_per_atom(computed), []
    for row, formula in enumerate(example.formulas):
        wanted = groups[example.column("structure_type")[row]]
        alike = [other for other in rows[formula] if computed.num_atoms[other] == example.num_atoms[row]]
        same = [other for other in alike if space_group(computed.structure(other)) == wanted]
        if same:
            errors.append(np.abs(theirs[same] / ours[row] - 1).min())
    assert len(errors) >= 190
    assert (np.array(errors) <= 0.08).mean() >= 0.95


def space_group(structure: Structure) -> str:
    return str(SpacegroupAnalyzer(structure, symprec=0.1).get_space_group_symbol())
