"""What a student learns of a teacher: against a plain loop, in parts, and as a run."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tlzoo.backbones import ALIGNN, CGCNN, DescriptorMLP
from tlzoo.data import named
from tlzoo.data.atom_table import AtomTable
from tlzoo.data.atom_targets import AtomTargets
from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.graphs.parts import nothing
from tlzoo.heads import Regression
from tlzoo.model.trained import load
from tlzoo.testing import workbench
from tlzoo.training.configuration import Configuration
from tlzoo.training.distillation import Distillation
from tlzoo.training.task import Task

KNOWN = np.array([0, 2, 3, 5])
DIM = 5
VARIANCES = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.25])


@pytest.fixture(scope="module")
def crystals():
    """Those of most atoms."""
    known = named.load("semiconductors")
    return known.select(np.argsort(-known.num_atoms, kind="stable")[:6])


@pytest.fixture(scope="module")
def table(crystals, tmp_path_factory):
    """Four of six crystals."""
    folder = tmp_path_factory.mktemp("taught")
    return AtomTable.open(workbench.write_teacher(folder, crystals.select(KNOWN), dim=DIM))


def batch_of(crystals, table, options, tmp_path):
    store = GraphStore.in_memory(crystals, options)
    targets = AtomTargets.open(table, crystals, store, options, cache_dir=tmp_path)
    rows = np.arange(len(crystals))
    batch = store.batch(rows)
    batch[keys.ATOM_TARGETS] = targets.gathered(rows)
    batch[keys.TARGETS] = torch.full((len(rows), 1), torch.nan)
    return batch


def task_of(backbone, **options):
    task = Task(backbone, Regression(hidden=(8,)), distillation=Distillation(**options))
    task.head.fit(torch.arange(6.0)[:, None])
    task.distillation.bind(backbone, VARIANCES)
    return task


def states(backbone, layer, batch):
    """The output of a layer for all atoms of a batch."""
    seen = []
    found = backbone.layers()[layer].module
    with found.register_forward_hook(
        lambda _, __, out: seen.append(out[0] if isinstance(out, tuple) else out)
    ):
        backbone(batch)
    out = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    return out.detach().double().numpy()


def small(kind):
    if kind == "cgcnn":
        return CGCNN(dim=8, depth=2)
    return ALIGNN(dim=8, alignn_layers=1, gcn_layers=1)


@pytest.mark.parametrize(
    ("kind", "layer", "components", "power"),
    [
        ("cgcnn", None, None, 0.0),
        ("cgcnn", "conv.0", 3, 0.5),
        ("cgcnn", ["conv.1", "embed"], None, 1.0),
        ("alignn", None, 2, 0.0),
    ],
)
def test_the_error_is_that_of_each_atom_of_the_cell(
    crystals, table, tmp_path, kind, layer, components, power
):
    """A loop over the atoms of unmerged cells, whose states are those of the merged ones."""
    task = task_of(small(kind), layer=layer, components=components, power=power).eval()
    graph = task.backbone.graph
    batch = batch_of(crystals, table, graph, tmp_path)
    with torch.no_grad():
        raw, part = task._raw(batch)
    last = layer or {"cgcnn": "conv.1", "alignn": "gcn.0"}[kind]
    store = GraphStore.in_memory(crystals, graph)
    names = [last] if isinstance(last, str) else last
    h = np.concatenate([states(task.backbone, name, store.batch(np.arange(6))) for name in names], axis=1)
    count = VARIANCES[:components].double().numpy() ** power
    weight, bias = (
        p.detach().double().numpy() for p in (task.distillation.map.weight, task.distillation.map.bias)
    )
    (shard,) = table.read()
    errors = []
    for at, row in enumerate(KNOWN):
        said = shard.features[shard.offsets[at] : shard.offsets[at + 1]].astype(float)
        place = store.place[store.site_offsets[row] : store.site_offsets[row + 1]]
        total = 0.0
        for site, number in enumerate(place):
            # equal atoms are told apart by no network: the best of it is their mean
            mean = said[place == number, :components].mean(axis=0)
            assert len(said) == len(place), site
            off = weight @ h[store.atom_offsets[row] + number] + bias - mean
            total += np.average(np.square(off), weights=count)
        errors.append(total / len(place))
    assert part.crystals == 4
    assert float(part.error) == pytest.approx(np.mean(errors), rel=2e-3)
    assert raw.shape == (6, 1)
    torch.testing.assert_close(raw, task.head(task.backbone(batch)))


def test_in_parts_it_is_the_same(crystals, table, tmp_path):
    task = task_of(CGCNN(dim=8, depth=1, norm="layer"), weight=0.5)
    batch = batch_of(crystals, table, task.backbone.graph, tmp_path)
    batch[keys.TARGETS] = torch.arange(6.0)[:, None]
    gradients = []
    for rows in (None, 1):
        task.budget.rows = rows
        task.zero_grad()
        loss, own = task._loss(*task._raw(batch), batch)
        assert loss > own
        loss.backward()
        gradients.append([p.grad.clone() for p in task.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_the_map_is_fitted_to_crystals_that_the_teacher_knows(tmp_path):
    """However few of the training crystals these are."""
    crystals, graph = named.load("semiconductors"), CGCNN(dim=8, depth=1).graph
    crystals.write_parquet(tmp_path / "all.parquet")
    taught = workbench.write_teacher(tmp_path / "taught", crystals.select(np.arange(0, 203, 20)), dim=DIM)
    data = CrystalDataModule(str(tmp_path / "all.parquet"), ["band_gap"], teacher=str(taught))
    data.open_graphs(graph)
    for most, wanted in ((3, 3), (1000, data.table.taught[data.split.train].sum())):
        batches = list(data.taught_batches(most))
        assert sum(batch[keys.NUM_CRYSTALS] for batch in batches) == wanted > 2
        assert not any(batch[keys.ATOM_TARGETS].isnan().any() for batch in batches)


def test_what_the_teacher_has_not_seen_teaches_nothing(crystals, table, tmp_path):
    task = task_of(CGCNN(dim=8, depth=1, norm="layer"))
    batch = batch_of(crystals, table, task.backbone.graph, tmp_path)
    batch[keys.ATOM_TARGETS][:] = torch.nan
    for some in (batch, nothing(batch)):
        loss, _ = task._loss(*task._raw(some), some)
        assert loss == 0
        loss.backward()
        assert all(p.grad is None or not p.grad.any() for p in task.parameters())


class TestRefused:
    @pytest.mark.parametrize(
        ("backbone", "options", "message"),
        [
            (
                CGCNN(dim=8),
                {"layer": "conv.9"},
                r"no layer of atoms 'conv\.9'; there are: embed, conv\.0",
            ),
            (DescriptorMLP(dim=8), {}, "DescriptorMLP has no layer of atoms, which a teacher speaks of"),
        ],
    )
    def test_layers(self, backbone, options, message):
        with pytest.raises(UserError, match=message):
            Task(backbone, Regression(), distillation=Distillation(**options))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"power": 1.5}, r"the power of the variances must be from 0 to 1, got 1\.5"),
            ({"components": 0}, "the student must learn at least 1 component, got 0"),
            ({"components": 6}, "the teacher has 5 components, not 6"),
        ],
    )
    def test_components(self, options, message):
        with pytest.raises(UserError, match=message):
            Distillation(**options).bind(small("cgcnn"), VARIANCES)

    @pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
    def test_weights(self, weight):
        with pytest.raises(UserError, match=f"the weight of the teacher must be positive, got {weight}"):
            Distillation(weight=weight)


@pytest.mark.usefixtures("quick", "unchecked")
class TestRun:
    @pytest.fixture
    def taught(self, tmp_path):
        some = named.load("semiconductors").select(np.arange(24))
        return workbench.write_teacher(tmp_path / "taught", some, dim=DIM)

    def test_learned_beside_and_left_behind(self, config, tlzoo, taught, tmp_path):
        changes = {
            "model.distillation": {"class_path": "Distillation"},
            "model.optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.02}},
            "data.teacher": str(taught),
            "trainer.max_epochs": 12,
        }
        run = tmp_path / "run"
        answer = tlzoo("fit", "--config", config(changes), "--run_dir", run)
        assert answer.code == 0, answer.err
        table = pd.read_csv(run / "history.csv")
        # what the element alone says is soon understood
        assert table["train/teacher"].iloc[-1] < 0.5 < table["train/teacher"].iloc[0]
        assert table["val/teacher"].iloc[-1] < table["val/teacher"].iloc[0]
        assert table["train/loss"].iloc[-1] < 2
        assert not [name for name in load_file(run / "model.safetensors") if "map" in name]
        said = load(run).embed(named.load("semiconductors"), layer="teacher")
        assert said.shape == (203, 3 * DIM)
        predictions = pd.read_csv(run / "predictions.csv")
        # it is measured, and gone on with from elsewhere, without the table
        shutil.rmtree(taught)
        answer = tlzoo("test", run)
        assert answer.code == 0, answer.err
        after = pd.read_csv(run / "predictions.csv")
        pd.testing.assert_frame_equal(after[after["part"] != "test"], predictions)
        again = load(run).embed(named.load("semiconductors"), layer="teacher")
        np.testing.assert_array_equal(again, said)
        answer = tlzoo("test", run, "--trust")
        assert answer.code == 0, answer.err

    def test_folds_say_what_the_first_of_them_says(self, config, tlzoo, taught, tmp_path):
        changes = {"model.distillation": {"class_path": "Distillation"}, "data.teacher": str(taught)}
        answer = tlzoo("fit", "--config", config(changes), "--run_dir", tmp_path / "run", "--folds", 2)
        assert answer.code == 0, answer.err
        some = named.load("semiconductors").select(np.arange(3))
        said = [load(tmp_path / name).embed(some, layer="teacher") for name in ("run", "run/fold-1")]
        np.testing.assert_array_equal(*said)

    def test_validation_crystals_that_the_teacher_has_not_seen(self, config, tlzoo, tmp_path):
        """Nothing is said of them, not even that it is no number."""
        run, some = tmp_path / "run", tmp_path / "some"
        data = Configuration.parsed([f"--config={config({})}", f"--run_dir={run}"]).build().data
        workbench.write_teacher(some, data.crystals.select(data.split.train), dim=DIM)
        changes = {"model.distillation": {"class_path": "Distillation"}, "data.teacher": str(some)}
        assert tlzoo("fit", "--config", config(changes), "--run_dir", run).code == 0
        table = pd.read_csv(run / "history.csv")
        assert table["train/teacher"].notna().all()
        assert "val/teacher" not in table

    def test_another_table_is_another_run(self, config, tlzoo, taught, tmp_path):
        changes = {"model.distillation": {"class_path": "Distillation"}, "data.teacher": str(taught)}
        path = config(changes)
        assert tlzoo("fit", "--config", path, "--run_dir", tmp_path / "run").code == 0
        shutil.rmtree(taught)
        workbench.write_teacher(taught, named.load("semiconductors").select(np.arange(24)), dim=DIM, seed=1)
        answer = tlzoo("fit", "--config", path, "--run_dir", tmp_path / "run")
        assert answer.code == 2
        assert "differs from the split of this configuration and data: the data changed" in answer.err

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("data.teacher", "data.teacher goes with model.distillation, which says how it is learned"),
            ("model.distillation", "model.distillation goes with data.teacher, which says what is to be"),
        ],
    )
    def test_one_without_the_other(self, config, tlzoo, taught, tmp_path, given, message):
        value = {"data.teacher": str(taught), "model.distillation": {"class_path": "Distillation"}}[given]
        answer = tlzoo("fit", "--config", config({given: value}), "--run_dir", tmp_path / "run")
        assert answer.code == 2
        assert message in answer.err
