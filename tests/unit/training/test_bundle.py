"""Several trainings as one: what each would be alone, in its own directory, whatever the others do."""

import json
import re
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch

from tlzoo.data import named
from tlzoo.errors import DivergedError, UserError
from tlzoo.training import fitting
from tlzoo.training.bundle import ENOUGH, MOST, Bundle, bundles, largest
from tlzoo.training.configuration import Configuration
from tlzoo.training.task import Task

pytestmark = pytest.mark.usefixtures("quick", "cache")

CGCNN = {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 2}}
MOMENTNET = {"class_path": "MomentNet", "init_args": {"dim": 8, "depth": 1}}
# A bias before a batch normalisation has no derivative but rounding, which AdamW makes steps of.
FREE = re.compile(r"backbone\.(bonds|angles)\.([14]\.bias|[25]\.running_mean)")
ALIGNN = {"class_path": "ALIGNN", "init_args": {"dim": 8, "alignn_layers": 1, "gcn_layers": 1}}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "mine.parquet"
    named.load("semiconductors").select(np.arange(60)).write_parquet(path)
    return str(path)


@pytest.fixture
def tree(source):
    """In fp64, where what differs by rounding alone stays near."""

    def made(rate=1e-2, seed=0, pooling="mean", backbone=CGCNN, *, trainer=None, **model):
        backbone = deepcopy(backbone)
        backbone["init_args"]["pooling"] = pooling
        return {
            "seed_everything": seed,
            "model": {
                "backbone": backbone,
                "head": {"class_path": "Regression", "init_args": {"hidden": [8]}},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": rate}},
                **model,
            },
            "data": {
                "source": source,
                "targets": ["band_gap"],
                "batch_size": 8,
                "split": {"class_path": "Random", "init_args": {"val": 0.2, "test": 0.2}},
            },
            "trainer": {
                "max_epochs": 3,
                "accelerator": "cpu",
                "precision": "64-true",
                "gradient_clip_val": 0.5,
                **(trainer or {}),
            },
        }

    return made


def freezing(name, **arguments):
    return {"freezing": {"class_path": name, "init_args": arguments}}


def trained(trees, folder, told=None):
    """Train all together; return the run directories."""
    trainings = [fitting.Planned.of(tree, folder / str(i)) for i, tree in enumerate(trees)]
    assert len({each.shape for each in trainings}) == 1
    assert trainings[0].shape is not None
    data = Configuration.parsed(trees[0]).build().data
    fitting.fit_together(trainings, data=[data] * len(trainings), told=told)
    return [each.config.run for each in trainings]


def assert_alike(run, other):
    """The same files, with the same numbers to rounding."""
    assert {path.name for path in run.path.iterdir()} == {path.name for path in other.path.iterdir()}
    curves, wanted = run.curves, other.curves
    assert list(curves) == list(wanted)
    assert len(curves) == len(wanted)
    # metrics are of float32
    np.testing.assert_allclose(curves, wanted, rtol=1e-5)
    ours, theirs = run.predicted(), other.predicted()
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-5)
    state, straight = (
        torch.load(each.last, weights_only=True)  # noqa: TID251 (our own)
        for each in (run, other)
    )
    assert state.keys() == straight.keys()
    assert state["loops"] == straight["loops"]
    assert state["callbacks"].keys() == straight["callbacks"].keys()
    for name in ("lr_schedulers", "global_step", "epoch", "spec"):
        assert state[name] == straight[name]
    steps, wanted_steps = (
        [float(s["step"]) for s in each["optimizer_states"][0]["state"].values()]
        for each in (state, straight)
    )
    assert steps == wanted_steps
    for name, values in state["state_dict"].items():
        assert values.untyped_storage().size() == values.numel() * values.element_size(), "of its own alone"
        near = 1e-3 if FREE.fullmatch(name) else 1e-5
        torch.testing.assert_close(values, straight["state_dict"][name], rtol=1e-5, atol=near)


@pytest.mark.parametrize("backbone", [CGCNN, MOMENTNET, ALIGNN], ids=["cgcnn", "momentnet", "alignn"])
def test_each_is_what_it_would_be_alone(tree, backbone, tmp_path):
    trees = [
        tree(1e-3, backbone=backbone),
        tree(1e-2, pooling="max", backbone=backbone, keep="last"),
        tree(3e-3, seed=1, pooling="attention", backbone=backbone, schedule="cosine"),
        tree(1e-2, seed=2, backbone=backbone, layer_decay=0.5),
    ]
    seen = []
    for run, alone in zip(trained(trees, tmp_path / "together", seen.append), trees, strict=True):
        assert_alike(run, fitting.fit(alone, run_dir=tmp_path / "alone" / run.path.name, quiet=True))
    assert sorted(seen) == sorted([*range(4)] * 3)


def test_what_is_frozen_differs(tree, tmp_path):
    trees = [
        tree(),
        tree(**freezing("NewHead")),
        tree(**freezing("Gradual", every=1)),
        tree(**freezing("LPFT", epochs=1)),
    ]
    for run, alone in zip(trained(trees, tmp_path / "together"), trees, strict=True):
        assert_alike(run, fitting.fit(alone, run_dir=tmp_path / "alone" / run.path.name, quiet=True))


def test_one_that_diverges_leaves_the_others_alone(tree, tmp_path):
    wild = tree(1e200)
    trees = [tree(), wild, tree(3e-3, seed=1)]
    runs = trained(trees, tmp_path / "together")
    for i in (0, 2):
        assert_alike(runs[i], fitting.fit(trees[i], run_dir=tmp_path / "alone" / str(i), quiet=True))
    with pytest.raises(DivergedError):
        fitting.fit(wild, run_dir=tmp_path / "alone" / "1", quiet=True)
    assert {path.name for path in runs[1].path.iterdir()} == {
        path.name for path in (tmp_path / "alone" / "1").iterdir()
    }
    assert not runs[1].metrics


