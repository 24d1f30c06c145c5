"""Contributions of atoms: their mean or sum is the prediction; what they are is computed anew, slowly."""

import numpy as np
import pytest
import torch

from tlzoo.backbones import ALIGNN, CGCNN, DescriptorMLP, MomentNet
from tlzoo.crystals import Crystals
from tlzoo.errors import UserError
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.heads import Classification, Gaussian, MultiProperty, Regression
from tlzoo.model.trained import Model
from tlzoo.nn.pooling import Pool
from tlzoo.testing import small_crystals

NAMES = ["gap", "k"]


def made(backbone, head, targets=("gap",), others=()):
    """A model with random weights, of which no layer is idle."""
    head.bind(backbone.out_dim)
    rng = np.random.default_rng(1)
    labels = rng.uniform(1, 3, (20, head.num_targets)).round(0 if isinstance(head, Classification) else 3)
    head.fit(torch.as_tensor(np.minimum(labels, getattr(head, "classes", 9) - 1), dtype=torch.float32))
    card = {"targets": list(targets), "units": ["eV"] * len(targets)}
    return Model(backbone.eval(), head.eval(), card, others=tuple(others))


def states(model, crystals):
    """Vectors of all atoms, those of equal ones too, and their crystals' embeddings."""
    store = GraphStore.in_memory(crystals, model.backbone.graph)
    seen = []
    with model.backbone.pool.register_forward_pre_hook(lambda _, given: seen.append(given[0])):
        embedding = model.backbone(store.batch(np.arange(len(store))))
    ends = np.cumsum(store.num_atoms)[:-1]
    places = np.split(store.place, store.site_offsets[1:-1])
    each = seen[0].detach().split(np.diff([0, *ends, len(seen[0])]).tolist())
    return [
        x[torch.from_numpy(place.astype(np.int64))] for x, place in zip(each, places, strict=True)
    ], embedding


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("pooling", ["mean", "attention", "sum"])
@pytest.mark.parametrize("kind", [CGCNN, ALIGNN, MomentNet])
@pytest.mark.parametrize("hidden", [(), (7,)])
def test_together_they_are_the_prediction(kind, pooling, hidden):
    options = {"alignn_layers": 1, "gcn_layers": 1} if kind is ALIGNN else {"depth": 2}
    model = made(
        kind(dim=8, pooling=pooling, **options),
        MultiProperty(targets=NAMES, hidden=hidden, transform={"k": "log10"}, minimum={"gap": 1.9}),
        NAMES,
    )
    crystals = small_crystals.four()
    atoms = model.per_atom(crystals)
    assert list(atoms.columns) == ["id", "atom", "element", "x", "y", "z", *NAMES]
    assert atoms["element"].tolist() == [str(site.specie) for one in crystals for site in one]
    assert atoms["atom"].tolist() == [place for one in crystals for place in range(len(one))]
    groups = atoms.groupby("id", sort=False)[NAMES]
    whole = groups.sum() if pooling == "sum" else groups.mean()
    np.testing.assert_allclose(whole, model.predict(crystals)[NAMES], rtol=1e-4, atol=1e-5)
    assert atoms.attrs["pooling"] == pooling


@pytest.mark.parametrize("pooling", ["mean", "attention", "sum"])
def test_of_a_linear_head_they_are_what_it_makes_of_each_atom(pooling):
    model = made(CGCNN(dim=8, depth=2, pooling=pooling), Regression(hidden=()))
    crystals = small_crystals.four()
    said = model.per_atom(crystals)["gap"].to_numpy()
    vectors, _ = states(model, crystals)
    (out,), scaler = model.head.outs, model.head.scaler
    wanted = []
    for x in vectors:
        if pooling == "sum":  # what is added once a crystal is shared by its atoms
            each = (x @ out.weight[0] + out.bias / len(x)) * scaler.std + scaler.mean / len(x)
        else:
            score = torch.zeros(len(x)) if pooling == "mean" else model.backbone.pool.score(x)[:, 0]
            each = scaler.inverse(out(x))[:, 0] * score.softmax(0) * len(x)
        wanted += each.tolist()
    np.testing.assert_allclose(said, wanted, rtol=1e-4, atol=1e-4)


