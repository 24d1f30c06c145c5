"""Frozen features as scikit-learn uses transformers."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlzoo.backbones import CGCNN
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.descriptors.descriptor_chunk import names
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.errors import UserError
from tlzoo.heads import Regression
from tlzoo.model.trained import Model
from tlzoo.transfer.features import FrozenFeatures


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(0, 192, 8))


@pytest.fixture(scope="module")
def structures(crystals):
    return [crystals.structure(row) for row in range(len(crystals))]


@pytest.fixture(scope="module")
def gaps(crystals):
    return np.asarray(crystals.column("band_gap"), dtype=np.float64)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Model(CGCNN(dim=6, depth=1).eval(), Regression(hidden=(4,)).bind(6).eval(), {})


def test_a_layer_of_a_model(model, crystals, structures):
    features = FrozenFeatures(model, layer="conv.0")
    np.testing.assert_allclose(features.fit_transform(crystals), model.embed(crystals, layer="conv.0"))
    assert features.transform(structures[:3]).shape == (3, 6)
    assert features.get_feature_names_out().tolist() == [f"conv.0.{i}" for i in range(6)]


def test_descriptors(structures):
    features = FrozenFeatures(layer="composition").fit(structures)
    assert features.transform(structures).shape == (24, 290)
    assert features.get_feature_names_out().tolist() == names(DescriptorOptions(structure=False))


def test_in_a_pipeline_of_scikit_learn(structures, gaps):
    """Each fold by itself gives what one matrix for all gives: nothing is fitted to the crystals."""
    ridge = make_pipeline(FrozenFeatures(layer="composition"), StandardScaler(), Ridge())
    found = cross_val_predict(ridge, structures, gaps, cv=4)
    matrix = FrozenFeatures(layer="composition").fit(structures).transform(structures)
    wanted = cross_val_predict(make_pipeline(StandardScaler(), Ridge()), matrix, gaps, cv=4)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_auto_chooses_by_the_labels_it_is_given(crystals):
    """One of the descriptors of the structure, then one of the composition."""
    both = FrozenFeatures(layer="both").fit(crystals)
    values = dict(zip(both.get_feature_names_out(), both.transform(crystals).T, strict=True))
    assert FrozenFeatures().fit(crystals, values["mean_order_4"]).layer_ == "structure"
    assert FrozenFeatures().fit(crystals, values["mean_hhi_production"]).layer_ == "composition"


def test_settings_survive_a_clone(model):
    copy = clone(FrozenFeatures(model, layer="embed"))
    assert (copy.layer, copy.get_params()["layer"]) == ("embed", "embed")
    assert copy.set_params(layer="conv.0").layer == "conv.0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "conv.0"}, "there is no layer 'conv.0'; there are: composition, structure, both"),
        ({"model": "cgcnn-nix", "layer": "embed"}, "cgcnn-nix is no model"),
        ({"layer": "auto"}, "layer 'auto' is chosen by what is to be learned: give y, or name a layer"),
    ],
)
def test_mistakes_are_told(options, message, crystals):
    with pytest.raises(UserError, match=message):
        FrozenFeatures(**options).fit(crystals)


def test_crystals_that_cannot_be_read_are_named(crystals):
    strange = Crystals(
        ids=np.array(["nobelium"], dtype=object),
        lattice=4 * np.eye(3)[None],
        offsets=np.array([0, 1]),
        numbers=np.array([102], dtype=np.uint8),
        frac_coords=np.zeros((1, 3)),
    )
    features = FrozenFeatures(layer="composition").fit(crystals)
    with pytest.raises(
        UserError, match=r"crystal 'nobelium' .* there are no descriptors of No; they cover H to Es"
    ):
        features.transform(strange)
