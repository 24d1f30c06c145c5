"""What models say of themselves, in a few lines."""

import numpy as np
import pytest

from tlzoo.data import named
from tlzoo.model.predictor import errors, history
from tlzoo.transfer.finetune.chosen import load


def test_a_checkpoint_says_what_it_is():
    model = load("cgcnn-bg")
    assert repr(model).splitlines() == [
        "cgcnn-bg",
        "  predicts  band_gap (eV): PBE band gap, every crystal",
        "  network   CGCNN, 80,833 parameters",
        "  learned   81,747 crystals of pretraining",
        "  error     MAE 0.263 eV on 10,610 crystals held out",
    ]
    assert model._repr_html_() == f"<pre>{model!r}</pre>"


@pytest.mark.parametrize("name", ["momentnet-u", "momentnet-all"])
def test_several_properties_fit_into_five_lines(name):
    lines = repr(load(name)).splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) < 160
    assert "formation_energy (eV/atom)" in lines[1]


@pytest.mark.parametrize(
    ("metrics", "units", "said"),
    [
        ({"val": {"mae": 0.5, "crystals": 20}}, {"gap": "eV"}, "MAE 0.5 eV on 20 validation crystals"),
        (
            {"val": {"mae": 1, "crystals": 2}, "test": {"mae_a": 1, "mae_b": 2.5, "crystals": 3}},
            {"a": "eV", "b": "1"},
            "MAE 1 eV, 2.5 on 3 test crystals",
        ),
        ({"test": {"accuracy": 0.75, "crystals": 8}}, {"metal": ""}, "accuracy 0.75 on 8 test crystals"),
        ({}, {"gap": "eV"}, ""),
        ({"test": {"mae": 0.5, "n": 7}}, {"test": "eV"}, "MAE 0.5 eV on 7 crystals held out"),
    ],
)
def test_errors_are_those_of_what_was_not_learned_from(metrics, units, said):
    assert errors({"metrics": metrics}, units) == said


def test_a_package_says_what_its_network_has_learned():
    assert history({"training": None, "package": {"learned": "relaxations"}}) == "relaxations"
    assert (
        history({"source": "mine.csv", "split": "8 train, 1 val, 1 test"})
        == "mine.csv: 8 train, 1 val, 1 test"
    )


def test_models_answer_for_one_crystal_and_for_tables(tmp_path):
    model, crystals = load("cgcnn-bg"), named.load("semiconductors")[:5]
    said = model.predict(crystals)
    assert said["id"].tolist() == crystals.ids.tolist()
    crystals[1].to(filename=str(tmp_path / "Si.cif"))
    crystals.write_parquet(tmp_path / "five.parquet")
    for one in (crystals[1], str(tmp_path / "Si.cif"), [tmp_path / "Si.cif"], tmp_path):
        (tmp_path / "five.parquet").unlink(missing_ok=True)
        assert model.predict(one)["band_gap"][0] == pytest.approx(said["band_gap"][1], abs=1e-4)
        assert model.embed(one).shape == (1, 64)
        assert len(model.trust(one)) == 1
    for table in (crystals.to_pandas(), crystals.to_pandas()["structure"]):
        np.testing.assert_allclose(model.predict(table)["band_gap"], said["band_gap"], rtol=1e-4, atol=1e-5)
        assert model.predict(table)["id"].tolist() == crystals.ids.tolist()
    assert len(model.predict("semiconductors")) == 203
