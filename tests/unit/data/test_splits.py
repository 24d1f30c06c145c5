"""Splits: disjoint, complete, the same again, faithful to what was published; mistakes are named."""

import json
from dataclasses import replace

import numpy as np
import pytest
from jsonargparse import ArgumentParser
from sklearn.model_selection import KFold as PeerKFold

from tlzoo.crystals import SYMBOLS, Crystals
from tlzoo.data import splits
from tlzoo.data.splits import (
    ByComposition,
    ByTarget,
    FoldOf,
    FromColumn,
    FromFile,
    KFold,
    LeaveElementOut,
    MatbenchFold,
    PaperTrial,
    Pretraining,
    Random,
    RepeatedKFold,
    Sampled,
    Split,
    Splitter,
)
from tlzoo.errors import UserError

COMPOUNDS = ["NaCl", "MgO", "SiO", "GaAs", "ZnS", "KBr", "CaO", "LiF", "AlN", "CsI"]


def table(count=60, **columns):
    """Two-atom crystals; the compound of row i is number i % 10."""
    pairs = [_pair(COMPOUNDS[i % len(COMPOUNDS)]) for i in range(count)]
    return Crystals(
        ids=np.array([f"c{i}" for i in range(count)], dtype=object),
        lattice=np.tile(4.0 * np.eye(3), (count, 1, 1)),
        offsets=np.arange(0, 2 * count + 1, 2),
        numbers=np.array(pairs, dtype=np.uint8).reshape(-1),
        frac_coords=np.zeros((2 * count, 3)),
        columns={name: np.array(values) for name, values in columns.items()},
    )


def _pair(compound):
    split_at = next(i for i in range(1, len(compound)) if compound[i].isupper())
    return [SYMBOLS.index(compound[:split_at]), SYMBOLS.index(compound[split_at:])]


DRAWN = [
    Random(),
    Random(val=7, test=0.25, seed=4),
    ByComposition(val=0.2, test=0.2),
    LeaveElementOut(element="O", val=5),
    KFold(folds=4, fold=3, val=0.2),
    RepeatedKFold(folds=3, repeats=2, index=5),
    MatbenchFold(fold=4),
]


@pytest.mark.parametrize("splitter", DRAWN, ids=lambda s: type(s).__name__)
def test_every_crystal_is_in_one_part_and_the_draw_is_repeatable(splitter):
    crystals = table()
    split = splitter.split(crystals)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(split.parts.values()))), np.arange(60))
    assert min(len(rows) for rows in split.parts.values()) > 0
    np.random.seed(99)  # noqa: NPY002 (the global generator must have no say)
    again = type(splitter)(**splitter.spec()["init_args"]).split(crystals)
    for part, rows in split.parts.items():
        np.testing.assert_array_equal(rows, again.parts[part])


