"""Checkpoints narrowed down, and which one to take."""

import json

import pytest
from msgspec.structs import replace

from tlzoo.cards import library
from tlzoo.cards.catalogue import BENCHMARK, POTENTIAL, PRODUCTION, Catalogue, kind_of, left_out


@pytest.fixture(autouse=True)
def published(monkeypatch):
    """Those of the repository alone."""
    monkeypatch.delenv("TLZOO_CHECKPOINTS", raising=False)


def test_every_checkpoint_says_its_level_of_theory_and_what_it_is_for():
    cards = Catalogue.read().cards
    assert len(cards) == len(library.names())
    for card in cards:
        assert set(card.theory) == set(card.targets), card.name
    kinds = {card.name: kind_of(card) for card in cards}
    assert kinds["momentnet-all"] == PRODUCTION
    assert kinds["cgcnn-bg"] == BENCHMARK
    assert kinds["chgnet"] == POTENTIAL


def test_the_best_for_a_property():
    best = {each["property"]: each for each in Catalogue.read().best()}
    cards = {card.name: card for card in Catalogue.read().cards}
    for target, each in best.items():
        measured = {
            name: card.metrics[target].mae
            for name, card in cards.items()
            if target in card.metrics and kind_of(card) == BENCHMARK
        }
        assert each["benchmark"] == min(measured, key=measured.get)
        assert each["benchmark_mae"] == min(measured.values())
        everybody = {name: card.metrics[target].mae for name, card in cards.items() if target in card.metrics}
        assert each["predict_mae"] == everybody[each["predict"]] == min(everybody.values())
    for target in ("formation_energy", "band_gap"):
        # the same errors, of the same training
        assert (best[target]["predict"], best[target]["benchmark"]) == ("momentnet-all", "momentnet-u")
    assert best["band_gap"]["left_out"] == 0
    training = cards["momentnet-u"].training
    assert left_out(cards["momentnet-u"]) == training.test.crystals + training.excluded.crystals
    # nobody has measured the energies of potentials
    assert "energy" not in best


def test_one_that_has_learned_from_every_crystal_wins_if_it_errs_as_little():
    cards = {card.name: card for card in Catalogue.read().cards}
    every, other = cards["momentnet-all"], cards["cgcnn-mpt"]
    for error, wins in ((0.2788, every), (0.2789, other)):
        gaps = [
            replace(card, metrics={"band_gap": replace(card.metrics["band_gap"], mae=mae)})
            for card, mae in ((other, 0.2788), (every, error))
        ]
        (best,) = Catalogue(gaps, properties="band_gap").best()
        assert (best["predict"], best["benchmark"]) == (wins.name, other.name)


def test_the_table_says_what_to_take_and_how(tlzoo):
    said = tlzoo("zoo", "list", "--property", "eij_max").out
    # no better than the mean, which the error alone does not say
    assert "eij_max   DFPT, PBE(+U)  momentnet-mpt  0.764  C/m^2  0.02    38,592" in said
    assert "tlzoo predict momentnet-mpt FILE" in said


def test_narrowed(tlzoo):
    everything = Catalogue.read()
    gaps = everything.narrowed("band_gap", None, ())
    errors = [card.metrics["band_gap"].mae for card in gaps.cards]
    assert errors == sorted(errors)
    assert len(errors) >= 6
    assert [each["property"] for each in gaps.best()] == ["band_gap"]
    networks = everything.narrowed(None, "alignn", ())
    assert {card.name.split("-")[0] for card in networks.cards} == {"alignn"}
    both = everything.narrowed("phonons.*", "MomentNet", ("Si", "O"))
    assert [card.name for card in both.cards] == ["momentnet-all", "momentnet-u", "momentnet-u2"]
    assert len(both.targets(both.cards[0])) == 4
    assert everything.narrowed("phonons.*", None, ("Og",)).cards == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--property", "gap"), "there is no property 'gap'; there are: "),
        (("--backbone", "GCN"), "there is no backbone 'GCN'; there are: "),
        (("--elements", "Si,Xx"), "there is no element 'Xx'; wanted symbols such as Si"),
    ],
)
def test_what_is_not_there_is_refused(tlzoo, options, said):
    answer = tlzoo("zoo", "list", *options)
    assert answer.code == 2
    assert said in answer.err


def test_json(tlzoo):
    said = json.loads(tlzoo("zoo", "list", "--json", "--property", "band_gap").out)
    assert set(said) == {"checkpoints", "best_for", "damaged"}
    first = said["checkpoints"][0]
    gap = next(target for target in first["targets"] if target["name"] == "band_gap")
    assert gap["unit"] == "eV"
    assert gap["theory"] == "PBE(+U)"
    assert gap["mae"] == min(
        target["mae"]
        for card in said["checkpoints"]
        for target in card["targets"]
        if target["name"] == "band_gap"
    )
    one = json.loads(tlzoo("zoo", "info", "cgcnn-bg", "--json").out)
    assert one["kind"] == BENCHMARK
    assert one["weights"].endswith("cgcnn-bg.safetensors")


def test_a_card_says_what_it_is_best_for(tlzoo):
    assert "  best      to predict: " in tlzoo("zoo", "info", "momentnet-all").out
    said = tlzoo("zoo", "info", "momentnet-u").out
    assert "  best      to fine-tune from, and to compare with: " in said
    assert "  best  " not in tlzoo("zoo", "info", "cgcnn-bg").out
