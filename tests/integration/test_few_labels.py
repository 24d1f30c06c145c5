"""Ways to fine-tune on few labels in real training: what they leave as it was, and what they store."""

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tlzoo as package
from tlzoo import zoo
from tlzoo.cards.library import locate
from tlzoo.data.intake import crystals_from
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import Random
from tlzoo.freezing import LPFT
from tlzoo.graphs import keys
from tlzoo.heads import MultiProperty, Regression
from tlzoo.testing import workbench
from tlzoo.training.task import Task

START = {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": "cgcnn-fe"}}
LORA = {"class_path": "LoRA", "init_args": {"rank": 2, "patterns": ["conv.*"]}}


@pytest.fixture
def data(few, cache):
    split = Random(val=4, test=4, keep_duplicates_together=False)
    return CrystalDataModule(str(few), targets=["band_gap"], split=split, batch_size=8)


def trained(task, data, folder, epochs=1):
    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    return task


def test_adapters_are_stored_in_the_weights(config, few, tmp_path):
    adam = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}}
    changes = {"model.backbone": START, "model.freezing": LORA, "model.optimizer": adam}
    run = workbench.fit(config(changes), tmp_path / "run")
    before, after = (load_file(path) for path in (locate("cgcnn-fe"), run / "model.safetensors"))
    names = {name for name in before if name.startswith("backbone.")}
    assert {name for name in after if name.startswith("backbone.")} == names
    changed = {name for name in names if not torch.equal(before[name], after[name])}
    assert changed == {name for name in names if before[name].ndim == 2 and ".convs." in name}
    for name in changed:
        assert int(torch.linalg.matrix_rank(after[name] - before[name], atol=1e-5)) == 2, name

    answers = workbench.run("test", run)
    assert answers.code == 0, answers.err
    table = pd.read_csv(run / "predictions.csv").set_index("id")
    assert set(table["part"]) == {"train", "val", "test"}
    said = package.load(str(run)).predict(crystals_from(str(few))).set_index("id")["band_gap"]
    np.testing.assert_allclose(said[table.index], table["prediction"], rtol=1e-5, atol=1e-6)


def test_l2_sp_holds_weights_near_their_start(data, tmp_path):
    def strayed(l2_sp):
        start = zoo.backbone("cgcnn-fe")
        before = [parameter.detach().clone() for parameter in start.parameters()]
        task = trained(Task(start, Regression(), l2_sp=l2_sp), data, tmp_path, epochs=6)
        decays = {group["name"]: group["weight_decay"] for group in task.optimizers().param_groups}
        assert {name for name, decay in decays.items() if decay == 0} == (
            {name for name in decays if not name.startswith("head.")} if l2_sp else set()
        )
        with torch.no_grad():
            return sum(float((p - b).square().sum()) for p, b in zip(start.parameters(), before, strict=True))

    free, loose, tight = (strayed(l2_sp) for l2_sp in (None, 0.1, 100.0))
    assert free > loose > 4 * tight > 0


def test_its_derivative_is_that_of_the_penalty():
    start = zoo.backbone("cgcnn-fe")
    task = Task(start, Regression(), l2_sp=0.3)
    before = [parameter.detach().clone() for parameter in start.parameters()]
    with torch.no_grad():
        for parameter in start.parameters():
            parameter.add_(torch.randn_like(parameter))
            parameter.grad = torch.ones_like(parameter)
    task.on_before_optimizer_step(None)
    for parameter, was in zip(start.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, 1 + 0.3 * (parameter.detach() - was))


def test_a_linear_head_starts_as_a_ridge_regression(data, tmp_path):
    task = Task(
        zoo.backbone("cgcnn-fe"),
        Regression(hidden=()),
        freezing=LPFT(epochs=1),
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.0),
    )
    trained(task, data, tmp_path)
    task.eval()
    batch = next(iter(data.part_dataloader("train", whole=True)))
    with torch.no_grad():
        x, found = task.backbone(batch).numpy(), task(batch).numpy()[:, 0]
    y = batch[keys.TARGETS].numpy()[:, 0]
    wanted = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 5, 9)))
    scale = (y.mean(), y.std())
    # the same strengths, on targets of the same scale
    wanted = wanted.fit(x.astype(float), (y - scale[0]) / scale[1]).predict(x.astype(float))
    np.testing.assert_allclose(found, wanted * scale[1] + scale[0], rtol=1e-3, atol=1e-3)


def test_of_several_targets_each_has_its_own_and_labels_may_be_unknown():
    torch.manual_seed(0)
    x = torch.randn(40, 3)
    y = torch.stack([x @ torch.tensor([1.0, 2.0, 3.0]), 5 - x @ torch.tensor([0.0, 1.0, 0.0])], dim=1)
    y[:10, 0] = float("nan")
    head = MultiProperty(targets=["a", "b"], hidden=()).bind(3)
    head.fit(y)
    head.regress(x, y)
    known = ~y.isnan()
    torch.testing.assert_close(head.predict(head(x))[known], y[known], rtol=1e-2, atol=1e-2)
