"""The two experiments differ in nothing but where the weights come from, and what follows from that."""

import math
from pathlib import Path

import pytest
import yaml

from tlzoo import freezing, zoo
from tlzoo.errors import UserError
from tlzoo.heads import Classification
from tlzoo.model.checkpoint import Loaded
from tlzoo.transfer.finetune.experiment import SIDES, Choice, draft, merge, neglected, plan, scratch_rates
from tlzoo.transfer.finetune.finetune_request import Request
from tlzoo.transfer.finetune.recipes import RECIPES, STRATEGIES, recipe, strategy

SPEC = {"class_path": "tlzoo.backbones.CGCNN", "init_args": {"dim": 8, "pooling": "mean"}}
START = Loaded(None, None, {"spec": {"backbone": SPEC}})


def request_(**changes):
    return Request(**{"source": "mine.csv", "run_dir": Path("runs/x"), "starts": ("cgcnn-fe",), **changes})


def planned(**changes):
    return plan(request_(**changes), {"cgcnn-fe": START}, recipe(300), ["gap"])


def test_recipes_are_for_ever_more_crystals_and_fair():
    sizes = [row.up_to for row in RECIPES]
    assert sizes == sorted(sizes)
    assert sizes[-1] == float("inf")
    for row in RECIPES:
        assert row.strategy in STRATEGIES
        assert row.rates
        assert row.poolings
    assert recipe(1) is RECIPES[0]
    assert recipe(100) is RECIPES[0]
    assert recipe(101) is RECIPES[1]


def test_strategies_name_what_there_is():
    for name in STRATEGIES:
        if "freezing" in strategy(name):
            assert issubclass(getattr(freezing, strategy(name)["freezing"]["class_path"]), freezing.Freezing)
    with pytest.raises(UserError, match=r"there is no strategy 'none'; there are: all, layer-decay"):
        strategy("none")


def test_of_several_strategies_validation_chooses():
    both = planned(strategies=("all", "lora", "l2-sp"), rates=(1e-3, 3e-3), poolings=("mean",))
    tried = both.choices["transfer"]
    assert [choice.strategy for choice in tried] == ["all", "all", "lora", "lora", "l2-sp", "l2-sp"]
    assert len({choice.slug for choice in tried}) == len({str(choice) for choice in tried}) == 6
    models = [both.tree("transfer", choice, 0)["model"] for choice in tried[::2]]
    told = [{key: model[key] for key in ("freezing", "l2_sp") if key in model} for model in models]
    assert told == [strategy(name) for name in ("all", "lora", "l2-sp")]
    assert both.choices["scratch"] == planned(rates=(1e-3, 3e-3), poolings=("mean",)).choices["scratch"]
    assert not told[0].keys() & both.tree("scratch", both.choices["scratch"][0], 0)["model"].keys()


def test_both_sides_share_all_but_the_start():
    both = planned(strategy="two-body").trees
    transfer, scratch = both["transfer", None], both["scratch", None]
    assert transfer["model"].pop("backbone") == {
        "class_path": "tlzoo.zoo.backbone", "init_args": {"name": "cgcnn-fe"},
    }  # fmt: skip
    assert transfer["model"].pop("freezing") == {"class_path": "TwoBody"}
    assert scratch["model"].pop("backbone") == SPEC
    assert transfer == scratch


def test_what_is_asked_wins_over_the_recipe():
    both = planned(epochs=7, batch_size=3, rates=(0.5,), poolings=("sum",))
    assert both.choices == {side: (Choice(0.5, "sum"),) for side in SIDES}
    for tree in both.trees.values():
        assert tree["trainer"]["max_epochs"] == 7
        assert tree["data"]["batch_size"] == 3
    row = recipe(300)
    by_default = planned()
    assert by_default.choices["transfer"] == by_default.choices["scratch"]
    assert {choice.rate for choice in by_default.choices["scratch"]} == set(row.rates)
    assert {choice.pooling for choice in by_default.choices["scratch"]} == set(row.poolings)
    assert by_default.trees["scratch", None]["trainer"]["max_epochs"] == row.epochs


def test_rates_for_a_trained_head_are_not_for_scratch():
    """The steps that a trained head is moved in are too small to learn with from the beginning."""
    starts = request_().start_models()
    for given, own in (((1e-5,), (3e-3, 1e-2)), ((1e-5, 1e-4, 1e-3), (3e-3, 1e-2, 3e-2))):
        asked = request_(head="formation_energy", rates=given)
        found = plan(asked, starts, recipe(300), ["gap"]).choices
        assert {choice.rate for choice in found["transfer"]} == set(given)
        assert {choice.rate for choice in found["scratch"]} == set(own)
        assert len(found["scratch"]) >= len(found["transfer"])
    assert scratch_rates(request_(head="gap", rates=tuple(10.0**-i for i in range(5))), recipe(300)) == (
        1e-3, 3e-3, 1e-2, 3e-2, 9e-2,
    )  # fmt: skip
    # a new head begins where scratch does
    assert {choice.rate for choice in planned(rates=(1e-5,)).choices["scratch"]} == {1e-5}


