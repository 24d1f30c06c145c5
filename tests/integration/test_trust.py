"""What is said of predictions for crystals unlike those that a model has learned from."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

import tlzoo as package
from tlzoo.cards import library
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.errors import UserError
from tlzoo.model import trust
from tlzoo.model.seen import seen_in_training
from tlzoo.screen.kept_domain import find_domain
from tlzoo.screen.predictors import Network
from tlzoo.zoo.publish import publish

pytestmark = pytest.mark.usefixtures("cache", "quick")
WORDS = {trust.IN, trust.ELEMENTS, trust.FAR, trust.LIKE, trust.UNKNOWN}
OLD = Path(__file__).parents[1] / "written_by" / "846dd3e" / "trained" / "cgcnn"


def rock_salt(one, other, a):
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [one, other], [[0, 0, 0], [0.5, 0.5, 0.5]])


XEHE = """data_XeHe
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Xe1 Xe 0 0 0
He1 He 0.5 0.5 0.5
"""
STRUCTURES = {
    "XeHe": Structure(Lattice.cubic(4.0), ["Xe", "He"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "EuO": rock_salt("Eu", "O", 5.14),
    "NaCl": rock_salt("Na", "Cl", 5.64),
}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "cifs"
    path.mkdir()
    (path / "XeHe.cif").write_text(XEHE)  # pymatgen warns of helium when it writes one
    for name in ("EuO", "NaCl"):
        STRUCTURES[name].to(filename=str(path / f"{name}.cif"))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, few, tlzoo):
    """A short training on a few crystals."""
    from tlzoo.testing import workbench

    path = tmp_path_factory.mktemp("run")
    config = workbench.write_config(path / "config.yaml", few, {})
    for command in (("fit", "--config", config, "--run_dir", path / "run"), ("test", path / "run")):
        answer = tlzoo(*command)
        assert answer.code == 0, answer.err
    return path / "run"


def test_crystals_unlike_those_of_training(folder, tlzoo, tmp_path):
    answer = tlzoo("predict", "cgcnn-bg", folder, "-o", tmp_path / "p.csv")
    assert answer.code == 0, answer.err
    table = pd.read_csv(tmp_path / "p.csv", keep_default_na=False).set_index("id")
    ends = ["band_gap_q5", "band_gap_q95"]
    assert list(table.columns) == ["band_gap", *ends, "trust", "unseen_elements", "distance"]
    assert table.loc["XeHe", ["trust", "unseen_elements"]].tolist() == ["unknown elements", "He, Xe"]
    # europium was in training, europium monoxide and its like were not
    assert table.loc["EuO", ["trust", "unseen_elements"]].tolist() == ["far from training", ""]
    assert table.loc["NaCl", "trust"] in {"in training", "like training"}
    assert table.loc["NaCl", "unseen_elements"] == ""
    assert "1 of 3 crystals holds elements that cgcnn-bg has never seen (He, Xe): XeHe; " in answer.err
    assert "1 of 3 crystals is farther from what cgcnn-bg has learned from than 99 % of that" in answer.err
    assert answer.err.count("\n") == 1


def test_the_same_from_python(folder, tlzoo, tmp_path):
    model = package.load("cgcnn-bg")
    told = model.trust(list(STRUCTURES.values()))
    assert list(told.columns) == ["id", "trust", "unseen_elements", "distance"]
    assert told["trust"].tolist()[:2] == ["unknown elements", "far from training"]
    assert list(model.predict(list(STRUCTURES.values())).columns)[:2] == ["id", "band_gap"]
    assert tlzoo("predict", "cgcnn-bg", folder, "-o", tmp_path / "p.parquet").code == 0
    written = pd.read_parquet(tmp_path / "p.parquet").set_index("id").loc[list(STRUCTURES)]
    assert written["trust"].tolist() == told["trust"].tolist()
    np.testing.assert_allclose(written["distance"], told["distance"], atol=2e-3)
    np.testing.assert_allclose(
        written["band_gap"], model.predict(list(STRUCTURES.values()))["band_gap"], rtol=1e-4, atol=1e-5
    )


def test_every_checkpoint_knows_what_it_has_learned_from():
    cards = [library.find(name) for name in library.names(library.repository() / "checkpoints")]
    assert len(cards) >= 16
    for card, path, _ in cards:
        if card.package:
            continue  # nobody tells
        domain = Network(card.name, package.load(path), card.targets[0]).domain()
        assert domain.measures, card.name
        assert len(domain.keys) == card.training.train.crystals, card.name
        assert 1 < domain.limit < 10, card.name


def test_a_run_knows_its_training_crystals(run, few, tlzoo, tmp_path):
    crystals = Crystals.read_parquet(few)
    parts = json.loads((run / "split.json").read_text())
    answer = tlzoo("predict", run, few, "-o", tmp_path / "p.csv")
    assert answer.code == 0, answer.err
    table = pd.read_csv(tmp_path / "p.csv", dtype={"id": str}).set_index("id")
    assert set(table["trust"]) <= WORDS
    assert (table.loc[parts["train"], "trust"] == "in training").all()
    known = dict(zip(crystals.ids, crystals.formulas, strict=True))
    learned = {known[name] for name in parts["train"]}
    others = [name for name in crystals.ids if known[name] not in learned]
    assert len(others) > 2
    assert (table.loc[others, "trust"] != "in training").all()
    row = list(crystals.ids).index(parts["train"][0])
    doubled = crystals.structure(row).get_primitive_structure() * [[1, 1, 0], [-1, 1, 0], [0, 0, 1]]
    card = json.loads((run / "model.json").read_text())
    seen = seen_in_training(card, Crystals.from_structures([doubled]), run / "model.safetensors")
    assert seen.mask.tolist() == [True]


def test_measuring_keeps_what_is_known_of_training_crystals(run, tmp_path, monkeypatch):
    from tlzoo.training import run as module
    from tlzoo.training.measuring import test as measure

    copy = shutil.copytree(run, tmp_path / "run")
    before = (copy / "model.domain.safetensors").read_bytes()
    monkeypatch.setattr(module, "learned_domain", lambda *_: pytest.fail("found anew"))
    measure(copy)
    assert (copy / "model.domain.safetensors").read_bytes() == before


def test_models_of_before_say_that_they_do_not_know(few, folder, tlzoo, tmp_path):
    answer = tlzoo("predict", OLD, folder / "NaCl.cif", "-o", tmp_path / "p.csv")
    assert answer.code == 0, answer.err
    table = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert table["trust"].tolist()[0] in {"not known", "unknown elements"}
    assert table["distance"].tolist() == [""]
    assert "is not known: its card names no file of them" in answer.err
    card = json.loads((OLD / "model.json").read_text())
    seen = seen_in_training(card, Crystals.from_structures([STRUCTURES["NaCl"]]), OLD / "model.safetensors")
    assert seen.mask is None
    assert seen.note


def test_it_travels_with_a_published_checkpoint(run, tmp_path, monkeypatch):
    rights = {"citation": "Somebody (2024)", "licence": "CC0"}
    card = publish(run, "told", description="x", folder=tmp_path / "zoo", **rights)
    assert card.domain.file == "told.domain.safetensors"
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(tmp_path / "zoo"))
    ours, theirs = package.load("told"), package.load(run)
    assert ours.domain.content() == theirs.domain.content()
    crystals = named.load("semiconductors").select(np.arange(30))
    pd.testing.assert_frame_equal(ours.trust(crystals), theirs.trust(crystals))
    assert seen_in_training(json.loads((tmp_path / "zoo" / "told.json").read_text()), crystals).mask.any()
    (tmp_path / "zoo" / "told.domain.safetensors").unlink()
    assert set(package.load("told").trust(crystals)["trust"]) <= {"not known", "unknown elements"}
    (tmp_path / "zoo" / "told.domain.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="is not the file that the card describes"):
        package.load("told").trust(crystals)


def test_a_property_keeps_its_name(run):
    answers = {"trust": np.zeros(2), "distance": np.ones(2)}
    known = {"trust": np.array(["a", "b"], object), "unseen_elements": np.array(["", ""], object)}
    table = trust.beside(answers, known)
    assert list(table) == ["trust", "distance", "trust_", "unseen_elements"]
    assert table["trust"] is answers["trust"]


def test_a_screening_says_where_it_could_not_check(run, few, tlzoo, tmp_path):
    """Neither the data of the training are there nor anything beside the weights."""
    alone = tmp_path / "alone"
    alone.mkdir()
    for ending in ("safetensors", "json"):
        shutil.copy(run / f"model.{ending}", alone / f"net.{ending}")
    answer = tlzoo(
        "screen", alone / "net.safetensors", "semiconductors", "-o", tmp_path / "r.parquet", "--jobs", 1
    )
    assert answer.code == 0, answer.err
    table = pd.read_parquet(tmp_path / "r.parquet")
    strange = table["unseen_elements"] != ""
    assert strange.any()
    assert table.loc[strange, "out_of_domain"].all()
    assert table.loc[~strange, "out_of_domain"].isna().all(), "nobody has looked"
    assert "distance" not in table
    told = tlzoo("screen", run, "semiconductors", "-o", tmp_path / "s.parquet", "--jobs", 1)
    assert told.code == 0, told.err
    assert pd.read_parquet(tmp_path / "s.parquet")["out_of_domain"].notna().all()


def test_training_crystals_of_a_checkpoint_in_another_cell(data_dir):
    """And crystals of a pool that it has not learned from are not taken for those."""
    crystals = named.load("pretraining")
    card = json.loads((library.repository() / "checkpoints" / "cgcnn-bg.json").read_text())
    learned = np.flatnonzero((crystals.column("part") == "train") & ~np.isnan(crystals.column("band_gap")))
    assert len(learned) == card["training"]["train"]["crystals"]
    generator = np.random.default_rng(0)
    some = learned[crystals.num_atoms[learned] <= 20]
    cells = [
        crystals.structure(row).get_reduced_structure() * [[1, 1, 0], [-1, 1, 0], [0, 0, 1]]
        for row in generator.choice(some, 40, replace=False)
    ]
    assert seen_in_training(card, Crystals.from_structures(cells)).mask.all()
    pool = Crystals.read_parquet(data_dir / "mp_pool.parquet")
    formulas = {crystals.formulas[row] for row in learned}
    unknown = [row for row in generator.permutation(len(pool))[:2000] if pool.formulas[row] not in formulas][
        :300
    ]
    assert len(unknown) == 300
    assert not seen_in_training(card, pool.select(unknown)).mask.any()


def test_distances_agree_with_those_of_the_data(data_dir):
    """One thousand points beside the weights tell what five thousand of the data would."""
    crystals = named.load("pretraining")
    model = package.load("cgcnn-bg")
    network = Network("cgcnn-bg", model)
    from_card = find_domain(network)
    network.domain = lambda: type(from_card).unknown("")
    from_data = find_domain(network)
    rows = np.random.default_rng(1).permutation(np.flatnonzero(crystals.column("part") == "test"))[:1000]
    embedding = model.embed(crystals.select(rows))
    ours, theirs = from_card.distances(embedding), from_data.distances(embedding)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9
    assert ((ours > from_card.limit) == (theirs > from_data.limit)).mean() > 0.99
    assert np.median(ours / theirs) == pytest.approx(1, abs=0.1)