@pytest.mark.parametrize(
    "splitter", [s for s in DRAWN if not isinstance(s, MatbenchFold)], ids=lambda s: type(s).__name__
)
def test_duplicates_never_straddle(splitter):
    crystals = table()
    # copies of one compound, so that composition and element splits cannot separate them either
    groups = np.arange(60) % 10 + 10 * (np.arange(60) // 30)
    split = splitter.split(crystals, groups=groups)
    labels = [set(groups[rows]) for rows in split.parts.values()]
    assert sum(map(len, labels)) == len(set.union(*labels)) == 20
    assert not split.notes


def test_duplicates_straddle_when_asked_and_are_counted():
    groups = np.arange(60) // 2
    split = Random(keep_duplicates_together=False).split(table(), groups=groups)
    straddling = np.isin(groups[split.test], groups[np.concatenate([split.train, split.val])]).sum()
    assert straddling > 0
    assert f"{straddling} test crystal(s) have a duplicate in train or val" in split.describe()


def test_published_folds_keep_their_test_part_and_count_duplicates():
    crystals, groups = table(), np.arange(60) // 2
    plain, grouped = MatbenchFold().split(crystals), MatbenchFold().split(crystals, groups=groups)
    np.testing.assert_array_equal(plain.test, grouped.test)
    assert not set(groups[grouped.train]) & set(groups[grouped.val])
    assert "have a duplicate in train or val" in grouped.describe()


def test_the_draw_does_not_depend_on_how_duplicates_are_labelled():
    groups = np.arange(60) // 3
    one = Random().split(table(), groups=groups)
    other = Random().split(table(), groups=1000 - 7 * groups)
    np.testing.assert_array_equal(one.test, other.test)


def test_sizes_are_fractions_or_counts():
    split = Random(val=0.2, test=7).split(table(50))
    assert (len(split.train), len(split.val), len(split.test)) == (33, 10, 7)
    assert len(Random(test=0).split(table()).test) == 0
    assert len(Random(val=1, test=0.001).split(table()).test) == 1


def test_seeds_and_repeats_differ():
    crystals = table()
    tests = [Random(seed=s).split(crystals).test for s in range(5)]
    tests += [RepeatedKFold(index=i).split(crystals).test for i in (0, 5, 10)]
    assert len({tuple(rows) for rows in tests}) == len(tests)


@pytest.mark.parametrize("groups", [None, np.arange(60) // 4])
def test_the_folds_of_a_k_fold_tile_the_table(groups):
    folds = [KFold(folds=5, fold=i).split(table(), groups=groups).test for i in range(5)]
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(60))
    assert {len(rows) for rows in folds} == {12}
    repeat = [RepeatedKFold(folds=5, index=5 + i).split(table(), groups=groups).test for i in range(5)]
    np.testing.assert_array_equal(np.sort(np.concatenate(repeat)), np.arange(60))


def test_matbench_folds_are_those_of_the_benchmark_whatever_is_missing():
    y = np.where(np.arange(60) % 7 == 0, np.nan, 1.0)
    peer = [test for _, test in PeerKFold(5, shuffle=True, random_state=18012019).split(np.zeros(60))]
    for fold in range(5):
        split = MatbenchFold(fold=fold).split(table(y=y), targets=["y"])
        np.testing.assert_array_equal(split.test, [row for row in peer[fold] if row % 7])


def test_crystals_without_a_known_target_are_left_out_and_counted():
    y = np.where(np.arange(60) < 20, np.nan, 1.0)
    z = np.array([None] * 10 + ["a"] * 50, dtype=object)
    split = Random().split(table(y=y), targets=["y"])
    assert split.left_out == 20
    assert min(np.concatenate(list(split.parts.values()))) == 20
    assert "20 left out (no target is known)" in split.describe()
    assert Random().split(table(y=y, z=z), targets=["y", "z"]).left_out == 10


def test_compositions_stay_together():
    crystals = table()
    split = ByComposition(val=0.2, test=0.2).split(crystals)
    formulas = [{crystals.formulas[row] for row in rows} for rows in split.parts.values()]
    assert [len(f) for f in formulas] == [6, 2, 2]
    assert len(set.union(*formulas)) == 10


def test_an_element_left_out_is_only_tested():
    crystals = table()
    split = LeaveElementOut(element="O").split(crystals)
    assert {crystals.formulas[row] for row in split.test} == {"O1-Mg1", "O1-Si1", "O1-Ca1"}
    assert len(split.test) == 18


def test_a_column_gives_the_parts():
    column = np.array(["train"] * 40 + ["val"] * 5 + ["test"] * 10 + [None, ""] + ["train"] * 3, dtype=object)
    split = FromColumn().split(table(split=column))
    assert [len(rows) for rows in split.parts.values()] == [43, 5, 10]
    column[40:45] = "train"
    with pytest.raises(UserError, match=r"column 'split' has no validation part; .* val: 0.1"):
        FromColumn().split(table(split=column))
    assert [len(r) for r in FromColumn(val=0.25).split(table(split=column)).parts.values()] == [36, 12, 10]
    column[1] = "holdout"
    with pytest.raises(UserError, match=r"'c1' .* holds 'holdout'; wanted train, val, test or nothing"):
        FromColumn().split(table(split=column))


def test_the_parts_of_pretraining_are_those_of_its_column_but_for_large_cells():
    crystals = table(6, part=np.array(["train", "test", "val", "train", "val", "train"], dtype=object))
    split = Pretraining().split(crystals)
    assert [rows.tolist() for rows in split.parts.values()] == [[0, 3, 5], [2, 4], [1]]
    assert not split.notes
    # one cell of four atoms in each part
    large = Crystals(
        ids=crystals.ids,
        lattice=crystals.lattice,
        offsets=np.array([0, 4, 8, 12, 14, 16, 18]),
        numbers=np.tile(crystals.numbers[:2], 9),
        frac_coords=np.zeros((18, 3)),
        columns=crystals.columns,
    )
    split = Pretraining(max_atoms=2).split(large)
    assert [rows.tolist() for rows in split.parts.values()] == [[3, 5], [4], [1]]
    assert split.notes == ("2 crystal(s) with a known target are in no part",)
    assert len(Pretraining(max_atoms=4).split(large).train) == 3


def test_files_name_ids_or_rows_or_ranges(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["c5", "c1"], "val": ["c2"], "test": ["c9"]}))
    split = FromFile(path=str(path)).split(table())
    assert [rows.tolist() for rows in split.parts.values()] == [[5, 1], [2], [9]]
    chemprop = [{"train": [0, 1], "val": [2]}, {"train": "0-3, 7", "val": "4", "test": [5, 6]}]
    path.write_text(json.dumps(chemprop))
    split = FromFile(path=str(path), index=1).split(table())
    assert [rows.tolist() for rows in split.parts.values()] == [[0, 1, 2, 3, 7], [4], [5, 6]]
    assert FromFile(path=str(path)).split(table()).notes == (
        "the test part is empty",
        "57 crystal(s) with a known target are in no part",
    )
    path.write_text(json.dumps({"train": list(range(20))}))
    assert len(FromFile(path=str(path), val=5).split(table()).val) == 5


