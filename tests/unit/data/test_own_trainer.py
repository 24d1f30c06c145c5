"""The data module under a trainer of the user's own, with any LightningModule, and without either."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss

from tlzoo.backbones import CGCNN
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import Random
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.heads import Regression
from tlzoo.model.trained import Model
from tlzoo.training.task import Task

SPLIT = Random(val=4, test=4, keep_duplicates_together=False)


class MeanBond(pl.LightningModule):
    """A gap from the mean length of the bonds of each crystal, in plain torch."""

    def __init__(self, graph=None):
        super().__init__()
        self.graph = graph
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, batch):
        weight, crystal = batch["bond_count"], batch["batch"][batch["edge_index"][1]]
        total = torch.zeros(batch["num_crystals"]).index_add(0, crystal, weight * batch["bond_length"])
        return self.linear((total / torch.zeros_like(total).index_add(0, crystal, weight))[:, None])

    def training_step(self, batch, _):
        return mse_loss(self(batch), batch["targets"])

    def validation_step(self, batch, _):
        self.log("val/mse", self.training_step(batch, _), batch_size=batch["num_crystals"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def trainer():
    return pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


@pytest.fixture(scope="module")
def crystals():
    table = named.load("semiconductors").select(np.arange(24))
    gap = np.where(np.arange(24) % 6 == 5, np.nan, table.column("band_gap").astype(float))
    return Crystals(**{**vars(table), "columns": {"band_gap": gap}})


@pytest.fixture
def data(crystals, tmp_path):
    return CrystalDataModule.from_crystals(crystals, split=SPLIT, batch_size=5, cache_dir=str(tmp_path))


def test_a_module_of_ten_lines_is_fitted_and_predicts(crystals, data):
    module, trained = MeanBond(GraphOptions(neighbours=4)), trainer()
    before = module.linear.weight.item()
    trained.fit(module, datamodule=data)
    assert module.linear.weight.item() != before
    predicted = torch.cat(trained.predict(module, datamodule=data))
    assert predicted.shape == (24, 1)
    # crystal by crystal, also those without a label
    alone = CrystalDataModule.from_crystals(crystals.select([5]), cache_dir=data.cache_dir)
    (one,) = trainer().predict(module, datamodule=alone)
    torch.testing.assert_close(one[0], predicted[5])


def test_all_crystals_come_in_order_with_the_labels_that_are_known(crystals, data):
    data.open_graphs(GraphOptions())
    data.setup("fit")
    assert len(data.used_rows) == 20
    batches = list(data.predict_dataloader())
    assert torch.cat([batch[keys.ROW] for batch in batches]).tolist() == list(range(24))
    np.testing.assert_array_equal(
        torch.cat([batch[keys.TARGETS] for batch in batches])[:, 0].numpy(),
        crystals.column("band_gap").astype(np.float32),
    )
    # and the parts are what they were
    rows = torch.cat([batch[keys.ROW] for batch in data.part_dataloader("val")])
    assert rows.tolist() == data.split.val.tolist()


def test_a_task_predicts_in_physical_units_also_what_has_no_labels(crystals, data, tmp_path):
    task, own = Task(CGCNN(dim=8, depth=1), Regression(hidden=(8,))), trainer()
    own.fit(task, datamodule=data)
    task.eval()
    bare = Crystals(**{**vars(crystals), "columns": {}})
    expected = Model(task.backbone, task.head, {"targets": ["gap"]}).predict(bare)["gap"].to_numpy()
    assert expected.std() > 0
    unlabelled = CrystalDataModule.from_crystals(bare, batch_size=7, cache_dir=str(tmp_path))
    for module in (data, unlabelled):
        found = torch.cat(own.predict(task, datamodule=module))
        np.testing.assert_allclose(found[:, 0].numpy(), expected, rtol=1e-5)


def test_without_a_trainer(data):
    with pytest.raises(UserError, match="the data module has no trainer, so that nobody says which graphs"):
        data.setup("fit")
    with pytest.raises(UserError, match=r"call open_graphs\(GraphOptions\(\)\) of the data module"):
        data.train_dataloader()
    data.open_graphs(DescriptorOptions(structure=False))
    data.setup("fit")
    assert all(keys.DESCRIPTORS in batch for batch in data.train_dataloader())


@pytest.mark.parametrize("wish", [None, "all"])
def test_a_module_that_does_not_say_what_it_reads_is_told_so(wish, data):
    with pytest.raises(UserError, match=rf"MeanBond\.graph is {wish}.*give the LightningModule an attribute"):
        trainer().fit(MeanBond(wish), datamodule=data)
    if wish is None:
        data.open_graphs(GraphOptions())
        trainer().fit(MeanBond(), datamodule=data)
