"""Frozen means frozen in real training: exactly the named groups change over two epochs, buffers included."""

import lightning.pytorch as pl
import pytest
import torch

from tlzoo.backbones import ALIGNN, CGCNN
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import Random
from tlzoo.freezing import LPFT, All, Gradual, LastLayer, NewHead, Only, ThreeBody, TwoBody
from tlzoo.heads import Regression
from tlzoo.training.task import Task

BACKBONES = {
    "cgcnn": lambda: CGCNN(dim=8, depth=2, dropout=0.1),
    "alignn": lambda: ALIGNN(dim=8, alignn_layers=1, gcn_layers=2, dropout=0.1),
}
HEAD = {"head.hidden", "head.out"}
# strategy, backbone: the groups that change
MOVING = {
    ("all", "cgcnn"): {"embed", "conv.0", "conv.1", *HEAD},
    ("all", "alignn"): {"embed", "alignn.0.twobody", "alignn.0.threebody", "gcn.0", "gcn.1", *HEAD},
    ("new-head", "cgcnn"): HEAD,
    ("new-head", "alignn"): HEAD,
    ("last-layer", "cgcnn"): {"head.out"},
    ("last-layer", "alignn"): {"head.out"},
    ("two-body", "cgcnn"): {"conv.0", "conv.1", *HEAD},
    ("two-body", "alignn"): {"alignn.0.twobody", "gcn.0", "gcn.1", *HEAD},
    ("three-body", "alignn"): {"alignn.0.threebody", *HEAD},
    ("gradual", "cgcnn"): {"conv.1", *HEAD},
    ("gradual", "alignn"): {"gcn.1", *HEAD},
    ("lp-ft", "cgcnn"): {"embed", "conv.0", "conv.1", *HEAD},
    ("lp-ft", "alignn"): {"embed", "alignn.0.twobody", "alignn.0.threebody", "gcn.0", "gcn.1", *HEAD},
    ("lp-ft-last", "cgcnn"): HEAD,
    ("only", "cgcnn"): {"embed", "head.out"},
    ("only", "alignn"): {"embed", "head.out"},
}
STRATEGIES = {
    "all": All(),
    "new-head": NewHead(),
    "last-layer": LastLayer(),
    "two-body": TwoBody(),
    "three-body": ThreeBody(),
    "gradual": Gradual(every=1),
    "lp-ft": LPFT(epochs=1),
    "lp-ft-last": LPFT(epochs=2),
    "only": Only(patterns=("embed", "*.out")),
}


@pytest.fixture
def data(few, cache):
    split = Random(val=4, test=4, keep_duplicates_together=False)
    return CrystalDataModule(str(few), targets=["band_gap"], split=split, batch_size=8)


def owners(task):
    """Group of every entry of the state dict; the fitted scaler belongs to none."""
    groups = {
        id(part): group for group, parts in task.groups().items() for m in parts for part in m.modules()
    }
    found = {}
    for path, module in task.named_modules():
        children = tuple(f"{name}." for name, _ in module.named_children())
        for key in module.state_dict():
            if not key.startswith(children):
                found[f"{path}.{key}"] = groups.get(id(module))
    return found


@pytest.mark.parametrize(("strategy", "backbone"), MOVING)
def test_exactly_the_named_groups_change(strategy, backbone, data, tmp_path):
    pl.seed_everything(0, verbose=False)
    task = Task(BACKBONES[backbone](), Regression(hidden=(8,), dropout=0.1), freezing=STRATEGIES[strategy])
    before = {key: value.clone() for key, value in task.state_dict().items()}
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(task, datamodule=data)

    owner = owners(task)
    assert owner.keys() == before.keys()
    changed = {key for key, value in task.state_dict().items() if not torch.equal(value, before[key])}
    assert {key for key in before if owner[key] is None} == {key for key in before if ".scaler." in key}
    moved = changed - {key for key in before if owner[key] is None}
    assert {owner[key] for key in moved} == MOVING[strategy, backbone]
    # what trains, trains as a whole: weights, biases and running statistics
    still = {key for key in before if owner[key] in MOVING[strategy, backbone]} - moved
    assert not {key for key in still if "running" in key or "tracked" in key or key.endswith("weight")}