def test_a_saved_split_is_read_back_by_id(tmp_path):
    crystals = table(y=np.where(np.arange(60) == 3, np.nan, 1.0))
    split = Random(seed=8).split(crystals, targets=["y"])
    text = split.to_json(crystals.ids)
    content = json.loads(text)
    assert content["splitter"]["class_path"] == "tlzoo.data.splits.Random"
    assert content["splitter"]["init_args"]["seed"] == 8
    assert content["left_out"] == 1
    order = np.random.default_rng(0).permutation(60)
    shuffled = crystals.select(order)
    back = Split.from_json(text, shuffled.ids)
    for part, rows in split.parts.items():
        np.testing.assert_array_equal(order[back.parts[part]], rows)
    assert Split.from_json(text, crystals.ids).to_json(crystals.ids) == text
    (tmp_path / "split.json").write_text(text)
    np.testing.assert_array_equal(
        FromFile(path=str(tmp_path / "split.json")).split(crystals).train, split.train
    )


# instantiate_classes has another name since jsonargparse 4.49; LightningCLI calls this one
@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
def test_the_configuration_is_the_constructor():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--split", type=Splitter)
    config = {"split": {"class_path": "KFold", "init_args": {"fold": 2, "val": 12}}}
    assert parser.instantiate_classes(parser.parse_object(config)).split == KFold(fold=2, val=12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Random(val=0).split(table()), "the val part of the split is empty; ask for a larger share"),
        (
            lambda: Random(val=0.5, test=0.5).split(table()),
            "60 crystals .* cannot give 30 for validation and 30",
        ),
        (lambda: Random(val=1, test=1).split(table(2)), "2 crystals .* bring more data"),
        (lambda: Random().split(table(0)), "0 crystals"),
        (lambda: Random(val=-0.1).split(table()), "val must be a fraction from 0 to 1 or a whole count"),
        (lambda: Random(test=1.5).split(table()), "test must be a fraction .*, got 1.5"),
        (lambda: Random().split(table(), targets=["gap"]), "there is no column 'gap'"),
        (
            lambda: Random().split(table(), groups=np.zeros(60, int)),
            "no group .* small enough for a test part of 6",
        ),
        (lambda: KFold(fold=5), "fold must be from 0 to 4, got 5"),
        (lambda: KFold(folds=1), "folds must be at least 2, got 1"),
        (lambda: KFold().split(table(4)), "5 folds need at least 5 .* there are 4"),
        (lambda: KFold().split(table(), groups=np.arange(60) % 3), "there are 3; ask for fewer folds"),
        (lambda: MatbenchFold().split(table(3)), "5 folds need at least 5 crystals, there are 3"),
        (lambda: RepeatedKFold(index=15), "index must be below .* = 15, from 0, got 15"),
        (lambda: LeaveElementOut(element="oxygen"), "a chemical symbol such as 'O', got 'oxygen'"),
        (lambda: LeaveElementOut(element="U").split(table()), "no crystal .* contains U"),
        (lambda: FromColumn().split(table()), "there is no column 'split'"),
        (lambda: Pretraining(max_atoms=0), "max_atoms must be at least 1, got 0"),
        (lambda: FromFile(path="none.json").split(table()), "none.json cannot be read: No such file"),
        (lambda: Split([0], [1], [0]), "both the train and the test part, the first is row 0"),
        (lambda: Split([0], [], [2]), "the val part of the split is empty"),
        (lambda: Split([0, 0], [1], [2]), "row 0 is in the train part more than once"),
        (lambda: Split([-1], [1], [2]), "rows from -1 to -1, out of the table"),
        (lambda: Split([0], [1], [2]).to_json(["a", "b", "a"]), "the id 'a' occurs 2 times"),
        (
            lambda: Split.from_json('{"train": []}', ["a"]),
            "the split lacks the part\\(s\\) val, test; wanted lists",
        ),
        (lambda: Split.from_json("{", ["a"]), "the split is no JSON"),
        (
            lambda: Split.from_json('{"format": 9, "train": [], "val": [], "test": []}', ["a"]),
            "has format 9; this version reads format 1",
        ),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"train": ["c0", "mp-1"], "val": ["c1"]},
            "1 of 2 ids of train in .* among them mp-1; is it a split of",
        ),
        ({"train": ["c0"], "val": ["c0"]}, "both the train and the val part, the first is crystal 'c0'"),
        ({"train": [0, 60], "val": [1]}, "names row 60, but the data have rows 0 to 59"),
        ({"train": [0, "c1"], "val": [2]}, "must be a list of ids"),
        ({"train": {"c0": 1}, "val": [2]}, "must be a list of ids"),
        ({"train": "0-x", "val": [2]}, "'0-x' is no row or range of rows"),
        ({"val": [2]}, "is no split: wanted an object with lists"),
        ([{"train": [0], "val": [1]}], "holds 1 split"),
    ],
)
def test_mistakes_in_a_file_are_named(content, message, tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        FromFile(path=str(path), index=1).split(table())
    path.write_text("{")
    with pytest.raises(UserError, match=r"split\.json is no JSON"):
        FromFile(path=str(path)).split(table())


def test_a_test_part_without_targets_is_an_error_not_an_empty_part():
    column = np.array(["train"] * 40 + ["val"] * 10 + ["test"] * 10, dtype=object)
    y = np.where(np.arange(60) < 50, 1.0, np.nan)
    with pytest.raises(UserError, match="none of the 10 crystals of the test part has a known value of y"):
        FromColumn().split(table(split=column, y=y), targets=["y"])


def paper_file(tmp_path, **content):
    trials = {"1": {"10": [f"c{i}" for i in range(10)], "20": [f"c{i}" for i in range(20)]}}
    lists = {
        "_readme": "about",
        "phonons": {"test": ["c50", "c51"], "trials": trials},
        "e_form_paper": {"test": [], "trials": trials},
        "jarvis_2d": {"test": ["c59"], "train": [f"c{i}" for i in range(40)]},
    }
    path = tmp_path / "paper.json"
    path.write_text(json.dumps(lists))
    return str(path)


def test_the_last_tenth_of_a_trial_validates(tmp_path):
    path = paper_file(tmp_path)
    split = PaperTrial(size=20, dataset="phonons", path=path).split(table())
    assert split.train.tolist() == list(range(18))
    assert [split.val.tolist(), split.test.tolist()] == [[18, 19], [50, 51]]
    assert PaperTrial(size=20, path=path).split(table(last_phdos_peak=np.ones(60))).test.tolist() == [50, 51]
    empty = PaperTrial(size=10, dataset="e_form_paper", path=path).split(table())
    assert [len(rows) for rows in empty.parts.values()] == [9, 1, 0]
    one, two = (PaperTrial(trial=t, dataset="jarvis_2d", path=path).split(table()) for t in (1, 2))
    assert [len(rows) for rows in one.parts.values()] == [36, 4, 1]
    assert set(one.val) != set(two.val)


def test_a_published_list_may_name_crystals_that_are_excluded(tmp_path):
    rule = PaperTrial(size=20, dataset="phonons", path=paper_file(tmp_path))
    rest = table().select(np.setdiff1d(np.arange(60), [3, 50]))
    split = rule.split(rest, excluded=["c3", "c50"])
    assert [len(rows) for rows in split.parts.values()] == [17, 2, 1]
    assert rest.ids[split.test].tolist() == ["c51"]
    with pytest.raises(UserError, match="1 of 2 ids of test of phonons are not in the data"):
        rule.split(rest, excluded=["c3"])


def test_mistakes_with_the_paper_are_named(tmp_path, monkeypatch):
    path = paper_file(tmp_path)
    monkeypatch.delenv("TLZOO_DATA", raising=False)
    source = "github.com/sai-mat-group/transfer-learning-material-properties"
    with pytest.raises(UserError, match=rf"TLZOO_DATA, which is not set\); .*{source}"):
        PaperTrial().split(table())
    monkeypatch.setenv("TLZOO_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"looked for .*splits/devi2024\.json"):
        PaperTrial().split(table())
    with pytest.raises(UserError, match=r"columns \(none\) .* is none of the paper's; say which list"):
        PaperTrial(path=path).split(table())
    both = table(band_gap=np.ones(60), formation_energy=np.ones(60))
    with pytest.raises(UserError, match="could be e_form_paper or mp_band_gap"):
        PaperTrial(path=path).split(both, targets=["band_gap"])
    with pytest.raises(UserError, match="no split for the data set 'gaps'; there are: phonons, e_form_paper"):
        PaperTrial(path=path, dataset="gaps").split(table())
    with pytest.raises(UserError, match="no trial 7 of size 800; there are trials 1 of sizes 10, 20"):
        PaperTrial(path=path, dataset="phonons", trial=7).split(table())
    with pytest.raises(UserError, match="trial must be at least 1, got 0"):
        PaperTrial(path=path, dataset="jarvis_2d", trial=0).split(table())
    with pytest.raises(UserError, match="2 of 2 ids of test of phonons are not in the data"):
        PaperTrial(path=path, dataset="phonons", size=10).split(table(30))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("phonons", (720, 80, 127)), ("dielectric", (720, 80, 106)), ("jarvis_2d", (894, 99, 110))],
)
def test_the_trials_of_the_paper_fit_the_real_data(name, sizes, data_dir):
    crystals = Crystals.read_parquet(data_dir / f"{name}.parquet")
    for trial in (1, 5):
        split = PaperTrial(trial=trial, path=str(data_dir / "splits/devi2024.json")).split(crystals)
        assert tuple(len(rows) for rows in split.parts.values()) == sizes