def test_what_cannot_be_less_is_so_on_both_sides():
    starts = request_().start_models()
    for head in (None, "formation_energy"):
        found = plan(request_(head=head), starts, recipe(300), ["gap"], minimum=0.0)
        assert {tree["model"]["head"]["init_args"]["minimum"] for tree in found.trees.values()} == {0.0}
        assert found.least == 0
        free = plan(request_(head=head), starts, recipe(300), ["gap"])
        assert free.least == -math.inf
        for tree in free.trees.values():
            assert tree["model"]["head"].get("init_args", {}).get("minimum") is None


@pytest.mark.parametrize(
    ("head", "least"),
    [
        ("class_path: Gaussian", 0),
        ("class_path: tlzoo.heads.Regression, init_args: {hidden: [4]}", 0),
        ("init_args: {minimum: null}", -math.inf),
        ("class_path: Regression, init_args: {minimum: -1}", -1),
    ],
)
@pytest.mark.parametrize("kept", [None, "formation_energy"])
def test_a_head_of_the_request_has_the_same_end_on_both_sides(head, least, kept, tmp_path):
    (tmp_path / "head.yaml").write_text(f"model: {{head: {{{head}}}}}")
    asked = request_(head=kept, configs=(tmp_path / "head.yaml",))
    found = plan(asked, asked.start_models(), recipe(300), ["gap"], minimum=0.0)
    assert found.least == least
    ends = {tree["model"]["head"]["init_args"]["minimum"] for tree in found.trees.values()}
    assert ends == {None if least == -math.inf else least}


def test_classes_have_no_end(monkeypatch):
    monkeypatch.setattr(zoo, "head", lambda *_: Classification().bind(4))
    asked = request_(head="formation_energy")
    found = plan(asked, asked.start_models(), recipe(300), ["gap"], minimum=0.0)
    assert found.least == -math.inf
    for tree in found.trees.values():
        assert tree["model"]["head"]["init_args"].get("minimum") is None


def test_what_scratch_was_not_given_is_named():
    row = recipe(300)
    assert neglected(planned(), row, Choice(1e-2, "max")) == []
    few = planned(epochs=2, rates=(1e-4, 1e-3), poolings=("mean",))
    assert neglected(few, row, Choice(1e-3, "mean")) == [
        f"{row.epochs} epochs (it had 2)",
        "learning rate 0.003 and 0.01 (it did best at 0.001, the largest tried)",
        "max pooling",
    ]
    assert neglected(planned(rates=(5e-3,)), row, Choice(5e-3, "max")) == [
        "learning rate 0.003 and 0.01 (it did best at 0.005, the only one tried)"
    ]
    # larger rates are worse already: nothing is missed
    assert neglected(planned(rates=(1e-4, 1e-3)), row, Choice(1e-4, "max")) == []
    assert neglected(planned(rates=(1e-3, 3e-2)), row, Choice(3e-2, "max")) == []


def test_a_training_has_its_own_choice_and_seed():
    both = planned()
    one, other = both.tree("scratch", Choice(0.1, "max"), 4), both.tree("transfer", Choice(0.2, "max"), 5)
    for tree in (one, other):
        assert tree["model"]["backbone"]["init_args"]["pooling"] == "max"
    assert SPEC["init_args"]["pooling"] == "mean"
    assert one["model"]["optimizer"]["init_args"]["lr"] == 0.1
    assert other["model"]["optimizer"]["init_args"]["lr"] == 0.2
    assert (one["seed_everything"], other["seed_everything"]) == (4, 5)


def test_networks_without_a_choice_of_pooling():
    spec = {"class_path": "tlzoo.backbones.DescriptorMLP", "init_args": {"hidden": [8]}}
    start = {"cgcnn-fe": Loaded(None, None, {"spec": {"backbone": spec}})}
    both = plan(request_(rates=(0.5,)), start, recipe(300), ["gap"])
    assert both.choices["scratch"] == (Choice(0.5),)
    assert both.tree("scratch", Choice(0.5), 0)["model"]["backbone"] == spec
    with pytest.raises(UserError, match="cgcnn-fe has no choice of pooling: leave --pooling out"):
        plan(request_(poolings=("max",)), start, recipe(300), ["gap"])


