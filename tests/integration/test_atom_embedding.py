"""`tlzoo embed --atoms`: the numbers of each atom, in shards that go on where they were stopped."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from tlzoo.cards.card import Card
from tlzoo.crystals import Crystals
from tlzoo.data import atom_table, named
from tlzoo.data.atom_table import AtomTable
from tlzoo.data.whitening import Whitening
from tlzoo.descriptors.stores import kind
from tlzoo.model.trained import load
from tlzoo.screen import atom_embedding

COUNT = 40


@pytest.fixture(scope="module")
def crystals():
    """Those of most atoms, in another order, so that shards differ."""
    known = named.load("semiconductors")
    rows = np.argsort(-known.num_atoms, kind="stable")[:COUNT]
    return known.select(np.random.default_rng(0).permutation(rows))


@pytest.fixture(scope="module")
def mine(crystals, tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "mine.parquet"
    crystals.write_parquet(path)
    return path


@pytest.fixture
def small(monkeypatch):
    """Shards of 12 crystals."""
    monkeypatch.setattr(atom_embedding, "SHARD", 12)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def joined(folder):
    shards = list(AtomTable.open(folder).read())
    return [np.concatenate([shard.ids for shard in shards]), np.concatenate([s.features for s in shards])]


def plain(name, crystals):
    """The layers of atoms, crystal by crystal, in cells that are not merged if the network can do so."""
    backbone = load(name).backbone
    rows = []
    for row in range(len(crystals)):
        store = kind(backbone.graph).in_memory(crystals.select([row]), backbone.graph)
        seen = []
        layers = [layer.module for layer in backbone.layers().values() if layer.axis == "atoms"]
        hooks = [
            module.register_forward_hook(
                lambda _, __, out, seen=seen: seen.append(out[0] if isinstance(out, tuple) else out)
            )
            for module in layers
        ]
        with torch.no_grad():
            backbone(store.batch(np.array([0])))
        for hook in hooks:
            hook.remove()
        states = torch.cat(seen, dim=1).numpy()
        rows.append(states[store.place] if hasattr(store, "place") else states)
    return np.concatenate(rows)


@pytest.mark.parametrize("name", ["cgcnn-fe", "alignn-s-fe", "sevennet-0"])
@pytest.mark.usefixtures("small")
def test_numbers_are_those_of_the_layers(name, crystals, mine, tlzoo, tmp_path):
    if name == "sevennet-0":
        pytest.importorskip("sevenn")
    answer = tlzoo("embed", name, mine, "--atoms", "-o", tmp_path / "table")
    assert answer.code == 0, answer.err
    ids, found = joined(tmp_path / "table")
    assert ids.tolist() == crystals.ids.tolist()
    expected = plain(name, crystals)
    assert len(expected) == len(found) == crystals.offsets[-1]
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max(), rtol=2e-3)
    facts = f"{COUNT} crystals ({COUNT} of them now), {len(found)} atoms, {found.shape[1]} numbers each"
    assert answer.out.startswith(f"{facts} → ")
    energies = [shard.energies for shard in AtomTable.open(tmp_path / "table").read()]
    if name != "sevennet-0":
        assert energies == [None] * 4
        return
    per_atom = load(name).predict(crystals)["energy"]
    np.testing.assert_allclose(np.concatenate(energies) / crystals.num_atoms, per_atom, atol=1e-4)


@pytest.mark.usefixtures("small")
def test_one_layer(crystals, mine, tlzoo, tmp_path):
    answer = tlzoo("embed", "cgcnn-fe", mine, "--atoms", "--layer", "conv.1", "-o", tmp_path / "table")
    assert answer.code == 0, answer.err
    width = load("cgcnn-fe").backbone.dim
    expected = plain("cgcnn-fe", crystals)[:, 2 * width : 3 * width]
    np.testing.assert_allclose(joined(tmp_path / "table")[1], expected, atol=5e-3, rtol=2e-3)


@pytest.mark.usefixtures("small")
def test_whitened(crystals, mine, tlzoo, tmp_path):
    answer = tlzoo("embed", "cgcnn-fe", mine, "--atoms", "--whiten", 6, "-o", tmp_path / "table")
    assert answer.code == 0, answer.err
    assert "of the variance of 512 numbers is kept" in answer.out
    _, found = joined(tmp_path / "table")
    # fitted to all there are, as they are few
    np.testing.assert_allclose(found.astype(float).T @ found / len(found), np.eye(6), atol=0.01)
    whitening = Whitening.load(tmp_path / "table" / "whitening.safetensors")
    np.testing.assert_allclose(found, whitening.apply(plain("cgcnn-fe", crystals)), atol=5e-3, rtol=2e-3)


@pytest.mark.usefixtures("small")
def test_interrupted_equals_straight(mine, tlzoo, tmp_path, monkeypatch):
    command = ["embed", "cgcnn-fe", mine, "semiconductors", "--atoms", "--whiten", 5, "-o"]
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert tlzoo(*command, straight, "--jobs", 1).code == 0
    write = atom_embedding.AtomShards.write

    def interrupted(self, number, table):
        if number == 3:
            raise KeyboardInterrupt
        write(self, number, table)

    with monkeypatch.context() as patch:
        patch.setattr(atom_embedding.AtomShards, "write", interrupted)
        answer = tlzoo(*command, broken, "--jobs", 1)
    assert answer.code == 2
    assert answer.err.endswith(f"stopped. What is done is in {broken}; the same command goes on from there\n")
    done = sorted((broken / "shards").glob("*.parquet"))
    assert 1 <= len(done) < len(list((straight / "shards").glob("*.parquet")))
    assert not (broken / "table.json").exists()
    before = [path.stat().st_mtime_ns for path in done]
    # however many processes go on with it
    answer = tlzoo(*command, broken, "--jobs", 2)
    assert answer.code == 0, answer.err
    assert [path.stat().st_mtime_ns for path in done] == before
    # products of matrices depend on where in memory a process has them, in the last bit
    for resumed, whole in zip(joined(broken), joined(straight), strict=True):
        if resumed.dtype == object:
            assert resumed.tolist() == whole.tolist()
        else:
            np.testing.assert_allclose(resumed, whole, rtol=2e-3, atol=1e-4)
    there = contents(broken)
    answer = tlzoo(*command, broken)
    assert (answer.code, "(all done before)" in answer.out) == (0, True)
    assert contents(broken) == there


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["cgcnn-fe", "{mine}", "--whiten", "4", "-o", "x.csv"], "--whiten goes with --atoms"),
            (["cgcnn-fe", "{mine}", "--jobs", "2", "-o", "x.csv"], "--jobs goes with --atoms"),
            (["descriptors", "{mine}", "--atoms", "-o", "x"], "descriptors says nothing of single atoms"),
            (
                ["cgcnn-fe", "{mine}", "--atoms", "--layer", "head.out", "-o", "x"],
                "no layer of atoms 'head.out'; there are",
            ),
            (
                ["cgcnn-fe", "{mine}", "--atoms", "--whiten", "900", "-o", "x"],
                "from 1 to 512, the numbers of",
            ),
            (["cgcnn-fe", "nowhere", "--atoms", "-o", "x"], "nowhere does not exist"),
            (["cgcnn-fe", "{mine}", "--atoms", "--jobs", "0", "-o", "x"], "--jobs must be at least 1, got 0"),
            (["cgcnn-fe", "{mine}", "--atoms", "-o", "x.csv"], "--atoms writes a folder, and x.csv would be"),
        ],
    )
    def test_before_anything_is_written(self, arguments, message, mine, tlzoo, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        answer = tlzoo("embed", *(part.format(mine=mine) for part in arguments))
        assert answer.code == 2
        assert message in answer.err
        assert not list(tmp_path.iterdir())

    def test_other_files(self, mine, tlzoo, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        answer = tlzoo("embed", "cgcnn-fe", mine, "--atoms", "-o", tmp_path)
        assert answer.code == 2
        assert f"{tmp_path} holds other files; choose another -o" in answer.err
        answer = tlzoo("embed", "cgcnn-fe", mine, "--atoms", "-o", tmp_path / "notes.txt")
        assert answer.code == 2
        assert "cannot be made: Not a directory; choose another -o" in answer.err
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    def test_another_model_or_other_crystals(self, crystals, tlzoo, tmp_path):
        path, folder = tmp_path / "some.parquet", tmp_path / "table"
        crystals.select(np.arange(3)).write_parquet(path)
        assert tlzoo("embed", "cgcnn-fe", path, "--atoms", "-o", folder).code == 0
        before = contents(folder)
        for model, rows, told in (
            ("cgcnn-bg", 3, "model.name: 'cgcnn-fe' → 'cgcnn-bg'"),
            ("cgcnn-fe", 2, "inputs"),
        ):
            crystals.select(np.arange(rows)).write_parquet(path)
            answer = tlzoo("embed", model, path, "--atoms", "-o", folder)
            assert answer.code == 2
            assert f"{folder} holds another table; choose another -o, or delete it:" in answer.err
            assert told in answer.err
        assert contents(folder) == before

    def test_crystals_that_cannot_be_embedded(self, crystals, tlzoo, tmp_path):
        numbers = crystals.numbers.copy()
        numbers[crystals.offsets[1]] = 118
        lattice = crystals.lattice.copy()
        lattice[2] = 40 * np.eye(3)
        first = crystals.offsets[2] + 1
        some = replace(crystals, numbers=numbers, lattice=lattice).select(np.arange(4))
        one = Crystals(
            some.ids,
            some.lattice,
            np.array([*some.offsets[:3], some.offsets[2] + 1, some.offsets[2] + 1 + some.num_atoms[3]]),
            np.concatenate([some.numbers[:first], some.numbers[some.offsets[3] :]]),
            np.concatenate([some.frac_coords[:first], some.frac_coords[some.offsets[3] :]]),
        )
        path = tmp_path / "bad.parquet"
        one.write_parquet(path)
        command = ["embed", "cgcnn-fe", path, "--atoms", "-o", tmp_path / "table"]
        answer = tlzoo(*command)
        assert answer.code == 2
        assert answer.err.startswith("tlzoo: 2 cannot be embedded:\n  ")
        assert "Og" in answer.err
        assert "correct them, or leave them out with --skip-bad" in answer.err
        assert not (tmp_path / "table" / "table.json").exists()
        answer = tlzoo(*command, "--skip-bad")
        assert answer.code == 0
        assert answer.err.startswith("tlzoo: left out: 2 cannot be embedded:\n  ")
        table = AtomTable.open(tmp_path / "table")
        assert table.holds(one).tolist() == [True, False, False, True]
        left_out = json.loads((table.folder / "table.json").read_text())["left_out"]
        assert set(left_out) == {str(one.ids[1]), str(one.ids[2])}
        assert len(atom_table.hashes(one)) == 4

    def test_a_shard_of_which_nothing_is_left(self, crystals, mine, tlzoo, tmp_path):
        path, folder = tmp_path / "og.parquet", tmp_path / "table"
        one = crystals.select([0])
        replace(one, ids=np.array(["og"], object), numbers=np.full_like(one.numbers, 118)).write_parquet(path)
        answer = tlzoo("embed", "cgcnn-fe", path, mine, "--atoms", "--skip-bad", "-o", folder)
        assert answer.code == 0, answer.err
        assert AtomTable.open(folder).holds(crystals).all()
        assert set(json.loads((folder / "table.json").read_text())["left_out"]) == {"og"}
        answer = tlzoo("embed", "cgcnn-fe", path, "--atoms", "--skip-bad", "-o", tmp_path / "none")
        assert answer.code == 2
        assert answer.err.endswith(f"{tmp_path / 'none'} holds no crystal: all were left out\n")


@pytest.mark.usefixtures("quick", "unchecked")
def test_a_student_of_it(config, few, tlzoo, tmp_path):
    answer = tlzoo("embed", "cgcnn-fe", few, "--atoms", "--whiten", 4, "-o", tmp_path / "table")
    assert answer.code == 0, answer.err
    changes = {
        "model.distillation": {"class_path": "Distillation"},
        "data.teacher": str(tmp_path / "table"),
        "trainer.max_epochs": 2,
    }
    answer = tlzoo("fit", "--config", config(changes), "--run_dir", tmp_path / "run")
    assert answer.code == 0, answer.err
    said = "0 of the training crystals have no label but the features of their atoms by cgcnn-fe"
    assert said in (tmp_path / "run" / "split.json").read_text()
    table = AtomTable.open(tmp_path / "table")
    shutil.rmtree(tmp_path / "table")
    assert tlzoo("test", tmp_path / "run").code == 0
    rights = ["--description", "x", "--citation", "Somebody (2024)", "--licence", "CC0"]
    answer = tlzoo("zoo", "publish", tmp_path / "run", "student", *rights, "--folder", tmp_path / "cards")
    assert answer.code == 0, answer.err
    teacher = Card.read(tmp_path / "cards" / "student.json").teacher
    assert teacher.name == "cgcnn-fe"
    assert teacher.sha256 == load("cgcnn-fe").card["sha256"]
    assert teacher.learned == "formation_energy of pretraining"
    assert (teacher.table, teacher.crystals) == (table.sha256, 16)
    assert load(tmp_path / "run").card["teacher"]["table"] == table.sha256
    shown = " ".join(answer.out.split())
    assert (
        f"teacher cgcnn-fe (SHA-256 {teacher.sha256[:12]}…), which has learned formation_energy of" in shown
    )
    assert f"what it says of the atoms of 16 training crystals (SHA-256 {table.sha256[:12]}…)" in shown
