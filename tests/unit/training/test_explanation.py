"""What the parser does not know is answered with what may be meant."""

import pytest

from tlzoo.errors import UserError
from tlzoo.training.configuration import Configuration

NEEDED = {"model": {"backbone": {"class_path": "CGCNN"}, "head": {"class_path": "Regression"}}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.sorce", "x"], "unrecognized arguments: --data.sorce x; did you mean '--data.source'?"),
        (["--batch-size", "3"], "unrecognized arguments: --batch-size 3; did you mean '--data.batch_size'?"),
        (["--epochs", "3"], "unrecognized arguments: --epochs 3; did you mean '--trainer.max_epochs'?"),
        (
            ["--patience", "3"],
            (
                "unrecognized arguments: --patience 3; did you mean '--trainer.callbacks+ EarlyStopping "
                "--trainer.callbacks.monitor val/mae --trainer.callbacks.patience 20'?"
            ),
        ),
        (["--zzz"], "unrecognized arguments: --zzz"),
        (
            ["--data.split.seed", "5"],
            (
                "--data.split.seed is of which class? Give --data.split CLASS, too; there are: "
                "ByComposition, ByTarget, FoldOf, FromColumn, FromFile, KFold, LeaveElementOut, "
                "MatbenchFold, PaperTrial, Pretraining, Random, RepeatedKFold, Sampled"
            ),
        ),
        (
            ["--model.backbone", "CGCN"],
            (
                "model.backbone: there is no class 'CGCN'; there are: ALIGNN, CGCNN, CHGNet, DescriptorMLP, "
                "MomentNet, Roost, SevenNet; did you mean 'CGCNN'?"
            ),
        ),
    ],
)
def test_of_a_command_line(words, message):
    with pytest.raises(UserError) as caught:
        Configuration.parsed(["--model.backbone=CGCNN", "--model.head=Regression", "--data.source=a", *words])
    assert str(caught.value) == message


def test_an_argument_of_no_class():
    with pytest.raises(UserError, match=r"--model.backbone is of which class\? Give --model.backbone CLASS"):
        Configuration.parsed(["--data.source=a", "--model.backbone.dim=16"])


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"data": {"source": "a", "batchsize": 3}},
            "Group 'data' does not accept option 'batchsize'; did you mean 'batch_size'?",
        ),
        ({"optimiser": 3}, "Option 'optimiser' is not accepted; did you mean 'model.optimizer'?"),
        (
            {"model": {**NEEDED["model"], "backbone": {"class_path": "CGCNN", "init_args": {"dpeth": 3}}}},
            "Option 'dpeth' is not accepted; did you mean 'depth'?",
        ),
        (
            {
                "model": {
                    **NEEDED["model"],
                    "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lrr": 3}},
                }
            },
            "Option 'lrr' is not accepted; did you mean 'lr'? Got value",
        ),
    ],
)
def test_of_a_mapping(tree, message):
    with pytest.raises(UserError) as caught:
        Configuration.parsed({**NEEDED, "data": {"source": "a"}, **tree})
    assert message in str(caught.value)
