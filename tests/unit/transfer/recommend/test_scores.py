"""Models whose embeddings say more rank higher; the report says how sure that is."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tlzoo.data import named
from tlzoo.graphs.workers import GRAPHS, NoGraphError
from tlzoo.model.trained import load
from tlzoo.transfer.features.layers import Network
from tlzoo.transfer.finetune.recipes import recipe
from tlzoo.transfer.recommend import scores
from tlzoo.transfer.recommend.recommendation import Report

ROWS = np.arange(60)


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(ROWS)


@pytest.fixture(scope="module")
def target(crystals):
    return np.asarray(crystals.column("band_gap"), dtype=np.float64)


def fake(noise, target, elements=None):
    """A model whose embeddings hold the target under some noise."""
    values = np.random.default_rng(0).normal(size=(len(target), 8))
    values[:, 0] = target + noise * values[:, 0]
    card = {} if elements is None else {"elements": elements}
    values = values.astype(np.float32)
    return SimpleNamespace(embedding=values, card=card, layers=["embedding"], lacking_map="")


@pytest.fixture
def models(target, monkeypatch):
    there = {"good": fake(0.1, target, ["Si", "Ge"]), "poor": fake(5.0, target), "fair": fake(1.0, target)}

    def read(wanted, crystals):
        return {(name, layer): (there[name].embedding, 0.6) for name, layer in wanted}

    monkeypatch.setattr(scores, "features", read)
    return there


@pytest.fixture
def ranked(crystals, target, models):
    return scores.rank(crystals, target, models, groups=ROWS, repeats=3, shallow=False)


def test_the_best_embedding_is_first(ranked):
    assert [score.name for score in ranked] == ["good", "fair", "poor"]
    assert ranked[0].mae < 0.3 < ranked[1].mae < ranked[2].mae
    assert ranked[0].logme > ranked[1].logme > ranked[2].logme
    for score in ranked:
        assert score.errors.shape == (3, 60)
        assert (score.estimator, score.layer, score.pace) == ("kernel", "embedding", 0.01)
        assert score.sd == pytest.approx(np.std(score.errors.mean(axis=1), ddof=1))
    assert ranked[1].behind(ranked[0]).certain
    assert not ranked[0].behind(ranked[0]).certain


def test_crystals_of_strange_elements_are_counted(ranked, crystals):
    strange = sum(
        not {str(element) for element in crystals.structure(row).composition.elements} <= {"Si", "Ge"}
        for row in ROWS
    )
    assert ranked[0].unseen == strange > 0
    assert ranked[1].unseen is None, "the card does not say"


def test_duplicates_are_kept_together_by_default(crystals, target, models, monkeypatch):
    monkeypatch.setattr(scores, "duplicate_groups", lambda _: np.zeros(60, dtype=np.int64))
    with pytest.raises(ValueError, match="at least 5 different crystals"):
        scores.rank(crystals, target, models)
    with pytest.raises(ValueError, match="at least 5 different crystals"):
        scores.baselines(crystals, target)


@pytest.fixture
def baselines(crystals, target, monkeypatch):
    monkeypatch.setattr("tlzoo.evaluation.baselines.TREES", 10)
    return scores.baselines(crystals, target, groups=ROWS, repeats=3)


def test_baselines_know_the_composition(baselines, target):
    ridge, forest = baselines
    spread = np.abs(target - target.mean()).mean()
    assert ridge.errors.shape == (3, 60)
    assert forest.errors.shape == (1, 60)
    assert max(ridge.mae, forest.mae) < spread
    assert forest.sd is None
    assert (forest.logme, forest.unseen) == (None, None)


@pytest.fixture
def report(ranked, baselines):
    facts = {"source": "mine.csv", "target": "gap", "unit": "eV", "crystals": 60, "part": "the training part"}
    return Report(**facts, scores=ranked, baselines=baselines, recipe=recipe(60))


def test_the_table_shows_models_then_baselines(report):
    lines = report.text().splitlines()
    assert lines[0].startswith("gap of mine.csv, 60 crystals (the training part), left out in turn")
    assert [line[:9].split() for line in lines[2:5]] == [["1", "good"], ["2", "fair"], ["3", "poor"]]
    assert lines[5].split()[:2] == ["ridge", "on"]
    assert lines[6].split()[:2] == ["random", "forest"]
    assert "%" not in lines[2]
    assert "%" in lines[3]
    assert lines[-2] == (
        f"Try: tlzoo finetune mine.csv --target gap --from good --strategy {recipe(60).strategy}"
    )
    assert lines[-1].startswith("Or: tlzoo features mine.csv --target gap --from good --layer embedding")
    assert recipe(60).evidence in lines[-3]


def test_what_is_uncertain_is_said(report, ranked):
    assert report.warnings == [f"{ranked[0].unseen} crystals have elements that good never learned from."]
    twin = Report(**{**vars(report), "scores": [ranked[1], ranked[1]], "baselines": []})
    assert twin.warnings == ["fair cannot be told from fair on 60 crystals."]
    assert "--from fair,fair --strategy" in twin.command
    poor = Report(**{**vars(report), "scores": [ranked[2]]})
    assert poor.warnings[0].startswith("the best embedding says no more than ridge on the composition")


def test_a_ranking_foretells_nothing_of_fine_tuning(report, ranked, baselines):
    """Whether a baseline wins is seen with its uncertainty, and is said of frozen embeddings alone."""
    good, _, poor = ranked
    ridge, forest = baselines
    behind = replace(report, scores=[poor])
    (warning,) = [text for text in behind.warnings if "embedding" in text]
    assert "`tlzoo finetune` sets what training makes of them beside the same baselines" in warning
    assert "expect little" not in behind.text()
    ahead = poor.behind(forest)
    assert f"{forest.name} (lower by {100 * ahead.value:.1f} %, interval {100 * ahead.low:.1f} to " in warning
    # better by a hair: chance, and said
    hair = replace(forest, errors=poor.errors[:1] * np.where(np.arange(60) % 2, 0.5, 1.52))
    assert hair.mae > poor.mae
    unsure = replace(report, scores=[poor], baselines=[hair])
    assert f"no more than {hair.name} (lower by -" in unsure.warnings[0]
    # certainly better: nothing to say
    clear = replace(report, scores=[good], baselines=[ridge, forest])
    assert not [text for text in clear.warnings if "embedding" in text]


def test_the_content_is_plain_json(report, ranked):
    content = json.loads(json.dumps(report.content(), allow_nan=False))
    assert [row["rank"] for row in content["ranking"]] == [1, 2, 3]
    first, second, _ = content["ranking"]
    assert first["mae"] == ranked[0].mae
    assert first["behind_percent"] == {"value": 0, "low": 0, "high": 0}
    assert second["behind_percent"]["value"] == pytest.approx(100 * (1 - ranked[0].mae / ranked[1].mae))
    assert content["baselines"][1]["logme"] is None
    assert content["warnings"] == report.warnings
    assert content["command"] == report.command


def test_a_head_that_knows_better_is_kept(report, ranked):
    good, fair, poor = ranked
    knowing = replace(poor, answers={"gap": good.mae / 2, "other_gap": 2 * poor.mae})
    kept = replace(report, scores=[good, fair, knowing])
    assert kept.kept is knowing
    assert f"--from poor --head gap --strategy {recipe(60).strategy}" in kept.command
    assert "its embeddings: poor with its gap; --head keeps what it predicts." in kept.text()
    assert kept.text().splitlines()[4].split()[-2] == f"{good.mae / 2:.4g}"
    assert kept.content()["ranking"][2]["as_it_is"] == knowing.answers


def test_a_head_is_not_kept_for_its_unit_alone(report, ranked):
    good, fair, poor = ranked
    # nearer than its own embeddings, but another model's are nearer still
    middling = replace(poor, answers={"gap": (good.mae + poor.mae) / 2})
    listed = replace(report, scores=[good, fair, middling])
    assert listed.kept is None
    assert "--head" not in listed.command
    assert "poor with its gap; --head keeps" in listed.text()
    far = replace(report, scores=[replace(good, answers={"gap": 2 * good.mae}), fair, poor])
    assert far.kept is None
    assert "--head" not in far.text()
    # what the composition says is no reason for doubt where the head knows better
    assert replace(report, scores=[replace(poor, answers={"gap": good.mae})]).warnings == []


def test_descriptors_are_sources_too(crystals, target, monkeypatch):
    monkeypatch.setattr("tlzoo.transfer.features.estimators.TREES", 10)
    found = scores.rank(crystals, target, {}, groups=ROWS)
    assert {(score.shown, score.estimator) for score in found} == {
        ("descriptors", "kernel"), ("descriptors", "forest"),
        ("composition descriptors", "kernel"), ("composition descriptors", "forest"),
    }  # fmt: skip
    spread = np.abs(target - target.mean()).mean()
    assert all(score.mae < spread for score in found)
    assert all(score.pace > 0 for score in found)
    assert [score.mae for score in found] == sorted(score.mae for score in found)


def test_what_cannot_read_a_crystal_is_left_out(crystals, target, models, monkeypatch):
    def read(wanted, crystals):
        if ("poor", "embedding") in wanted:
            raise NoGraphError(crystals, {3: "an atom has no neighbour"}, GRAPHS)
        return {(name, layer): (models[name].embedding, 0.6) for name, layer in wanted}

    monkeypatch.setattr(scores, "features", read)
    told = []
    found = scores.rank(
        crystals, target, models, groups=ROWS, shallow=False, left=lambda *one: told.append(one)
    )
    assert [score.name for score in found] == ["good", "fair"]
    ((name, error),) = told
    assert name == "poor"
    assert "an atom has no neighbour" in str(error)
    with pytest.raises(NoGraphError):
        scores.rank(crystals, target, models, groups=ROWS, shallow=False)
    with pytest.raises(NoGraphError):
        scores.rank(crystals, target, {"poor": models["poor"]}, groups=ROWS, shallow=False, left=print)


def test_groups_are_left_out_together():
    """Of two crystals with the same features and label none is known to the other."""
    generator = np.random.default_rng(0)
    x, target = generator.normal(size=(40, 6)), generator.normal(size=40)
    twice, labels = np.concatenate([x, x]), np.concatenate([target, target])
    alone = scores.left_out("kernel", twice, labels, np.arange(80)).mean()
    grouped = scores.left_out("kernel", twice, labels, np.tile(np.arange(40), 2)).mean()
    assert alone < 0.5 * grouped


def test_a_regression_reads_states_and_a_head_its_embedding(crystals, target):
    some = crystals.select(np.arange(20))
    model = load("cgcnn-bg")
    (score,) = scores.rank(
        some, target[:20], {"cgcnn-bg": model}, unit="eV", groups=np.arange(20), shallow=False
    )
    assert score.layer == "states"
    (name,) = model.card["targets"]
    said = model.predict(some)[name]
    assert score.answers == {name: pytest.approx(np.abs(said - target[:20]).mean(), rel=1e-4)}
    wide = model.embed(some, layer="states").astype(np.float64)
    assert score.logme == pytest.approx(scores.logme(wide, target[:20]), rel=1e-3)


def test_layers_of_a_network_are_read_at_once(crystals, monkeypatch):
    some, model = crystals.select(np.arange(4)), load("cgcnn-bg")
    asked, of = [], Network(model)
    read = of.read
    monkeypatch.setattr(of, "read", lambda stores, layers: asked.append(layers) or read(stores, layers))
    found = scores.features({("a", "states"): of, ("a", "embedding"): of}, some)
    assert asked == [["states", "embedding"]]
    for (_, layer), (values, seconds) in found.items():
        np.testing.assert_array_equal(values, model.embed(some, layer=layer))
        assert seconds == found["a", "states"][1] > 0
