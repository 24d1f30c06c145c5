"""Memory that runs out: batches in parts give the same results and derivatives; nothing counts twice."""

import logging

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from tlzoo.backbones import ALIGNN, CGCNN
from tlzoo.data import named
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import Random
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.parts import num_rows, parts
from tlzoo.graphs.row_budget import RowBudget
from tlzoo.heads import Regression
from tlzoo.training.run import predict_part
from tlzoo.training.task import Task

CPU_MESSAGE = "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried …"


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(24))


@pytest.fixture(params=["cgcnn", "alignn"])
def backbone(request):
    torch.manual_seed(0)
    if request.param == "cgcnn":
        return CGCNN(dim=8, depth=2)
    return ALIGNN(dim=8, alignn_layers=1, gcn_layers=1)


class Small(CGCNN):
    """A network on a device that has memory for so many rows, in the forward or in the backward pass."""

    def __init__(self, *, rows=10**9, backward=False, norm="batch"):
        super().__init__(dim=8, depth=1, norm=norm, graph=GraphOptions(merge_tolerance=0))
        self.rows, self.backward, self.failures = rows, backward, 0

    def forward(self, batch):
        def fail(_gradient=None):
            if num_rows(batch) > self.rows:
                self.failures += 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

        if not (self.backward and torch.is_grad_enabled()):
            fail()
        embedding = super().forward(batch)
        if embedding.requires_grad:
            embedding.register_hook(fail)
        return embedding


def test_parts_are_computed_once_memory_ran_out(crystals, backbone, caplog):
    backbone.eval()
    batch = batch_of(crystals, backbone.graph)
    rows = num_rows(batch)
    computed = []

    def compute(part):
        if num_rows(part) > rows // 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        computed.append(part[keys.NUM_CRYSTALS])
        return backbone(part)

    budget = RowBudget()
    with torch.no_grad(), caplog.at_level(logging.WARNING):
        torch.testing.assert_close(budget.apply(compute, batch), backbone(batch))
    assert sum(computed) == len(crystals)
    assert budget.rows == rows // 4
    assert [record.message for record in caplog.records] == [
        f"out of memory with a batch of 24 crystals, {rows} rows: from here on at most {rows // n} rows are "
        f"computed at a time; smaller batches (data.max_rows: {rows // n}) are faster than batches in parts"
        for n in (2, 4)
    ]


def test_derivatives_are_those_of_the_whole_batch(crystals, backbone):
    backbone.eval()  # batch normalisation sees parts by themselves
    batch = batch_of(crystals, backbone.graph)
    weights = torch.randn(24, 1)

    def derivatives(embedding):
        backbone.zero_grad()
        (embedding * weights).sum().backward()
        return [p.grad.clone() for p in backbone.parameters() if p.grad is not None]

    whole = derivatives(backbone(batch))
    budget = RowBudget(num_rows(batch) // 5)
    assert len(parts(batch, budget.rows)) > 4
    in_parts = derivatives(budget.apply_recomputing(backbone, batch, backbone))
    for one, other in zip(whole, in_parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_nothing_of_a_part_is_kept_for_its_derivatives(crystals, backbone):
    batch = batch_of(crystals, backbone.graph)

    def kept(budget):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            RowBudget(budget).apply_recomputing(backbone, batch, backbone)
        return sum(sizes)

    assert kept(num_rows(batch) // 5) < 0.01 * kept(None)


def test_running_statistics_take_in_each_part_once(crystals, backbone):
    batch = batch_of(crystals, backbone.graph)
    budget = RowBudget(num_rows(batch) // 3)
    start = {name: value.clone() for name, value in backbone.state_dict().items()}
    for part in parts(batch, budget.rows):
        backbone(part)
    wanted = {name: value.clone() for name, value in backbone.named_buffers() if "running" in name}
    assert wanted
    backbone.load_state_dict(start)
    budget.apply_recomputing(backbone, batch, backbone).sum().backward()
    for name, value in wanted.items():
        torch.testing.assert_close(backbone.get_buffer(name), value)
    assert all(m.momentum > 0 for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm1d))


@pytest.mark.parametrize(
    ("kind", "text", "caught"),
    [
        (torch.OutOfMemoryError, "anything", True),
        (RuntimeError, CPU_MESSAGE, True),
        (RuntimeError, "MPS backend out of memory (MPS allocated: 1 GB)", True),
        (RuntimeError, "mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_only_memory_is_caught(kind, text, caught, crystals, backbone):
    batch = batch_of(crystals, backbone.graph)
    failures = iter([kind(text)])

    def compute(part):
        for error in failures:
            raise error
        return torch.zeros(part[keys.NUM_CRYSTALS], 1)

    if caught:
        assert RowBudget().apply(compute, batch).shape == (24, 1)
    else:
        with pytest.raises(RuntimeError, match=text):
            RowBudget().apply(compute, batch)


def data_module(crystals, folder):
    return CrystalDataModule.from_crystals(
        crystals,
        targets=["band_gap"],
        batch_size=8,
        split=Random(val=6, test=4, keep_duplicates_together=False),
        cache_dir=str(folder),
    )


def trained(crystals, folder, budget=None, epochs=2, **options):
    """Train; return the task, the metrics of the last epoch and the predictions of the test part."""
    pl.seed_everything(0)
    task = Task(Small(**options), Regression(hidden=(8,)), schedule="constant")
    task.budget.rows = budget
    data = data_module(crystals, folder)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    trainer.fit(task, data)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return task, metrics, predict_part(task, data, "test")[0]


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_training_goes_on_as_if_it_had_known(backward, crystals, tmp_path):
    """After memory ran out, everything is as in a run that computes the same parts from the start."""
    rows = 100
    options = {"rows": rows, "backward": backward, "norm": "layer" if backward else "batch"}
    surprised, metrics, predicted = trained(crystals, tmp_path, **options)
    assert surprised.backbone.failures
    assert surprised.budget.rows <= rows
    known, wanted, expected = trained(crystals, tmp_path, budget=surprised.budget.rows, **options)
    assert known.backbone.failures == 0
    assert metrics == wanted
    np.testing.assert_array_equal(predicted, expected)
    for name, value in known.state_dict().items():
        assert torch.equal(value, surprised.state_dict()[name]), name


def test_parts_change_nothing_but_batch_statistics(crystals, tmp_path):
    """Without batch normalisation a run in parts learns what a run of whole batches learns."""
    whole, one, _ = trained(crystals, tmp_path, norm="layer", epochs=1)
    in_parts, other, _ = trained(crystals, tmp_path, norm="layer", budget=100, epochs=1)
    assert one == pytest.approx(other, rel=1e-4)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(in_parts.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_a_crystal_that_does_not_fit_is_an_error(crystals, tmp_path):
    with pytest.raises(UserError, match=r"out of memory with a single crystal of \d+ rows; use a smaller"):
        trained(crystals, tmp_path, rows=5)


def test_accumulated_gradients_leave_the_error_as_it_is(crystals, tmp_path):
    task = Task(Small(rows=5), Regression(hidden=(8,)))
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        accumulate_grad_batches=2,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with pytest.raises(torch.OutOfMemoryError):
        trainer.fit(task, data_module(crystals, tmp_path))
