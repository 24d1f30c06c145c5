"""Checkpoints narrowed down, and which one to take."""

import json

import pytest

from tlzoo.cards import library
from tlzoo.cards.catalogue import BENCHMARK, POTENTIAL, PRODUCTION, Catalogue, kind_of


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
    assert kinds["cgcnn-fe-bg-all"] == PRODUCTION
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
    # it has learned from every crystal
    assert best["band_gap"]["predict"] == "cgcnn-fe-bg-all"
    # of shear moduli no such checkpoint is there
    assert best["log10_g_vrh"]["predict"] == best["log10_g_vrh"]["benchmark"]
    # nobody has measured the energies of potentials
    assert "energy" not in best


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
    assert [card.name for card in both.cards] == ["momentnet-u"]
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
    best = {each["property"]: each for each in Catalogue.read().best()}["formation_energy"]
    assert "formation_energy (to predict)" in tlzoo("zoo", "info", best["predict"]).out
    told = tlzoo("zoo", "info", best["benchmark"]).out
    assert "formation_energy (to benchmark and to fine-tune)" in told