def test_of_another_head_they_are_how_the_prediction_changes_with_the_weight_of_an_atom():
    """To first order: ``y(x + s (h - x)) = y(x) + s (c - y(x))``."""
    model = made(CGCNN(dim=8, depth=2), Regression(hidden=(7,)))
    crystals = Crystals.from_structures([small_crystals.triclinic()])
    said = torch.tensor(model.per_atom(crystals)["gap"].to_numpy())
    (vectors,), embedding = states(model, crystals)
    head, step = model.head.double(), 1e-4
    x, h = embedding.double(), vectors.double()

    def value(point):
        return head.predict(head(point))[:, 0]

    changed = (value(x + step * (h - x)) - value(x - step * (h - x))) / (2 * step)
    np.testing.assert_allclose(said, (value(x) + changed).detach(), rtol=1e-3)
    assert said.std() > 1e-3


def test_probabilities_and_several_trainings():
    crystals = small_crystals.four()
    for classes, names in ((2, ["metal_probability"]), (3, [f"metal_probability_{i}" for i in range(3)])):
        model = made(CGCNN(dim=8, depth=1), Classification(classes=classes, hidden=(5,)), ["metal"])
        atoms = model.per_atom(crystals).groupby("id", sort=False)[names].mean()
        np.testing.assert_allclose(atoms, model.predict(crystals)[names], rtol=1e-4, atol=1e-5)
    other = made(CGCNN(dim=6, depth=1), Gaussian(hidden=(5,)))
    alone = made(CGCNN(dim=8, depth=1), Gaussian(hidden=(5,)))
    both = Model(alone.backbone, alone.head, alone.card, others=(other,))
    each = [model.per_atom(crystals)["gap"].to_numpy() for model in (alone, other)]
    np.testing.assert_allclose(both.per_atom(crystals)["gap"], np.mean(each, axis=0), rtol=1e-5)
    adds = made(CGCNN(dim=8, depth=1, pooling="sum"), Gaussian(hidden=(5,)))
    with pytest.raises(UserError, match="some add up atoms"):
        Model(alone.backbone, alone.head, alone.card, others=(adds,)).per_atom(crystals)


def test_they_do_not_depend_on_the_cell():
    """What an atom contributes is the same in twice the cell, where copies follow one another."""
    model = made(ALIGNN(dim=8, alignn_layers=1, gcn_layers=1), Regression(hidden=(7,)))
    one = small_crystals.perovskite()
    double = one.copy()
    double.make_supercell([2, 1, 1])
    said = model.per_atom([one, double])["gap"].to_numpy()
    np.testing.assert_allclose(said[len(one) :], np.repeat(said[: len(one)], 2), rtol=1e-5)
    assert np.ptp(said) > 1e-3


class Doubled(CGCNN):
    """A network that does more than pool."""

    def forward(self, batch):
        return 2 * super().forward(batch)


def test_what_pools_otherwise_is_told():
    for backbone, what in (
        (CGCNN(dim=8, depth=1, pooling="max"), "CGCNN with pooling max"),
        (DescriptorMLP(dim=8), "DescriptorMLP"),
    ):
        with pytest.raises(UserError, match=rf"by mean, sum or attention; this model is {what}$"):
            made(backbone, Regression()).per_atom(small_crystals.four())
    with pytest.raises(UserError, match="Doubled does more with a crystal than pool its atoms"):
        made(Doubled(dim=8, depth=1), Regression()).per_atom(small_crystals.four())


@pytest.mark.parametrize("pooling", ["mean", "sum", "attention"])
def test_weights_are_those_of_the_pooling(pooling):
    pool, crystal = Pool(pooling, dim=4), torch.tensor([0, 0, 1, 1, 1])
    x, count = torch.randn(5, 4), torch.tensor([1.0, 3.0, 2.0, 1.0, 1.0])
    weight = pool.weights(x, crystal, count, 2)
    for row in range(2):
        mine = crystal == row
        added = (x[mine] * weight[mine] * count[mine, None]).sum(0)
        torch.testing.assert_close(added, pool(x, crystal, count, 2)[row])
