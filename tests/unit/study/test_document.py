"""A study as it is written: the grid, what is skipped and adjusted, ids, and errors for people."""

import json
from pathlib import Path

import pytest

from tlzoo.errors import UserError
from tlzoo.study.document import load

STUDY = """\
base:
  model: {head: {class_path: Regression}, optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1.0}}}
  trainer: {max_epochs: 3}
axes:
  source:
    scratch: {model: {backbone: {class_path: CGCNN, init_args: {dim: 8}}}}
    other: {model: {backbone: {class_path: ALIGNN}}}
  rate: {key: model.optimizer.init_args.lr, values: [1e-3, 0.01]}
  trial: {key: [data.split.init_args.trial, seed_everything], values: [1, 2, 3]}
"""


@pytest.fixture
def write(tmp_path):
    def written(text, name="study.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
def study(write):
    def loaded(more=""):
        return load(write(STUDY + more))

    return loaded


def labels(study):
    return [tuple(run.labels.values()) for run in study.runs()]


def test_the_grid_is_the_product_in_the_order_of_the_axes(study):
    found = study()
    assert found.name == "study"
    assert found.folder == Path("runs/studies/study")
    assert len(found.runs()) == 2 * 2 * 3
    assert labels(found)[:4] == [
        ("scratch", 0.001, 1), ("scratch", 0.001, 2), ("scratch", 0.001, 3), ("scratch", 0.01, 1),
    ]  # fmt: skip
    assert list(found.runs()[0].labels) == ["source", "rate", "trial"]


def test_a_run_is_the_base_with_the_values_of_its_axes_on_top(study):
    run = study().runs()[-1]
    assert run.tree == {
        "model": {
            "head": {"class_path": "Regression"},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
            "backbone": {"class_path": "ALIGNN"},
        },
        "trainer": {"max_epochs": 3},
        "data": {"split": {"init_args": {"trial": 3}}},
        "seed_everything": 3,
    }
    run.tree["trainer"]["max_epochs"] = 99
    assert study().base["trainer"]["max_epochs"] == 3


def test_combinations_are_skipped(study):
    found = labels(study("skip:\n  - {source: other, rate: 0.01}\n  - {source: other, trial: [2, 3]}\n"))
    assert [each for each in found if each[0] == "other"] == [("other", 0.001, 1)]
    assert sum(each[0] == "scratch" for each in found) == 6


def test_adjustments_come_after_all_axes_in_their_order(study):
    found = study(
        "adjust:\n"
        "  - {when: {source: scratch, trial: [1, 2]}, config: {trainer: {max_epochs: 9}}}\n"
        "  - {when: {trial: 2}, config: {trainer: {max_epochs: 5}, model: {optimizer: {init_args: {lr: 7}}}}"
        "}\n"
    )
    epochs = {tuple(run.labels.values()): run.tree["trainer"]["max_epochs"] for run in found.runs()}
    assert epochs["scratch", 0.01, 1] == 9
    assert epochs["scratch", 0.01, 2] == 5
    assert epochs["other", 0.01, 1] == 3
    assert {run.tree["model"]["optimizer"]["init_args"]["lr"] for run in found.runs()} == {0.001, 0.01, 7}


def test_configurations_can_be_files_below_a_tree(write, tmp_path):
    (tmp_path / "experiment.yaml").write_text("data: {source: x, batch_size: 3}\n")
    base = "base:\n  - experiment.yaml\n  - {data: {batch_size: 4}}\n"
    found = load(write(base + "axes: {size: {small: experiment.yaml, none: }}\n"))
    assert [run.tree["data"] for run in found.runs()] == [
        {"source": "x", "batch_size": 3},
        {"source": "x", "batch_size": 4},
    ]


def test_ids_follow_what_is_computed_and_nothing_else(study, write):
    one = study()
    assert len({run.id for run in one.runs()}) == len(one.runs())
    assert all(len(run.id) == 16 for run in one.runs())
    renamed = STUDY.replace("scratch:", "'from nothing':").replace("3}\n", "3, enable_progress_bar: false}\n")
    assert [run.id for run in load(write(renamed)).runs()] == [run.id for run in one.runs()]
    changed = load(write(STUDY.replace("max_epochs: 3", "max_epochs: 4")))
    assert not {run.id for run in changed.runs()} & {run.id for run in one.runs()}
    assert one.runs()[0].id == "6303214e72aead75", (
        "another id computes all studies anew: say so in the changelog"
    )


def test_ids_change_with_the_weights(write, tmp_path):
    weights, card = tmp_path / "m.safetensors", tmp_path / "m.json"
    text = (
        "axes:\n  source:\n"
        "    card: {model: {backbone: {class_path: tlzoo.zoo.backbone, "
        f"init_args: {{name: {weights}}}}}}}}}\n"
        "    scratch: {model: {backbone: {class_path: CGCNN}}}\n"
    )
    missing = load(write(text)).runs()
    assert missing[0].started_from[0]["sha256"] == ""
    weights.write_bytes(b"")
    card.write_text(json.dumps({"sha256": "a" * 64}))
    one = load(write(text)).runs()
    assert one[0].started_from == ({"name": str(weights), "sha256": "a" * 64},)
    card.write_text(json.dumps({"sha256": "b" * 64}))
    two = load(write(text)).runs()
    assert len({missing[0].id, one[0].id, two[0].id}) == 3
    assert one[1].started_from == ()
    assert missing[1].id == one[1].id == two[1].id


def test_only(study):
    found = study()
    assert found.only([]) == {}
    assert found.only(["rate=1e-3", "trial=1,2", "trial=3"]) == {"rate": (0.001,), "trial": (1, 2, 3)}
    for given, message in (
        ("trial=4", r"--only: the axis trial has no value '4'; there are: 1, 2, 3"),
        ("trail=1", r"--only: there is no axis 'trail'; there are: source, rate, trial; did you mean 'tr"),
        ("trial", r"--only trial: wanted axis=value"),
    ):
        with pytest.raises(UserError, match=message):
            found.only([given])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("skip: [{sauce: scratch}]", r"skip: there is no axis 'sauce'; there are: source, rate, trial"),
        ("skip: [{rate: 0.02}]", r"skip: the axis rate has no value 0\.02; there are: 0\.001, 0\.01"),
        ("skip: {rate: 0.01}", r"skip: wanted a list"),
        ("skip: [{source: [scratch, other]}]", r"nothing is left of the grid"),
        ("skip: [scratch]", r"skip: wanted values of axes, such as \{source: value\}, got 'scratch'"),
        ("adjust: [{when: {trial: 1}}]", r"adjust: wanted \{when: \{axis: value\}, config: …\}"),
        ("adjust: [{when: {trial: 9}, config: {}}]", r"adjust: the axis trial has no value 9"),
        ("average: [trail]", r"average: there is no axis 'trail'"),
        ("tune: {axes: [rates]}", r"tune: there is no axis 'rates'"),
        ("tune: [rate]", r"tune: wanted \{axes: \[axis\]"),
        ("tune: {axes: [rate], with: {rate: 0.01}}", r"wanted axes to tune, and in `with` values of others"),
        ("tune: {axes: [rate]}\naverage: [rate]", r"rate cannot be both tuned and averaged over"),
        (
            "tune: {axes: [rate], with: {trial: 1}}\nskip: [{source: other, trial: 1}]",
            r"nothing can be tried for source=other: skip takes all with trial=1",
        ),
        ("grid: {}", r"there is no section 'grid'; there are: extends, base, sources, axes, skip, adjust"),
    ],
)
def test_sections_that_do_not_fit(more, message, study):
    with pytest.raises(UserError, match=message):
        study(more)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: {}", "a study needs axes"),
        ("axes: {}", "a study needs axes"),
        ("axes: {a: {}}", r"axes\.a: wanted a configuration for each value"),
        ("axes: {a: [1, 2]}", r"axes\.a: wanted a configuration for each value.* got \[1, 2\]"),
        ("axes: {a: {key: x.y, values: []}}", r"axes\.a: wanted a key such as data\.batch_size and a list"),
        ("axes: {a: {key: x.y, values: [1, 1]}}", r"axes\.a: a value is there twice: 1, 1"),
        ("axes: {a: {one: 1}}", r"axes\.a\.one: wanted a configuration .* or a file with one, got 1"),
        ("axes: {a: {one: no.yaml}}", r"axes\.a\.one: there is no file .*no\.yaml or no\.yaml"),
        ("axes: {seconds: {one: {}}}", r"axes\.seconds: the results have a column of this name"),
        ("axes: {a: {~: {}}}", r"axes\.a: None cannot be the name of a value; put it in quotes"),
        ("[1]", "wanted sections, got list"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_files_that_are_no_study(text, message, write):
    with pytest.raises(UserError, match=message):
        load(write(text))


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml cannot be read"):
        load(tmp_path / "nowhere.yaml")


def test_a_study_on_top_of_another(write, study):
    study("skip: [{source: other}]\ntune: {axes: [rate], with: {trial: 1}}")
    more = """\
extends: study.yaml
base: {trainer: {max_epochs: 5}}
axes:
  rate: {values: [0.1]}
  width: {key: model.backbone.init_args.dim, values: [16]}
skip: [{trial: 3}]
tune: {axes: [rate], with: {trial: [1, 2]}}
"""
    found = load(write(more, "more.yaml"))
    assert labels(found) == [("scratch", 0.1, 1, 16), ("scratch", 0.1, 2, 16)]
    assert found.runs()[0].tree["trainer"] == {"max_epochs": 5}
    assert found.runs()[0].tree["model"]["head"] == {"class_path": "Regression"}
    assert found.tune.where == {"trial": (1, 2)}


def test_the_baseline_is_replaced_the_rest_of_a_report_merged(write, study):
    study("report: {title: one, baseline: {source: scratch, rate: 0.01}}")
    found = load(write("extends: study.yaml\nreport: {baseline: {source: other}}\n", "more.yaml")).report
    assert (found.title, found.baseline) == ("one", {"source": "other"})


def test_a_study_cannot_extend_itself(write):
    write("extends: b.yaml\n", "a.yaml")
    with pytest.raises(UserError, match=r"extends: .*b\.yaml extends this study itself"):
        load(write("extends: a.yaml\n", "b.yaml"))


def test_what_a_study_extends_must_be_a_file(write):
    with pytest.raises(UserError, match=r"extends: wanted the file of a study, got 3"):
        load(write("extends: 3\n"))
    with pytest.raises(UserError, match=r"extends: there is no file"):
        load(write("extends: none.yaml\n"))
