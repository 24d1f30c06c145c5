"""The task: what it refuses, its learning rates, its modes, what its resume files say."""

import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from tlzoo import zoo
from tlzoo.backbones import CGCNN
from tlzoo.errors import UserError
from tlzoo.freezing import LPFT, LastLayer, LoRA, Only, ThreeBody
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.heads import Regression
from tlzoo.training.task import Task


def task(**options):
    return Task(CGCNN(dim=8, depth=1), Regression(hidden=(8,)), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": 1.0}, "warmup is a part of all steps, 0 or more and less than 1, got 1.0"),
        ({"warmup": -0.1}, "warmup is a part of all steps, 0 or more and less than 1, got -0.1"),
        ({"keep": "first"}, "keep must be best or last"),
        ({"layer_decay": 0.0}, "layer_decay must be more than 0 and at most 1, got 0.0"),
        ({"layer_decay": 1.5}, "layer_decay must be more than 0 and at most 1, got 1.5"),
        ({"l2_sp": 0.0}, "l2_sp must be positive, got 0.0; leave it out"),
        (
            {"l2_sp": 0.1},
            r"this CGCNN begins anew; start from a trained one \(class_path",
        ),
        (
            {"freezing": LPFT(then=Only(patterns=("gcn.*",)))},
            r"no group matches 'gcn\.\*'; there are: embed, conv.0, head",
        ),
        ({"freezing": LoRA(patterns=("head.*",))}, r"no group matches 'head\.\*'; there are: embed, conv.0$"),
        ({"freezing": ThreeBody()}, "this backbone has no three-body part"),
        (
            {"freezing": Only(patterns=("gcn.*",))},
            r"no group matches 'gcn\.\*'; there are: embed, conv.0, head",
        ),
    ],
)
def test_it_refuses_at_the_door(options, message):
    with pytest.raises(UserError, match=message):
        task(**options)


def test_adapters_and_l2_sp_exclude_each_other():
    start = zoo.backbone("cgcnn-fe")
    with pytest.raises(UserError, match="LoRA leaves the weights at their start"):
        Task(start, Regression(), freezing=LPFT(then=LoRA()), l2_sp=0.1)


def test_groups_run_from_input_to_output():
    assert list(task().groups()) == ["embed", "conv.0", "head.hidden", "head.out"]


def test_one_cycle_warms_up_and_ends_at_zero():
    rates = [task(warmup=0.2).rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 20)
    assert rates[19] == rates[20] == 1
    assert all(a < b for a, b in pairwise(rates[:20]))
    assert all(a > b for a, b in pairwise(rates[20:]))
    assert rates[60] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0, abs=1e-12)


def test_other_schedules():
    assert [task(schedule="constant").rate(step, 10) for step in (0, 5, 10)] == [1, 1, 1]
    cosine = task(schedule="cosine", warmup=0.5)
    assert [cosine.rate(step, 10) for step in (0, 5, 10)] == pytest.approx([1, 0.5, 0])
    # a run that goes on beyond its plan does not learn backwards
    assert cosine.rate(20, 10) == pytest.approx(0)


def test_train_leaves_frozen_parts_in_eval():
    model = task(freezing=LastLayer())
    model._freeze(0)
    model.train()
    assert model.training
    # mean pooling is in no group: it has nothing that could change, and one mode only
    assert {name for name, part in model.backbone.named_modules() if part.training} == {"", "convs", "pool"}
    assert not model.backbone.pool.state_dict()
    assert [p.requires_grad for p in model.backbone.parameters()] == [False] * len(
        list(model.backbone.parameters())
    )
    assert sum(p.requires_grad for p in model.head.parameters()) == 2
    model.eval()
    assert not any(part.training for part in model.modules())


def test_a_resume_file_says_what_its_weights_belong_to():
    checkpoint = {}
    task().on_save_checkpoint(checkpoint)
    task().on_load_checkpoint(checkpoint)
    other = Task(CGCNN(dim=8, depth=1, graph=GraphOptions(neighbours=8)), Regression(hidden=(8,), loss="mse"))
    with pytest.raises(UserError) as caught:
        other.on_load_checkpoint(checkpoint)
    assert str(caught.value) == (
        "the checkpoint was made by another model: backbone.init_args.graph.neighbours: 12 → 8; "
        "head.init_args.loss: 'l1' → 'mse'. Use the configuration it was made with"
    )


def test_the_optimizer_has_a_group_per_named_group():
    model = task(
        layer_decay=0.5, optimizer=lambda groups: torch.optim.AdamW(groups, lr=0.1), schedule="constant"
    )

    class Trainer:
        estimated_stepping_batches = 10

    model._trainer = Trainer()
    groups = model.configure_optimizers()["optimizer"].param_groups
    assert [(group["name"], group["lr"]) for group in groups] == [
        ("embed", pytest.approx(0.025)),
        ("conv.0", pytest.approx(0.05)),
        ("head.hidden", 0.1),
        ("head.out", 0.1),
    ]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("options", "fused"), [({}, True), ({"fused": False}, False), ({"foreach": True}, None)]
)
def test_adam_is_fused_unless_told_otherwise(options, fused):
    model = task(optimizer=lambda groups: torch.optim.AdamW(groups, **options), schedule="constant")

    class Trainer:
        estimated_stepping_batches = 10

    model._trainer = Trainer()
    groups = model.configure_optimizers()["optimizer"].param_groups
    assert {group["fused"] for group in groups} == {fused}


COMPILED = """
import numpy as np, torch
from tlzoo.backbones import CGCNN
from tlzoo.data import named
from tlzoo.descriptors.stores import batch_of
from tlzoo.heads import Regression
from tlzoo.training.task import Task

tasks = []
for compiled in (False, True):
    torch.manual_seed(0)
    tasks.append(Task(CGCNN(dim=8, depth=1), Regression(hidden=(8,)), compiled=compiled))
plain, compiled = (task.backbone for task in tasks)
assert plain.state_dict().keys() == compiled.state_dict().keys()
for size in (6, 9, 14):
    batch = batch_of(named.load("semiconductors").select(np.arange(size)), plain.graph)
    embeddings = [backbone(batch) for backbone in (plain, compiled)]
    torch.testing.assert_close(*embeddings)
    for embedding in embeddings:
        embedding.square().sum().backward()
for one, other in zip(plain.parameters(), compiled.parameters()):
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)
assert torch._dynamo.utils.counters["stats"]["calls_captured"] > 10
"""


@pytest.mark.slow
def test_a_compiled_backbone_computes_the_same():
    # in a process of its own: the compiler does not know the checks of shapes that tests put around layers
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_another_optimizer_is_left_as_it_is():
    model = task(optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1), schedule="constant")

    class Trainer:
        estimated_stepping_batches = 10

    model._trainer = Trainer()
    groups = model.configure_optimizers()["optimizer"].param_groups
    assert {group["fused"] for group in groups} == {None}