def test_of_several_models_each_is_tried_and_equal_networks_once():
    wide = {"class_path": "tlzoo.backbones.CGCNN", "init_args": {"dim": 16, "pooling": "mean"}}
    same = {"class_path": "tlzoo.backbones.CGCNN", "init_args": {"dim": 8, "pooling": "max"}}
    starts = {
        "runs/a": START,
        "wide": Loaded(None, None, {"spec": {"backbone": wide}}),
        "b": Loaded(None, None, {"spec": {"backbone": same}}),
    }
    request = request_(starts=tuple(starts), rates=(0.1, 0.2), poolings=("max",))
    found = plan(request, starts, recipe(300), ["gap"])
    assert [(c.start, c.rate) for c in found.choices["transfer"]] == [
        (name, rate) for name in starts for rate in (0.1, 0.2)
    ]
    assert [c.start for c in found.choices["scratch"]] == ["runs/a", "runs/a", "wide", "wide"]
    first, *_, last = found.choices["transfer"]
    assert (first.slug, str(last)) == ("a-lr-0.1-max", "b, learning rate 0.2, max pooling")
    assert request.start(last) == "b"
    assert found.tree("transfer", last, 3)["model"]["backbone"]["init_args"] == {
        "name": "b",
        "pooling": "max",
    }
    network = found.tree("scratch", found.choices["scratch"][2], 0)["model"]["backbone"]
    assert network == {**wide, "init_args": {"dim": 16, "pooling": "max"}}


def test_models_that_answer_together_read_the_same_graphs():
    starts = ("cgcnn-fe", "alignn-s-fe")
    assert set(request_(starts=starts).start_models()) == set(starts)
    with pytest.raises(UserError, match="cgcnn-fe and alignn-s-fe read different graphs of a crystal"):
        request_(starts=starts, together=True).start_models()
    alike = ("cgcnn-fe", "cgcnn-mpt")
    assert set(request_(starts=alike, together=True).start_models()) == set(alike)


def test_files_go_on_top_of_both(tmp_path):
    file = tmp_path / "top.yaml"
    file.write_text(
        "data: {split: {class_path: ByComposition, init_args: {val: 9}}, id_column: name}\n"
        "trainer: {max_epochs: 4}\n"
        "model: {optimizer: {init_args: {weight_decay: 0.0}}}\n"
    )
    for tree in planned(configs=[file]).trees.values():
        assert tree["data"]["split"] == {"class_path": "ByComposition", "init_args": {"val": 9}}
        assert tree["data"]["id_column"] == "name"
        assert tree["trainer"]["max_epochs"] == 4
        assert tree["model"]["optimizer"]["init_args"]["weight_decay"] == 0
        assert tree["model"]["optimizer"]["class_path"] == "torch.optim.AdamW"
    assert draft(request_(configs=[file]), START)["data"]["id_column"] == "name"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {backbone: {class_path: CGCNN}}", "sets model.backbone, which differs between the two"),
        ("model: {layer_decay: 0.5}", "sets model.layer_decay"),
        ("[1]", "is no configuration: wanted sections such as model"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_files_that_do_not_fit_are_refused(text, message, tmp_path):
    file = tmp_path / "top.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        planned(configs=[file])


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml cannot be read"):
        planned(configs=[tmp_path / "nowhere.yaml"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": -1}, "batch-size must be at least 1, got -1"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"rates": (1e-3, 0.0)}, r"learning rates must be positive, got 0\.001, 0\.0"),
        (
            {"poolings": ("mean", "min")},
            "pooling must be one of mean, sum, max, attention, statistics; got 'min'",
        ),
        ({"rates": ()}, "give at least one learning rate"),
        ({"starts": ()}, "give at least one model to start from"),
        ({"starts": ("a", "")}, "give at least one model to start from"),
        ({"starts": ("runs/a", "b", "other/a")}, "need different names, got runs/a, other/a"),
        ({"together": True}, "--together is for one training from each of several models"),
        ({"together": True, "starts": ("a", "b"), "seeds": 2}, "leave --seeds out"),
        ({"unit": "eV"}, "--unit eV needs the name of the target"),
        ({"strategies": ("all", "lora"), "strategy": "all"}, "give either it or --strategies"),
        ({"strategies": ("all", "loar")}, "there is no strategy 'loar'.*did you mean 'lora'"),
        ({"strategies": ("all", "last-layer")}, "name one of the model's targets with --head"),
        ({"strategy": "last-layer"}, "name one of the model's targets with --head"),
    ],
)
def test_requests_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        request_(**changes)


def test_units_are_of_the_target():
    tree = draft(request_(target="gap", unit="eV"), START)
    assert tree["data"]["targets"] == ["gap"]
    assert tree["data"]["units"] == {"gap": "eV"}
    assert "units" not in draft(request_(target="gap"), START)["data"]


def test_merging_changes_neither():
    below, above = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge(below, above) == {"a": {"b": 1, "c": 2}}
    assert (below, above) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_experiments_are_plain_yaml():
    for side, tree in planned().trees.items():
        assert yaml.safe_load(yaml.safe_dump(tree)) == tree, side
