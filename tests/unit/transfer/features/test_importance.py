"""What a prediction rests on is found; what it does not look at is of no importance."""

import numpy as np
import pytest

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.descriptors.descriptor_chunk import names
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.errors import UserError
from tlzoo.transfer.features import importance as module
from tlzoo.transfer.features.features_request import Request
from tlzoo.transfer.features.importance import FAMILIES, draw, importance
from tlzoo.transfer.features.layers import Descriptors
from tlzoo.transfer.features.learning import read, transfer


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The label is the largest dipole polarisability: nothing else needs to be known."""
    crystals = named.load("semiconductors")
    values = Descriptors().activations(crystals, ["composition"])["composition"]
    column = Descriptors().columns("composition").index("max_dipole_polarizability")
    crystals = Crystals(
        crystals.ids, crystals.lattice, crystals.offsets, crystals.numbers, crystals.frac_coords
    )
    crystals.columns["soft"] = values[:, column].astype(np.float64)
    path = tmp_path_factory.mktemp("soft") / "soft.parquet"
    crystals.write_parquet(path)
    request = Request(
        sources=[str(path)], targets=["soft"], features=["descriptors"], layer="auto", cv="3-fold"
    )
    problem = read(request)
    report = transfer(request, problem)
    return problem, report, importance(problem, report)


def test_every_descriptor_belongs_to_one_property_and_at_most_one_family():
    properties = module._properties()
    assert sorted(np.concatenate(list(properties.values()))) == list(range(352))
    assert len(properties["dipole_polarizability"]) == 5
    assert len(properties["bond_length"]) == 4
    families = module._families(properties)
    assert families.keys() == FAMILIES.keys()
    columns = np.concatenate(list(families.values()))
    assert len(set(columns)) == len(columns)
    there = names(DescriptorOptions())
    left = {there[i] for i in set(range(352)) - set(columns.tolist())}
    assert not [name for name in left if "radius" in name or "polariz" in name or "bond" in name]


def test_what_the_label_is_comes_first(found):
    table = found[2]
    assert list(table["features"].unique()) == ["descriptors"]
    first = table[table["level"] == "family"].iloc[0]
    assert first["name"] == "dipole polarisability, C6"
    assert first["growth"] > 3 * first["standard_error"] > 0
    assert first["descriptors"] == 15
    properties = table[table["level"] == "property"]
    assert len(properties) == len(module._properties())
    assert properties["growth"].is_monotonic_decreasing


def test_nothing_changed_is_no_growth(found, monkeypatch):
    """Also: the models fitted again are those of the cross-validation, to the last digits."""
    problem, report, _ = found
    monkeypatch.setattr(
        module, "_others", lambda groups, _: np.tile(np.arange(len(groups)), (module.DRAWS, 1))
    )
    table = importance(problem, report)
    scale = report.figures(report.results[0])["unit"]["mae"]
    assert np.abs(table["growth"]).max() < 1e-3 * scale


def test_another_crystal_is_of_another_composition():
    groups = np.array([0, 0, 1, 2, 1, 3])
    others = module._others(groups, seed=0)
    assert others.shape == (module.DRAWS, 6)
    assert (groups[others] != groups).all()


def test_a_figure(found, tmp_path):
    draw(found[2], tmp_path / "figure.png", unit="a.u.")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_graphs_have_no_descriptors():
    request = Request(sources=["semiconductors"], features=["cgcnn-fe"], layer="embed", cv="3-fold")
    problem = read(request)
    with pytest.raises(UserError, match="importance is that of descriptors; cgcnn-fe reads graphs"):
        importance(problem, transfer(request, problem))
