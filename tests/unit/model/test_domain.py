"""Distances to training crystals against a slow loop; what is stored of a domain, and read again."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tlzoo.cards.beside import Beside
from tlzoo.data import named
from tlzoo.data.structure_keys import StructureKeys
from tlzoo.errors import UserError
from tlzoo.model.domain import POINTS, Domain, read, shared_content, shared_keys
from tlzoo.screen.kept_domain import MOST

HERE = Path("here")


def slow(points, others, skip):
    scale = others.std(axis=0)
    scale[scale == 0] = np.inf
    distances = [sorted(np.linalg.norm((p - others) / scale, axis=1))[skip : skip + 5] for p in points]
    return np.mean(distances, axis=1)


@pytest.fixture
def points():
    generator = np.random.default_rng(0)
    return np.concatenate([generator.normal(size=(60, 4)) * [1, 10, 0.1, 3], np.ones((60, 1))], axis=1)


def test_distances_as_a_loop_finds_them(points):
    others = np.concatenate([points[:3] + 1e-3, points[3:6] + 100])
    domain = Domain.of(points)
    among = slow(points, points, 1)
    np.testing.assert_allclose(
        domain.distances(others), slow(others, points, 0) / np.median(among), rtol=1e-6
    )
    assert domain.limit == pytest.approx(np.percentile(among, 99) / np.median(among))
    assert (domain.distances(others) > domain.limit).tolist() == [False] * 3 + [True] * 3


def test_crystals_that_are_no_points_tell_what_is_usual(points):
    domain = Domain.of(points, points=40)
    found = np.concatenate([slow(points[:40], points[:40], 1), slow(points[40:], points[:40], 0)])
    assert domain.usual == pytest.approx(np.percentile(found, [50, 99]))
    assert len(domain.points) == 40


def test_two_training_crystals_are_enough():
    assert np.isfinite(Domain.of(np.eye(2)).distances(np.zeros((3, 2)))).all()


@pytest.mark.parametrize("crystals", [0, 1])
def test_fewer_are_not(crystals):
    domain = Domain.of(np.ones((crystals, 3)), reason="one alone")
    assert not domain.measures
    assert not Domain.parse(domain.content(), HERE).measures


def test_stored_and_read_again(points):
    crystals = named.load("semiconductors").select(np.arange(20))
    domain = Domain.of(points, StructureKeys.of(crystals), reason="why")
    again = Domain.parse(domain.content(), HERE)
    assert again.usual == domain.usual
    assert again.reason == "why"
    # the points are kept with 11 bits
    np.testing.assert_allclose(again.distances(points + 1), domain.distances(points + 1), rtol=1e-2)
    assert again.keys.holds(crystals).all()


def test_a_shared_file_knows_each_set():
    crystals = named.load("semiconductors").select(np.arange(12))
    sets = {
        "a": np.arange(12) < 4,
        "b": np.arange(12) % 2 == 0,
        **{f"c{i}": np.arange(12) == i for i in range(9)},
    }
    content = shared_content(StructureKeys.of(crystals), sets)
    for name, rows in sets.items():
        keys = shared_keys(content, HERE, name)
        assert len(keys) == rows.sum()
        assert keys.holds(crystals)[rows].all()
    assert len(set(crystals.formulas)) == 12
    assert shared_keys(content, HERE, "b").holds(crystals).sum() == 6
    with pytest.raises(UserError, match="here does not say which crystals the model has learned from"):
        shared_keys(content, HERE, "d")


NOTE = {"tlzoo": json.dumps({"format": 1})}
ODD = {"points": np.zeros((2, 2)), "scale": np.ones(3), "usual": np.ones(2)}
BROKEN = {
    **ODD,
    "scale": np.ones(2),
    **dict.fromkeys(("formulas", "volumes", "shapes"), np.zeros((2, 5), np.uint8)),
}


@pytest.mark.parametrize(
    "content",
    [
        safetensors.numpy.save(ODD, metadata=NOTE),
        safetensors.numpy.save(BROKEN, metadata=NOTE),
        b"",
        b"x" * 100,
        safetensors.numpy.save({"points": np.zeros((2, 2))}),
        safetensors.numpy.save({"points": np.zeros((2, 2))}, metadata={"tlzoo": json.dumps({"format": 1})}),
        safetensors.numpy.save({"points": np.zeros(2)}, metadata={"tlzoo": json.dumps([1])}),
    ],
)
def test_other_files_are_refused(content):
    with pytest.raises(UserError, match=r"here is (no file of training crystals|damaged)"):
        Domain.parse(content, HERE)


def test_what_cards_say(points, tmp_path):
    weights, content = tmp_path / "net.safetensors", Domain.of(points).content()
    file = tmp_path / "net.domain.safetensors"
    card = {"domain": Beside.describing(file.name, content).fields()}
    assert "names no file" in read(weights, {}).reason
    assert f"{file} is missing" in read(weights, card).reason
    file.write_bytes(content)
    assert read(weights, card).measures
    file.write_bytes(content + b" ")
    with pytest.raises(UserError, match=r"net\.domain\.safetensors is not the file that the card describes"):
        read(weights, card)
    with pytest.raises(UserError, match=r"file is '\.\./\.\./etc\.safetensors', wanted a name"):
        read(weights, {"domain": {**card["domain"], "file": "../../etc.safetensors"}})


def test_at_most_so_many_points():
    assert (POINTS, MOST) == (1000, 5000)  # the documentation says so