def test_if_all_diverge_none_has_a_model(tree, tmp_path):
    runs = trained([tree(1e200), tree(1e201)], tmp_path)
    assert [run.metrics for run in runs] == [{}, {}]


def test_what_was_interrupted_goes_on_alone(tree, tmp_path, monkeypatch):
    trees = [tree(), tree(3e-3, seed=1)]
    step = Bundle.training_step

    def stop(bundle, batch, index):
        if bundle.current_epoch == 2:
            raise KeyboardInterrupt
        return step(bundle, batch, index)

    monkeypatch.setattr(Bundle, "training_step", stop)
    with pytest.raises(UserError, match=r"^stopped. All finished epochs are in .*0/last.ckpt; the same"):
        trained(trees, tmp_path / "together")
    monkeypatch.undo()
    for i, each in enumerate(trees):
        run = fitting.fit(each, run_dir=tmp_path / "together" / str(i), quiet=True)
        assert_alike(run, fitting.fit(each, run_dir=tmp_path / "alone" / str(i), quiet=True))
    assert fitting.Planned.of(trees[0], tmp_path / "together" / "0").shape is None


def test_without_the_memory_each_is_trained_alone(tree, tmp_path, monkeypatch):
    trees = [tree(), tree(3e-3)]
    step = Bundle.training_step

    def too_much(bundle, batch, index):
        if bundle.current_epoch == 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return step(bundle, batch, index)

    monkeypatch.setattr(Bundle, "training_step", too_much)
    for run, each in zip(trained(trees, tmp_path / "together"), trees, strict=True):
        assert_alike(run, fitting.fit(each, run_dir=tmp_path / "alone" / run.path.name, quiet=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 2, "dropout": 0.1}}},
        {"backbone": {"class_path": "DescriptorMLP", "init_args": {"dim": 8, "depth": 1}}},
        {"head": {"class_path": "Regression", "init_args": {"dropout": 0.1}}},
        freezing("LoRA", rank=2),
        {"trainer": {"accumulate_grad_batches": 2}},
        {"trainer": {"precision": "bf16-mixed"}},
    ],
    ids=["dropout", "descriptors", "head", "lora", "accumulated", "precision"],
)
def test_what_goes_alone(tree, changes, tmp_path):
    made = tree(**{"backbone": CGCNN, **{k: v for k, v in changes.items() if k in ("backbone", "trainer")}})
    made["model"] |= {key: value for key, value in changes.items() if key not in ("trainer",)}
    assert fitting.Planned.of(made, tmp_path).shape is None


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}}}},
        {"model": {"head": {"class_path": "Gaussian", "init_args": {"hidden": [8]}}}},
        {"model": {"head": {"class_path": "Regression", "init_args": {"hidden": [4]}}}},
        {"data": {"batch_size": 4}},
        {"trainer": {"max_epochs": 4}},
    ],
)
def test_other_shapes_are_other_bundles(tree, changes, tmp_path):
    other = tree()
    for section, values in changes.items():
        other[section] = {**other[section], **values}
    first, second = (fitting.Planned.of(each, tmp_path).shape for each in (tree(), other))
    assert None not in (first, second)
    assert first != second


def test_other_heads_are_trained_together_too(tree, tmp_path):
    trees = [tree(rate) for rate in (1e-3, 1e-2)]
    for each in trees:
        each["model"]["head"] = {
            "class_path": "MultiProperty",
            "init_args": {"targets": ["band_gap"], "hidden": [8], "weighting": "uncertainty"},
        }
    for run, alone in zip(trained(trees, tmp_path / "together"), trees, strict=True):
        assert_alike(run, fitting.fit(alone, run_dir=tmp_path / "alone" / run.path.name, quiet=True))


def test_there_are_bundles_for_all_jobs():
    assert bundles(["a"] * 8, jobs=1, most=12) == [[*range(8)]]
    assert bundles(["a"] * 8, jobs=2, most=12) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert bundles(["a"] * 8, jobs=2, most=3) == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert bundles(["a"] * 2, jobs=8, most=12) == [[0], [1]]
    assert bundles(["a", "b", "a", "b"], jobs=2, most=12) == [[0, 2], [1, 3]]
    assert bundles([None, None], jobs=1, most=12) == [[0], [1]]


def test_batches_of_a_bundle_are_no_larger_than_one_may_be():
    assert largest(10.0, None) == MOST
    assert largest(ENOUGH / 4, None) == 4
    assert largest(3_000, 10_000) == 3
    assert largest(1e9, None) == 1


def test_the_time_is_shared(tree, tmp_path):
    runs = trained([tree(), tree(3e-3)], tmp_path)
    seconds = [json.loads(run.environment.read_text())["training_seconds"] for run in runs]
    assert seconds[0] == pytest.approx(seconds[1], rel=0.5)


def test_a_member_is_a_task_of_its_own(tree, tmp_path):
    """What follows a training sees its own trainer: metrics, optimiser, data."""
    trainings = [fitting.Planned.of(tree(rate), tmp_path / str(rate)) for rate in (1e-3, 1e-2)]
    assert all(type(each.experiment.task) is Task for each in trainings)
    fitting.fit_together(trainings, data=[trainings[0].experiment.data] * 2)
    rates = [each.config.run.curves["learning_rate"].iloc[0] for each in trainings]
    assert rates[1] == pytest.approx(10 * rates[0])
