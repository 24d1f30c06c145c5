"""The contracts find what breaks them."""

import pytest
import torch

from tlzoo.backbones import CGCNN
from tlzoo.freezing import Freezing
from tlzoo.graphs import keys
from tlzoo.heads import Regression
from tlzoo.testing import BackboneContract, FreezingContract, HeadContract
from tlzoo.testing.freezing_contract import Joined
from tlzoo.testing.head_contract import Case
from tlzoo.testing.small_crystals import rock_salt


class Gossip(CGCNN):
    """Crystals of a batch see each other."""

    def forward(self, batch):
        embedding = super().forward(batch)
        return embedding + embedding.mean(dim=0)


class Rowwise(CGCNN):
    """Equal atoms and bonds count once."""

    def forward(self, batch):
        alone = batch.clone()
        for key in (keys.ATOM_COUNT, keys.BOND_COUNT):
            alone[key] = torch.ones_like(batch[key])
        return super().forward(alone)


class Partial(CGCNN):
    """A convolution is in no group, and read off with another length."""

    def groups(self):
        return {name: parts for name, parts in super().groups().items() if name != "conv.0"}

    def layers(self):
        return {name: layer._replace(dim=layer.dim + 1) for name, layer in super().layers().items()}


class Moody(CGCNN):
    """No two answers are the same."""

    def forward(self, batch):
        return super().forward(batch) * (1 + 0.1 * torch.rand(()))


@pytest.mark.parametrize(
    ("backbone", "broken"),
    [
        (Gossip, "a_crystal_is_the_same_alone_or_in_a_batch"),
        (Partial, "groups_partition_every_parameter_and_buffer"),
        (Partial, "layers_give_rows_of_their_length"),
        (Moody, "arguments_are_attributes_of_the_same_name"),
        (Moody, "runs_repeat_bit_for_bit"),
        (Moody, "primitive_cell_changes_nothing"),
    ],
)
def test_a_wrong_backbone_is_found(backbone, broken):
    torch.manual_seed(0)
    contract = BackboneContract()
    check = getattr(contract, f"test_{broken}")
    check(CGCNN(dim=8, depth=1))
    with pytest.raises(AssertionError):
        check(backbone(dim=8, depth=1))


def test_a_backbone_that_forgets_counts_is_found():
    contract = BackboneContract()
    torch.manual_seed(0)
    with pytest.raises(AssertionError):
        contract.test_merged_rows_are_as_good_as_every_atom_bond_and_angle(Rowwise(dim=8, depth=1), False)
    summed = CGCNN(dim=8, depth=1, pooling="sum")
    contract.test_supercell_changes_nothing(summed, rock_salt())
    summed.pooling = "of a name that nobody knows"
    with pytest.raises(AssertionError):
        contract.test_supercell_changes_nothing(summed, rock_salt())


class Leaky(Freezing):
    """Names another group every time."""

    def __init__(self):
        self.calls = 0

    def trainable(self, groups, epoch):  # noqa: ARG002
        self.calls += 1
        return {groups[self.calls % 2], "head.out"}


class Stranger(Freezing):
    """Names a group that no model has."""

    def trainable(self, groups, epoch):  # noqa: ARG002
        return {"head.out", "nowhere"}


@pytest.mark.parametrize("strategy", [Leaky, Stranger])
def test_a_wrong_strategy_is_found(strategy):
    class Contract(FreezingContract):
        strategies = {"wrong": strategy()}  # noqa: RUF012 (as declared)

    build = FreezingContract.backbones["cgcnn"]
    for check in (
        Contract().test_it_names_groups_of_the_model,
        Contract().test_exactly_the_named_groups_change,
    ):
        with pytest.raises(AssertionError):
            check(strategy_name="wrong", backbone_name="cgcnn", model=Joined(build))


class Greedy(Regression):
    """Takes unknown targets for zero."""

    def loss(self, raw, targets):
        return super().loss(raw, targets.nan_to_num())


def test_a_wrong_head_is_found():
    contract, embedding = HeadContract(), torch.randn(12, 8)
    for kind, found in ((Regression, False), (Greedy, True)):
        head = kind(hidden=()).bind(8)
        targets = contract.labels(head, embedding, 1)
        targets[1, 0] = float("nan")
        head.fit(targets)
        case = Case(head.eval(), ["y"], embedding, targets)
        for check in (contract.test_unknown_targets_do_not_matter, contract.test_batch_without_any_label):
            if found:
                with pytest.raises(AssertionError):
                    check(case)
            else:
                check(case)
