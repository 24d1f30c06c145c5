"""What a student says of its teacher: the map against its definition, the layer against plain loops."""

import dataclasses
import json
import re
import shutil
from statistics import fmean, pstdev

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from safetensors.torch import save

from maintenance.teacher_maps import STARTS
from tlzoo.backbones import ALIGNN, CGCNN
from tlzoo.cards import library
from tlzoo.cards.beside import Beside, files
from tlzoo.cards.card import Card
from tlzoo.crystals import SYMBOLS
from tlzoo.data import atom_table, named
from tlzoo.data.atom_targets import AtomTargets, collected
from tlzoo.data.whitening import Whitening
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.heads import Regression
from tlzoo.model import checkpoint
from tlzoo.model.teacher_map import RIDGE, STEPS, TeacherMap, shared_numbers
from tlzoo.model.trained import Model, load
from tlzoo.nn.outputs import outputs
from tlzoo.testing import workbench
from tlzoo.transfer.features.layers import source

ZOO = library.repository() / "checkpoints"
TAUGHT = [name for name in library.names(ZOO) if Card.read(ZOO / f"{name}.json").teacher_map]
DIM = 5


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(12))


@pytest.fixture(scope="module", params=["cgcnn", "alignn"])
def backbone(request, crystals):
    torch.manual_seed(0)
    kinds = {
        "cgcnn": lambda: CGCNN(dim=6, depth=2),
        "alignn": lambda: ALIGNN(dim=6, alignn_layers=1, gcn_layers=1),
    }
    network = kinds[request.param]()
    batch = batch_of(crystals, network.graph)
    with torch.no_grad():
        for _ in range(20):
            network.train()(batch)
    return network.eval()


@pytest.fixture(scope="module")
def table(crystals, tmp_path_factory):
    """Ten of the twelve crystals; equal atoms have equal numbers, whichever stands for them."""
    some, folder = crystals.select(np.arange(10)), tmp_path_factory.mktemp("teacher") / "table"
    workbench.write_teacher(folder, some, dim=DIM)
    numbers = np.random.default_rng(0).normal(size=(len(SYMBOLS), DIM))[some.numbers]
    shard = folder / "shards" / "00000.parquet"
    atom_table.write_shard(shard, some.ids, atom_table.hashes(some), some.num_atoms, numbers)
    return atom_table.finish(folder, DIM)


def batches(crystals, table, options):
    store = GraphStore.in_memory(crystals, options)
    targets = AtomTargets(store.atom_offsets, collected(table, crystals, store))
    for rows in (np.arange(5), np.arange(5, len(crystals))):
        batch = store.batch(rows)
        batch[keys.ATOM_TARGETS] = targets.gathered(rows)
        yield batch


def atoms(backbone, crystals):
    """The states of every atom of each cell, none merged with others."""
    graph = dataclasses.replace(backbone.graph, merge_tolerance=0)
    layers = [layer.module for layer in backbone.state_layers().values()]
    for row in range(len(crystals)):
        with torch.inference_mode(), outputs(layers) as seen:
            backbone(batch_of(crystals.select([row]), graph))
        yield torch.cat([seen[layer] for layer in layers], dim=1).double().numpy()


def whitened(kept=4):
    rng = np.random.default_rng(0)
    return Whitening.fit((rng.normal(size=(200, DIM)) @ rng.normal(size=(DIM, 7))).astype(np.float32), kept)


@pytest.mark.parametrize("how", [None, whitened(DIM)], ids=["own", "whitened"])
def test_it_is_the_ridge_that_fits_best(backbone, crystals, table, how):
    """Against a regression with a row for each atom of the cells that the teacher knows."""
    found = TeacherMap.fit(backbone, batches(crystals, table, backbone.graph), how)
    (shard,) = table.read()
    states = np.concatenate(list(atoms(backbone, crystals.select(np.arange(10)))))
    z = (states - states.mean(axis=0)) / np.where(states.std(axis=0) > 1e-6, states.std(axis=0), np.inf)
    t = shard.features.astype(np.float64)
    own = (t - t.mean(axis=0)) / t.std(axis=0) if how is None else (t - t.mean(axis=0)) @ how.back
    rows = np.sqrt(RIDGE * len(z)) * np.eye(z.shape[1])
    wanted, *_ = np.linalg.lstsq(
        np.concatenate([z, rows]), np.concatenate([own, np.zeros((len(rows), own.shape[1]))]), rcond=None
    )
    said = z @ wanted
    # all that is said, as few independent numbers need no more components
    np.testing.assert_allclose(
        found(torch.from_numpy(states).float()), said, rtol=1e-2, atol=1e-2 * said.std()
    )
    np.testing.assert_allclose(found.numbers @ found.numbers.T, np.eye(len(found.numbers)), atol=1e-4)
    # another student's components say as much of it as they can
    some = found.numbers[:2]
    other = TeacherMap.fit(backbone, batches(crystals, table, backbone.graph), how, numbers=some)
    both = said @ some.double().numpy().T @ some.double().numpy()
    np.testing.assert_allclose(
        other(torch.from_numpy(states).float()), both, rtol=1e-2, atol=1e-2 * said.std()
    )


