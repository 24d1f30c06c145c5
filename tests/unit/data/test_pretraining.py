"""The pre-training data: what is kept out, why, and that nothing of it comes back."""

import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from maintenance import exclusions as search
from maintenance.exclusions import HELD_OUT, HeldOut, alike
from tlzoo.crystals import Crystals
from tlzoo.data import named, pretraining
from tlzoo.data.fingerprints import NEAREST, fingerprint
from tlzoo.data.joined_table import joined
from tlzoo.data.perturbed import perturbed, to_perturb
from tlzoo.data.pretraining import exclusions
from tlzoo.data.pretraining import merged as tables_of
from tlzoo.data.splits import Pretraining
from tlzoo.data.splits.published import paper_lists
from tlzoo.errors import UserError

FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def salt(a=5.64, cation="Na", anion="Cl"):
    return Structure(Lattice.cubic(a), [cation] * 4 + [anion] * 4, np.concatenate([FCC, FCC + 0.5]))


def caesium_type(cation="Na", anion="Cl"):
    return Structure(Lattice.cubic(3.55), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def lonely():
    return Structure(Lattice.cubic(30), ["He"], [[0, 0, 0]])


def print_of(structure):
    return fingerprint(Crystals.from_structures([structure]), 0)


def is_alike(one, other):
    return bool(alike(print_of(one), print_of(other)[None])[0])


def test_a_fingerprint_is_the_mean_distance_to_the_kth_neighbour_of_each_element():
    structure = Structure(
        Lattice.from_parameters(3.1, 3.9, 5.2, 80, 95, 100),
        ["Ti", "O", "O"],
        [[0.1, 0, 0], [0.3, 0.4, 0.5], [0.7, 0.6, 0.2]],
    )
    scale = (structure.volume / 3) ** (1 / 3)
    images = [np.array(shift) for shift in itertools.product(range(-2, 3), repeat=3)]
    expected = np.zeros((2, 2, NEAREST))
    for (a, one), (b, other) in itertools.product(enumerate(["O", "Ti"]), repeat=2):
        centres = [site.frac_coords for site in structure if site.specie.symbol == one]
        around = [
            site.frac_coords + image for site in structure for image in images if site.specie.symbol == other
        ]
        for centre in centres:
            distances = np.sort(
                np.linalg.norm((np.array(around) - centre) @ structure.lattice.matrix, axis=1)
            )
            expected[a, b] += distances[distances > 1e-8][:NEAREST] / scale / len(centres)
    np.testing.assert_allclose(print_of(structure), expected, rtol=1e-6)


def test_one_crystal_in_other_cells_sizes_and_orders_has_one_fingerprint():
    moved = salt()
    moved.translate_sites(range(8), [0.1, 0.2, 0.3])
    shuffled = Structure.from_sites([salt()[i] for i in (5, 0, 7, 2, 1, 6, 3, 4)])
    for other in (salt().get_primitive_structure(), salt() * (2, 1, 1), moved, shuffled, salt(6.1)):
        np.testing.assert_allclose(print_of(other), print_of(salt()), atol=1e-5)


def test_small_distortions_are_alike_and_other_phases_are_not():
    assert is_alike(salt(), (salt() * (2, 1, 1)).perturb(0.08))
    assert not is_alike(salt(), caesium_type())
    stretched = Structure(Lattice.tetragonal(5.64, 7.5), salt().species, salt().frac_coords)
    assert not is_alike(salt(), stretched)


SETS = {
    "large": Crystals.from_structures(
        [
            salt() * (2, 1, 1),  # in the test set "small", as another cell
            caesium_type(),  # the same formula, another phase
            salt(4.2, "Mg", "O"),  # itself in a test set
            caesium_type("Mg", "O"),  # the same formula as a test set by formula
            salt(5.1, "Ca", "O"),
            lonely(),
        ],
        ids=["a", "b", "c", "d", "e", "f"],
        columns={"band_gap": [5.0, 4.0, 7.0, 6.0, 3.0, 9.0], "formation_energy": [np.nan] * 6},
    ),
    "small": Crystals.from_structures(
        [salt(), salt(5.1, "Ca", "O"), salt(6.6, "K", "Cl")],
        ids=["0", "1", "2"],
        columns={"formation_energy": [-1.0, -3.0, -2.0]},
    ),
    "gaps": Crystals.from_structures([salt(4.3, "Mg", "O")], ids=["x"]),
}
LISTS = {"large": {"test": ["c"]}, "small": {"test": ["0"]}}
TESTS = (
    HeldOut("large", "large", "large"),
    HeldOut("small", "small", "small"),
    HeldOut("all_small", "small", but="small"),
    HeldOut("gaps", "gaps", whole_formula=True),
)


def test_what_is_kept_out_and_why():
    found = search.find(SETS, ["large", "small"], held_out=TESTS, lists=LISTS)
    assert found.to_numpy().tolist() == [
        ["large", "a", "", "small all_small"],
        ["large", "c", "large", "gaps"],
        ["large", "d", "", "gaps"],
        ["large", "e", "", "all_small"],
        ["large", "f", "", "no_graph"],
        ["small", "0", "small", ""],
    ]


@pytest.mark.parametrize(("name", "expected"), [("semiconductors", True), ("phonons", False), ("mp", False)])
def test_a_whole_data_set_can_be_kept_out(name, expected):
    # phonon peaks are learnt from phonons, gaps from those of mp that are in no test set
    assert pretraining.keeps_out(name) is expected
    assert expected is any(test.data_set == name and test.paper is None and not test.but for test in HELD_OUT)


def test_a_test_crystal_that_is_not_there_is_an_error():
    with pytest.raises(UserError, match="1 of 1 ids of test of small are not in the data"):
        search.find(SETS, ["large"], held_out=TESTS, lists={**LISTS, "small": {"test": ["7"]}})


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """The tables of this file as the sources, with a list of their own."""
    sources = {name: SETS[name] for name in ("large", "small")}
    path = tmp_path / "excluded.csv"
    tests = [test for test in TESTS if test.name != "all_small"]
    search.write(search.find(SETS, sources, held_out=tests, lists=LISTS), sources, path)
    monkeypatch.setattr(exclusions, "LIST", path)
    monkeypatch.setattr(tables_of, "SOURCES", tuple(sources))
    monkeypatch.setattr(tables_of, "TESTED", ("large",))
    return sources


def test_the_list_is_read_as_it_was_written(listed):
    found = exclusions.read()
    assert found.columns.tolist() == search.COLUMNS
    assert found["reasons"].tolist() == ["small", "gaps", "gaps", "no_graph", ""]
    assert set(exclusions.signatures()) == {"large", "small"}


def test_the_table_unites_labels_and_keeps_test_crystals_apart(listed):
    crystals = pretraining.build(listed)
    assert crystals.ids.tolist() == ["large:b", "large:e", "small:2", "large:c"]
    np.testing.assert_array_equal(crystals.column("band_gap"), [4, 3, np.nan, 7])
    # of the same cell in both sources, the label of the later one
    np.testing.assert_array_equal(crystals.column("formation_energy"), [np.nan, -3, -2, np.nan])
    assert np.isnan(crystals.column("eij_max")).all()
    assert crystals.column("part").tolist()[-1] == "test"
    assert set(crystals.column("part")[:-1]) <= {"train", "val"}
    assert dict(crystals.units) == named.DATASETS["pretraining"].units
    for row, structure in enumerate((caesium_type(), salt(5.1, "Ca", "O"), salt(6.6, "K", "Cl"))):
        np.testing.assert_allclose(crystals.structure(row).lattice.matrix, structure.lattice.matrix)
        np.testing.assert_allclose(crystals.structure(row).frac_coords, structure.frac_coords)
        assert crystals.structure(row).species == structure.species


def test_another_version_of_a_source_is_refused(listed):
    grown = {**listed, "small": SETS["small"].select([0, 1])}
    with pytest.raises(UserError, match=r"this data set 'small' \(2 crystals\) is not the one"):
        pretraining.build(grown)


def test_it_is_put_together_once_and_again_for_another_list(listed, tmp_path):
    loaded = []

    def load():
        folders = [tmp_path / "data", tmp_path / "cache"]
        return pretraining.load(folders, lambda name: loaded.append(name) or listed[name])

    first, again = load(), load()
    assert loaded == ["large", "small"]
    assert again.ids.tolist() == first.ids.tolist()
    assert again.content_hash == first.content_hash
    # a copy is all that another machine needs
    (tmp_path / "data").mkdir()
    (tmp_path / "cache" / "pretraining.parquet").rename(tmp_path / "data" / "pretraining.parquet")
    load()
    assert loaded == ["large", "small"]
    text = exclusions.LIST.read_text(encoding="utf-8")
    exclusions.LIST.write_text(text + "large,e,,small\n", encoding="utf-8")
    assert "large:e" not in load().ids
    assert loaded == ["large", "small"] * 2


def test_parts_go_by_formula():
    parts = {formula: tables_of.part_of(formula) for formula in map(str, range(5000))}
    share = list(parts.values()).count("val") / 5000
    assert share == pytest.approx(tables_of.VALIDATION, abs=0.01)
    assert set(parts.values()) == {"train", "val"}


@pytest.fixture(scope="module")
def sources(data_dir):
    names = {*pretraining.SOURCES, *(test.data_set for test in HELD_OUT)}
    return {name: named.load(name) for name in names}


def test_the_list_speaks_of_these_data(sources):
    assert exclusions.signatures() == {
        name: exclusions.signature(sources[name]) for name in pretraining.SOURCES
    }


def test_the_list_has_every_test_crystal_of_the_paper(data_dir):
    found = exclusions.read()
    members = found[found["member_of"] != ""]
    for test in HELD_OUT:
        if test.data_set in pretraining.SOURCES and test.paper:
            ids = paper_lists()[test.paper]["test"]
            assert sorted(members.loc[members["member_of"] == test.name, "id"]) == sorted(ids), test.name


def test_the_list_is_what_the_command_finds_for_a_sample_of_formulas(sources):
    """All formulas take minutes: `make test-slow`."""
    formulas = sorted(
        {f for name in ("phonons", "piezoelectric", "log_gvrh") for f in sources[name].formulas}
    )
    chosen = set(np.random.default_rng(0).choice(formulas, 60, replace=False)) | {"O2-Si1", "Cl1-Na1"}
    check(
        {
            name: crystals.select([row for row, formula in enumerate(crystals.formulas) if formula in chosen])
            for name, crystals in sources.items()
        }
    )


@pytest.mark.slow
def test_the_list_is_what_the_command_finds(sources):
    check(sources)


def check(tables):
    ids = {name: set(crystals.ids) for name, crystals in tables.items()}
    lists = {
        test.paper: {"test": [i for i in paper_lists()[test.paper]["test"] if i in ids[test.data_set]]}
        for test in HELD_OUT
        if test.paper
    }
    found = search.find(tables, pretraining.SOURCES, lists=lists)
    listed = exclusions.read()
    here = [name in ids[source] for source, name in zip(listed["data_set"], listed["id"], strict=True)]
    assert found.to_numpy().tolist() == listed[here].to_numpy().tolist()
    assert len(found) > 100


@pytest.fixture(scope="module")
def crystals(data_dir, cache):
    return named.load("pretraining")


def test_the_table_is_what_its_card_says(crystals):
    card = named.DATASETS["pretraining"]
    assert len(crystals) == card.crystals
    assert [*crystals.columns] == [*card.targets, "part"]
    split = Pretraining().split(crystals, targets=list(card.targets))
    assert split.left_out == 0
    assert not split.notes


def test_nothing_to_learn_from_is_in_a_test_set(crystals, sources):
    found = exclusions.read()
    listed = set(found["data_set"] + ":" + found["id"])
    split = Pretraining().split(crystals)
    learnt = crystals.select(np.concatenate([split.train, split.val]))
    assert not listed & set(learnt.ids)
    assert set(crystals.ids[split.test]) <= listed
    for name in ("expt_gap", "jarvis_2d"):
        tested = sources[name].select(rows_of_test(sources[name], name))
        assert not set(learnt.formulas) & set(tested.formulas)
    assert not set(learnt.formulas) & set(sources["semiconductors"].formulas)


def rows_of_test(crystals, name):
    ids = set(paper_lists()[name]["test"])
    return [row for row, crystal in enumerate(crystals.ids) if crystal in ids]


def test_what_is_learnt_is_another_structure_for_the_matcher_of_pymatgen_too(crystals, sources):
    split = Pretraining().split(crystals)
    learnt = crystals.select(np.concatenate([split.train, split.val]))
    by_formula = defaultdict(list)
    for row, formula in enumerate(learnt.formulas):
        by_formula[formula].append(row)
    pairs = [
        (table, row, other)
        for name in ("mp", "log_gvrh", "phonons", "piezoelectric")
        for table in [sources[name]]
        for row in rows_of_test(table, {"mp": "mp_band_gap"}.get(name, name))
        for other in by_formula.get(table.formulas[row], ())
        if table.num_atoms[row] == learnt.num_atoms[other] <= 20
    ]
    matcher = StructureMatcher()
    for pick in np.random.default_rng(0).choice(len(pairs), 60, replace=False):
        table, row, other = pairs[pick]
        assert not matcher.fit(table.structure(row), learnt.structure(other)), (
            table.ids[row],
            learnt.ids[other],
        )


def test_no_formula_is_both_trained_on_and_validated_with(crystals):
    split = Pretraining().split(crystals)
    formulas = np.array(crystals.formulas)
    assert not set(formulas[split.train]) & set(formulas[split.val])


def test_labels_are_those_of_the_sources(crystals, sources):
    """A sample of each source: the label is in the table, at a crystal of the same formula."""
    targets = {"phonons": "last_phdos_peak", "expt_gap": "expt_gap", "log_gvrh": "log10_g_vrh"}
    found = exclusions.read()
    values = {
        name: {(f, v) for f, v in zip(crystals.formulas, crystals.column(name), strict=True) if v == v}  # noqa: PLR0124
        for name in targets.values()
    }
    for source, target in targets.items():
        table, out = sources[source], set(found.loc[found["data_set"] == source, "id"])
        kept = [row for row, name in enumerate(table.ids) if name not in out][::10]
        assert len(kept) > 50
        assert all((table.formulas[row], table.column(target)[row]) in values[target] for row in kept)


def test_the_document_has_the_counts(crystals):
    text = (Path(__file__).parents[3] / "docs" / "how-to" / "pretraining.md").read_text(encoding="utf-8")
    counts = search.counts(exclusions.read())
    for reason, numbers in counts.iterrows():
        assert f"| `{reason}` | {' | '.join(f'{number:,}' for number in numbers)} |" in text
    split = Pretraining().split(crystals)
    for target in named.DATASETS["pretraining"].targets:
        known = ~np.isnan(crystals.column(target))
        parts = " | ".join(f"{known[rows].sum():,}" for rows in split.parts.values())
        assert f"| `{target}` | {parts} |" in text


def test_copies_leave_the_test_part_as_it_is(crystals):
    rows = to_perturb(crystals, max_atoms=3)
    copies = perturbed(crystals.select(rows))
    table = joined("pretraining", crystals, {"copies": copies})
    before, after = (Pretraining().split(each) for each in (crystals, table))
    np.testing.assert_array_equal(after.test, before.test)
    for part in ("train", "val"):
        names = set(crystals.ids[getattr(before, part)])
        more = set(table.ids[getattr(after, part)]) - names
        assert more
        assert {name.removesuffix("~1") for name in more} == names & set(crystals.ids[rows])
    assert len(after.train) + len(after.val) == len(before.train) + len(before.val) + len(rows)