def test_every_splitter_is_public():
    assert {cls.__name__ for cls in Splitter.__subclasses__()} < set(splits.__all__)


def pool_of_formulas(count=200, seed=0):
    """Crystals of one to three elements out of ten, with a skew target; some lack it."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 9, count)
    numbers = np.concatenate([random.choice(random.choice(10, 3) + 3, size) for size in sizes])
    y = np.exp(2 * random.normal(size=count))
    y[::17] = np.nan
    return Crystals(
        ids=np.array([f"c{i}" for i in range(count)], dtype=object),
        lattice=np.tile(4.0 * np.eye(3), (count, 1, 1)),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        numbers=numbers.astype(np.uint8),
        frac_coords=np.zeros((sizes.sum(), 3)),
        columns={"y": y},
    )


HOWS = ["random", "target", "composition", "worst"]


def chosen(how, size=40, crystals=None, **options):
    crystals = crystals or pool_of_formulas()
    split = Sampled(base=Random(test=0.25), how=how, size=size, **options).split(crystals, targets=["y"])
    return split, np.concatenate([split.train, split.val])


@pytest.mark.parametrize("how", HOWS)
def test_a_sample_leaves_the_test_part_alone_and_repeats(how):
    crystals = pool_of_formulas()
    split, rows = chosen(how)
    base = Random(test=0.25).split(crystals, targets=["y"])
    np.testing.assert_array_equal(split.test, base.test)
    assert [len(part) for part in split.parts.values()] == [36, 4, len(base.test)]
    assert not np.isnan(crystals.columns["y"][rows]).any()
    for part, again in chosen(how)[0].parts.items():
        np.testing.assert_array_equal(split.parts[part], again)
    assert set(rows) != set(chosen(how, seed=1)[1])
    assert set(chosen(how, size=10)[1]) < set(rows), "few are among many"
    assert set(chosen(how, size=len(base.train) + len(base.val))[1]) == {*base.train, *base.val}


@pytest.mark.parametrize("how", HOWS)
def test_targets_of_test_crystals_do_not_move_a_sample(how):
    split, _ = chosen(how)
    crystals = pool_of_formulas()
    crystals.columns["y"][split.test] = 1e6 * np.arange(len(split.test))
    other, _ = chosen(how, crystals=crystals)
    for part, rows in split.parts.items():
        np.testing.assert_array_equal(rows, other.parts[part])


def test_a_sample_covers_what_it_is_meant_to():
    crystals = pool_of_formulas()
    y, fractions = crystals.columns["y"], crystals.element_fractions
    base = Random(test=0.25).split(crystals, targets=["y"])
    pool = np.concatenate([base.train, base.val])

    def radius(rows):
        """Distance from the crystal of the pool that is farthest from a sample."""
        return np.abs(fractions[pool][:, None] - fractions[rows]).sum(axis=2).min(axis=1).max()

    def bins(rows):
        return len(set(np.digitize(y[rows], np.linspace(y[pool].min(), y[pool].max(), 11)[1:-1])))

    samples = {how: [chosen(how, seed=seed)[1] for seed in range(5)] for how in HOWS}
    radii = {how: np.array([radius(rows) for rows in each]) for how, each in samples.items()}
    assert radii["composition"].max() < radii["random"].min()
    assert radii["worst"].mean() > 1.1 * radii["random"].mean()
    every = bins(pool)
    assert all(bins(rows) == every for rows in samples["target"])
    assert np.mean([bins(rows) for rows in samples["random"]]) < every
    assert np.mean([y[rows].std() for rows in samples["target"]]) > y[pool].std()


def test_a_sample_keeps_duplicates_together_as_its_base_does():
    crystals, groups = pool_of_formulas(), np.arange(200) // 2
    split = Sampled(base=Random(test=0.25), size=60).split(crystals, targets=["y"], groups=groups)
    assert Sampled().keep_duplicates_together
    assert not set(groups[split.test]) & set(groups[np.concatenate([split.train, split.val])])
    assert not set(groups[split.train]) & set(groups[split.val])
    assert not Sampled(base=PaperTrial()).keep_duplicates_together


def test_a_sample_of_the_papers_pool_is_out_of_all_that_is_not_tested(tmp_path):
    path = paper_file(tmp_path)
    crystals = table(60, last_phdos_peak=np.arange(60.0))
    split = Sampled(base=PaperTrial(path=path), size=58).split(crystals, targets=["last_phdos_peak"])
    assert split.test.tolist() == [50, 51]
    assert set(np.concatenate([split.train, split.val])) == set(range(60)) - {50, 51}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Sampled(size=200).split(table()),
            "size is 200, but Random leaves 54 crystals .*; ask for fewer",
        ),
        (lambda: Sampled(size=1), "size must be at least 2, .*, got 1"),
        (lambda: Sampled(base=Sampled()), "base must be a splitter with a test part of its own"),
        (lambda: Sampled(base=ByTarget()), "take it the other way round: ByTarget with Sampled as base"),
        (
            lambda: Sampled(size=9, how="target").split(table()),
            "one target to choose by, got none; choose by",
        ),
    ],
)
def test_mistakes_in_a_sample_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
def test_a_sample_is_written_and_read(tmp_path):
    sample = Sampled(base=KFold(fold=2), size=20, how="worst", seed=3)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--split", type=Splitter)
    crystals = table()
    spec = json.loads(sample.split(crystals).to_json(crystals.ids))["splitter"]
    assert spec["init_args"]["base"] == KFold(fold=2).spec()
    assert parser.instantiate_classes(parser.parse_object({"split": spec})).split == sample


OTHERS = [Random(test=0), Random(test=12), ByComposition(test=0.2), FromColumn("split")]


@pytest.mark.parametrize("of", OTHERS, ids=["all", "random", "composition", "column"])
def test_folds_of_what_another_split_learns_from(of):
    parts = np.array([None] * 3 + ["train"] * 40 + ["val"] * 10 + ["test"] * 7, dtype=object)
    crystals = replace(table(), columns={**table().columns, "split": parts})
    groups = np.arange(60) // 2
    whole = of.split(crystals, groups=groups)
    folds = [FoldOf(of=of, folds=4, fold=i, val=8).split(crystals, groups=groups) for i in range(4)]
    again = FoldOf(of=of, folds=4, fold=2, val=8).split(crystals, groups=groups)
    assert all((again.parts[part] == rows).all() for part, rows in folds[2].parts.items())
    tested = np.concatenate([fold.test for fold in folds])
    assert sorted(tested) == sorted([*whole.train, *whole.val]), "each once, and no other"
    for fold in folds:
        together = np.concatenate([fold.train, fold.val, fold.test])
        assert sorted(together) == sorted(tested)
        if not isinstance(of, ByComposition):
            assert not set(groups[fold.test]) & set(groups[[*fold.train, *fold.val]])
        else:
            formulas = np.array(crystals.formulas)
            assert not set(formulas[fold.test]) & set(formulas[[*fold.train, *fold.val]])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: FoldOf(fold=5), "fold must be from 0 to 4, got 5"),
        (lambda: FoldOf(of=FoldOf()), "of must be a split that is no fold itself"),
        (lambda: FoldOf(of=ByTarget()), "ByTarget cannot be divided into folds"),
        (lambda: FoldOf(of=FromColumn(duplicates="drop")), "duplicates: drop cannot be divided into folds"),
    ],
)
def test_folds_that_cannot_be(make, text):
    with pytest.raises(UserError, match=text):
        make()


def test_crystals_that_know_other_targets_are_learned_from():
    """Measured gaps of NaCl to CaO are divided; of computed ones those of the test's compounds stay out."""
    measured = np.where(np.arange(60) < 27, 1.0, np.nan)
    computed = np.where(np.arange(60) < 20, np.nan, 2.0)
    crystals = table(measured=measured, computed=computed)
    base = Random(val=3, test=4, seed=1)
    split = ByTarget(base=base).split(crystals, targets=["measured", "computed"])
    alone = base.split(crystals.select(np.arange(27)), targets=["measured"])
    assert (split.val.tolist(), split.test.tolist()) == (alone.val.tolist(), alone.test.tolist())
    assert set(alone.train) <= set(split.train)
    others = np.setdiff1d(split.train, alone.train)
    held = {crystals.formulas[row] for row in (*alone.val, *alone.test)}
    assert others.tolist() == [row for row in range(27, 60) if crystals.formulas[row] not in held]
    few = ByTarget(base=base, most=2).split(crystals, targets=["measured", "computed"])
    assert set(alone.train) < set(few.train) < set(split.train)
    assert len(few.train) == len(alone.train) + 2


def test_a_target_to_divide_by_is_one_of_the_data():
    crystals = table(measured=np.ones(60), computed=np.ones(60))
    with pytest.raises(UserError, match=r"one of data\.targets, got 'gap'; there are: computed"):
        ByTarget(target="gap").split(crystals, targets=["computed"])
    unknown = table(measured=np.full(60, np.nan), computed=np.ones(60))
    with pytest.raises(UserError, match="no crystal has a known 'measured'"):
        ByTarget().split(unknown, targets=["measured", "computed"])
    with pytest.raises(UserError, match="most must be 0 or more, or null for all, got -1"):
        ByTarget(most=-1)
    with pytest.raises(UserError, match="base must be a splitter of the crystals with the target"):
        ByTarget(base=ByTarget())