def test_the_layer_is_mean_deviation_and_maximum(backbone, crystals, table, tmp_path):
    """Against loops over crystals, atoms and numbers, with a row for every atom."""
    model = stored(backbone, crystals, table, tmp_path)
    assert model.layers.index("teacher") == model.layers.index("states") + 1
    found = model.embed(crystals, layer="teacher")
    assert found.shape == (12, 3 * DIM) == (12, model.widths["teacher"])
    for row, states in enumerate(atoms(backbone, crystals.select(np.arange(3)))):
        said = model.teacher_map(torch.from_numpy(states).float()).double().numpy().T.tolist()
        wanted = [*map(fmean, said), *map(pstdev, said), *map(max, said)]
        np.testing.assert_allclose(found[row], wanted, rtol=2e-3, atol=2e-3)


def stored(backbone, crystals, table, folder):
    head = Regression(hidden=(4,)).bind(backbone.out_dim).eval()
    head.fit(torch.tensor([[1.0], [2.0]]))
    found = TeacherMap.fit(backbone, batches(crystals, table, backbone.graph))
    checkpoint.save(folder / "net", backbone, head, {"targets": ["a"], "units": ["eV"]}, teacher_map=found)
    return load(folder / "net.safetensors")


def test_a_file_holds_it_in_steps(backbone, crystals, table, tmp_path):
    found = TeacherMap.fit(backbone, batches(crystals, table, backbone.graph))
    path = tmp_path / "net.teacher.safetensors"
    again = TeacherMap.parse(found.content(), path)
    torch.testing.assert_close((again.mean, again.scale), (found.mean, found.scale), rtol=0, atol=0)
    for one, other in ((again.weight, found.weight), (again.numbers, found.numbers)):
        assert (one - other).abs().max() <= 0.501 * other.abs().max() / STEPS
    assert again.content() == found.content()
    # or in two files
    numbers = shared_numbers(found.shared, path)
    apart = TeacherMap.parse(found.content(shared=True), path, numbers)
    assert apart.content() == found.content()
    with pytest.raises(UserError, match="is no map to the numbers of a teacher: it lacks numbers"):
        TeacherMap.parse(found.content(shared=True), path)
    with pytest.raises(UserError, match="does not hold the numbers of a teacher"):
        shared_numbers(found.content(shared=True), path)


def test_layers_stand_side_by_side(backbone, crystals, table, tmp_path):
    stored(backbone, crystals, table, tmp_path)
    of = source(str(tmp_path / "net.safetensors"))
    parts = of.activations(crystals, ["states", "teacher"])
    both = of.activations(crystals, ["states+teacher"])["states+teacher"]
    np.testing.assert_array_equal(both, np.concatenate([parts["states"], parts["teacher"]], axis=1))
    assert of.sizes("states+teacher") == [parts["states"].shape[1], 3 * DIM]
    model = load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(model.embed(crystals, layer="states+teacher"), both)
    np.testing.assert_array_equal(model.embed(crystals, layer="states+teacher+states"), both)
    assert model.embed([], layer="states+teacher").shape == (0, both.shape[1])
    columns = of.columns("states+teacher")
    assert len(columns) == both.shape[1]
    assert [columns[0], columns[-1]] == ["states.0", f"teacher.{3 * DIM - 1}"]
    with pytest.raises(UserError, match=r"^there is no layer 'teachr'; there are: embed.*, states, teacher"):
        of.check("states+teachr")


def test_what_the_teacher_does_not_know(backbone, crystals, table):
    strange = crystals.select([10, 11])
    assert TeacherMap.fit(backbone, list(batches(crystals, table, backbone.graph))[:0]) is None
    rows = GraphStore.in_memory(strange, backbone.graph)
    batch = rows.batch(np.arange(2))
    batch[keys.ATOM_TARGETS] = torch.full((len(batch[keys.NUMBERS]), DIM), torch.nan)
    assert TeacherMap.fit(backbone, [batch]) is None


