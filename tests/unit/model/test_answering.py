"""On its way to an answer each crystal is looked at once, and what is wrong with some is said of all."""

from collections import Counter

import numpy as np
import pytest

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.errors import UserError
from tlzoo.graphs import conventions
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.graphs.workers import NoGraphError
from tlzoo.model import answering, load
from tlzoo.model.answering import Questions, answered
from tlzoo.screen.pipeline import Options, screen
from tlzoo.screen.screening import Request
from tlzoo.transfer.features.layers import Network, source
from tlzoo.transfer.recommend.scores import features

GRAPH = GraphOptions(neighbours=4)


@pytest.fixture(scope="module")
def crystals():
    """Crystals of which no two have the same cell."""
    table = named.load("semiconductors")
    _, first = np.unique(table.lattice.reshape(len(table), -1), axis=0, return_index=True)
    return table.select(np.sort(first)[:40])


@pytest.fixture
def seen(monkeypatch):
    """How often the neighbours of each crystal were searched, and its elements looked up, by its cell."""
    searched, looked_up = Counter(), Counter()
    search, look_up = conventions.all_neighbours, answering.uncovered_rows

    def all_neighbours(cells, options):
        searched.update(map(np.ndarray.tobytes, cells.lattice))
        return search(cells, options)

    def uncovered_rows(crystals):
        looked_up.update(map(np.ndarray.tobytes, crystals.lattice))
        return look_up(crystals)

    monkeypatch.setattr(conventions, "all_neighbours", all_neighbours)
    for module in ("model.answering", "data.check", "data.known_elements"):
        monkeypatch.setattr(f"tlzoo.{module}.uncovered_rows", uncovered_rows)
    return searched, looked_up


def once(crystals):
    return Counter(map(np.ndarray.tobytes, crystals.lattice))


@pytest.fixture
def files(crystals, tmp_path):
    path = tmp_path / "crystals.parquet"
    crystals.write_parquet(path)
    return path


class TestOnce:
    @pytest.mark.parametrize("arguments", [["predict", "cgcnn-fe"], ["embed", "cgcnn-fe+cgcnn-bg"]])
    def test_commands(self, arguments, tlzoo, files, crystals, seen, tmp_path):
        answer = tlzoo(*arguments, files, "-o", tmp_path / "out.parquet")
        assert answer.code == 0, answer.err
        assert seen == (once(crystals), once(crystals))

    def test_screening(self, files, crystals, seen, tmp_path):
        names = ["cgcnn-fe", "cgcnn-mpt"]
        request = Request(models=names, pool=str(files), target="formation_energy", shard=16)
        screen(request, Options(output=tmp_path / "ranked.parquet", jobs=1))
        searched, looked_up = seen
        assert {cell: searched[cell] for cell in once(crystals)} == once(crystals)
        assert {cell: looked_up[cell] for cell in once(crystals)} == once(crystals)

    def test_library(self, crystals, seen):
        load("cgcnn-fe").predict(crystals)
        assert seen == (once(crystals), once(crystals))

    def test_several_models(self, crystals, seen):
        models = {(name, "embedding"): load(name) for name in ("cgcnn-fe", "cgcnn-bg")}
        found = features({key: Network(model) for key, model in models.items()}, crystals)
        assert seen == (once(crystals), once(crystals))
        for key, (values, seconds) in found.items():
            np.testing.assert_array_equal(values, models[key].embed(crystals))
            assert seconds > 0

    def test_bad_ones(self, mixed, seen):
        questions = Questions(mixed, [GRAPH])
        list(questions.parts(most=3))
        known = mixed.select(np.delete(np.arange(len(mixed)), 4))
        assert seen == (once(known), once(mixed))


@pytest.fixture
def mixed(crystals):
    """The second is alone, the third has two atoms in one place, the fifth an unknown element."""
    good = [crystals.structure(row) for row in range(8)]
    alone, strange, twice = good[1].copy(), good[4].copy(), good[2].copy()
    alone.remove_sites(range(1, len(alone)))
    alone.scale_lattice(30**3)
    strange.replace(0, "Rf")
    twice.append(twice[0].specie, twice[0].frac_coords + 0.001, validate_proximity=False)
    return Crystals.from_structures([good[0], alone, twice, good[3], strange, *good[5:]])


def test_what_is_wrong_is_found_part_by_part(mixed):
    questions = Questions(mixed, [GRAPH, DescriptorOptions(structure=False)])
    assert list(questions.problems) == [4]
    assert "the model has no features for Rf" in questions.problems[4]
    parts = list(questions.parts(most=3))
    assert [part.rows.tolist() for part in parts] == [[0], [3, 5, 6], [7]]
    assert list(questions.problems) == [1, 2, 4]
    assert "no neighbour within 8 Å" in questions.problems[1]
    assert "Å apart, less than 0.1 Å" in questions.problems[2]
    for part in parts:
        # a composition could be described of all three, but what one model cannot read no model reads
        assert {len(store) for store in part.stores.values()} == {len(part.rows)}
        wanted = GraphStore.in_memory(mixed.select(part.rows), GRAPH)
        np.testing.assert_array_equal(part.stores[GRAPH].length, wanted.length)
        np.testing.assert_array_equal(part.stores[GRAPH].numbers, wanted.numbers)


def test_all_or_nothing(mixed):
    asked = []
    with pytest.raises(UserError, match="some crystals have unknown elements; leave them out"):
        answered(mixed, [GRAPH], asked.append)
    rest = mixed.select(np.delete(np.arange(len(mixed)), 4))
    with pytest.raises(
        NoGraphError, match=r"no graph can be made of 2 of 7 crystals:\n.*'1'.*\n.*'2'"
    ) as caught:
        answered(rest, [GRAPH], asked.append, most=2)
    assert caught.value.rows == [1, 2]
    assert asked == [], "nothing is computed that nobody gets"
    assert answered(rest.select([0]), [GRAPH], lambda stores: len(stores[GRAPH])) == [1]
    assert answered(rest.select([]), [GRAPH], asked.append) == []


@pytest.mark.parametrize("options", [GRAPH, GraphOptions(neighbours=4, angles=True)])
def test_some_crystals_of_a_store_are_a_store(crystals, options):
    rows = np.array([7, 3, 3, 0])
    some = GraphStore.in_memory(crystals, options).select(rows)
    wanted = GraphStore.in_memory(crystals.select(rows), options)
    for name, values in vars(wanted).items():
        np.testing.assert_array_equal(getattr(some, name), values, err_msg=name)


def test_descriptors_that_are_kept_are_read(crystals, seen, monkeypatch, tmp_path):
    monkeypatch.setattr("tlzoo.transfer.features.layers.MANY", 1)
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path))
    both = source("cgcnn-fe+descriptors")
    found = both.activations(crystals, ["embedding"])["embedding"]
    assert list((tmp_path / "descriptors").iterdir())
    monkeypatch.setattr("tlzoo.transfer.features.layers.MANY", 10**6)
    np.testing.assert_array_equal(both.activations(crystals, ["embedding"])["embedding"], found)