class TestDamaged:
    @pytest.fixture
    def model(self, backbone, crystals, table, tmp_path):
        return stored(backbone, crystals, table, tmp_path)

    def test_deleted_there_is_no_such_layer(self, model, crystals, tmp_path, caplog):
        (tmp_path / "net.teacher.safetensors").unlink()
        again = load(tmp_path / "net.safetensors")
        assert "teacher" not in again.layers
        said = re.escape(str(tmp_path / "net.teacher.safetensors"))
        for layer in ("teacher", "states+teacher"):
            with pytest.raises(UserError, match=f"^there is no layer 'teacher': {said}, .* is not beside"):
                again.embed(crystals, layer=layer)
        # whoever asks for no layer hears that one is not there
        assert source(str(tmp_path / "net.safetensors")).default == "states"
        assert f"{tmp_path / 'net.teacher.safetensors'}, which the card names" in caplog.text
        np.testing.assert_array_equal(again.predict(crystals)["a"], model.predict(crystals)["a"])

    @pytest.mark.usefixtures("model")
    def test_changed(self, crystals, tmp_path):
        path = tmp_path / "net.teacher.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
        message = r"net\.teacher\.safetensors is not the file that the card describes: .* delete it: then "
        with pytest.raises(UserError, match=f"{message}there is no layer teacher"):
            load(tmp_path / "net.safetensors").embed(crystals, layer="teacher")

    def test_of_another_network(self, model, crystals, tmp_path):
        short = dataclasses.replace(
            model.teacher_map,
            mean=torch.zeros(3),
            scale=torch.ones(3),
            weight=torch.ones(3, len(model.teacher_map.numbers)),
        )
        rewritten(tmp_path, short.content())
        with pytest.raises(UserError, match=r"beside .* is that of another model; restore its card"):
            load(tmp_path / "net.safetensors").embed(crystals, layer="teacher")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda _: b"{}", "is no map to the numbers of a teacher"),
            (lambda content: content.replace(b'\\"format\\": 1', b'\\"format\\": 2'), "has format 2, this"),
            (lambda _: arrays(mean=torch.tensor(1.0)), "is damaged: its arrays do not belong together"),
            (lambda _: arrays(numbers=torch.ones(3)), "is damaged: its arrays do not belong together"),
            (lambda _: arrays(weight=torch.ones(2, 4)), "is damaged: its arrays do not belong together"),
        ],
    )
    @pytest.mark.usefixtures("model")
    def test_another_file(self, crystals, tmp_path, change, message):
        rewritten(tmp_path, change((tmp_path / "net.teacher.safetensors").read_bytes()))
        with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'net.teacher.safetensors'} {message}")):
            load(tmp_path / "net.safetensors").embed(crystals, layer="teacher")


def arrays(**others):
    """The content of a file for two states, three components and three numbers, some of it another one."""
    ones = {"mean": torch.ones(2), "scale": torch.ones(2), "weight": torch.ones(2, 3)}
    return save({**ones, "numbers": torch.eye(3), **others}, metadata={"tlzoo": json.dumps({"format": 1})})


def rewritten(folder, content):
    """Write another file, which the card describes."""
    path, card = folder / "net.teacher.safetensors", folder / "net.json"
    path.write_bytes(content)
    facts = json.loads(card.read_text())
    facts["teacher_map"] = Beside.describing(path.name, content).fields()
    card.write_text(json.dumps(facts))


class TestPublished:
    def test_there_are_some(self):
        assert set(STARTS) == set(TAUGHT), "call: python -m maintenance.teacher_maps"

    @pytest.mark.parametrize("name", TAUGHT)
    def test_cells_do_not_matter(self, name, crystals):
        model = load(ZOO / f"{name}.safetensors")
        turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        some = [crystals.structure(row) for row in range(3)]
        turned = [Structure(Lattice(s.lattice.matrix @ turn.T), s.species, s.frac_coords) for s in some]
        reversed_ = [Structure.from_sites(s.sites[::-1]) for s in some]
        wanted = model.embed(some, layer="teacher")
        assert np.median(np.ptp(wanted, axis=0)) > 0.1
        for other in (turned, reversed_, [s * (2, 1, 1) for s in some]):
            found = model.embed(other, layer="teacher")
            np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())

    @pytest.mark.parametrize("name", TAUGHT)
    def test_copied_with_its_file(self, name, crystals, tmp_path):
        for path in files(ZOO / f"{name}.safetensors"):
            shutil.copy(path, tmp_path)
        one, other = (load(folder / f"{name}.safetensors") for folder in (ZOO, tmp_path))
        some = crystals.select([0])
        np.testing.assert_array_equal(one.embed(some, layer="teacher"), other.embed(some, layer="teacher"))


def test_a_network_that_is_trained_further_does_not_claim_it(backbone, crystals, table, tmp_path):
    model = stored(backbone, crystals, table, tmp_path)
    checkpoint.save(tmp_path / "further", model.backbone, model.head, model.card)
    assert "teacher" not in load(tmp_path / "further.safetensors").layers
    # the same weights, stored anew with what is known of them
    known = checkpoint.further(tmp_path / "net.safetensors", model.card)
    checkpoint.save(tmp_path / "same", model.backbone, model.head, model.card, **known)
    again = load(tmp_path / "same.safetensors").embed(crystals, layer="teacher")
    np.testing.assert_array_equal(again, model.embed(crystals, layer="teacher"))


def test_nothing_is_claimed_of_a_model_without_files(backbone):
    model = Model(backbone, Regression().bind(backbone.out_dim), {"teacher_map": {"file": "x.safetensors"}})
    assert model.teacher_map is None
    assert "teacher" not in model.layers
