"""What every backbone promises. A new backbone is one line in BACKBONES."""

import copy
import dataclasses
import inspect
from functools import cache

import pytest
import torch
from pymatgen.core import Lattice, Structure

from tlzoo.backbones import ALIGNN, CGCNN, DescriptorMLP
from tlzoo.crystals import Crystals
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.stores import batch_of
from tlzoo.graphs import keys

SMALL = {"dim": 8, "alignn_layers": 2, "gcn_layers": 2}
BACKBONES = {
    "cgcnn": lambda: CGCNN(dim=8, depth=2),
    "cgcnn-layer": lambda: CGCNN(dim=8, depth=2, norm="layer"),
    "cgcnn-sum": lambda: CGCNN(dim=8, depth=1, pooling="sum"),
    "cgcnn-max": lambda: CGCNN(dim=8, depth=1, pooling="max"),
    "cgcnn-attention": lambda: CGCNN(dim=8, depth=2, pooling="attention"),
    "cgcnn-learned": lambda: CGCNN(dim=8, depth=1, features="learned"),
    "alignn": lambda: ALIGNN(**SMALL),
    "alignn-layer": lambda: ALIGNN(**SMALL, norm="layer"),
    "alignn-max": lambda: ALIGNN(**SMALL, pooling="max"),
    "alignn-attention": lambda: ALIGNN(**SMALL, pooling="attention"),
    "alignn-learned": lambda: ALIGNN(**SMALL, features="learned"),
    "alignn-no-angles": lambda: ALIGNN(dim=8, alignn_layers=0, gcn_layers=1),
    "descriptors": lambda: DescriptorMLP(dim=8, depth=2),
    "descriptors-layer": lambda: DescriptorMLP(dim=8, depth=2, norm="layer"),
    "descriptors-composition": lambda: DescriptorMLP(dim=8, depth=1, structure=False),
    "descriptors-structure": lambda: DescriptorMLP(dim=8, depth=1, composition=False),
}


@cache
def rock_salt():
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@cache
def perovskite():
    positions = [[0, 0, 0], [0.5, 0.5, 0.52], [0.5, 0.5, 0.02], [0.5, 0, 0.51]]
    return Structure.from_spacegroup(
        "P4mm", Lattice.tetragonal(3.99, 4.04), ["Ba", "Ti", "O", "O"], positions
    )


def triclinic():
    lattice = Lattice.from_parameters(4.1, 5.3, 6.2, 81, 97, 104)
    sites = [[0.1, 0.2, 0.3], [0.6, 0.1, 0.8], [0.4, 0.7, 0.55], [0.9, 0.6, 0.1]]
    return Structure(lattice, ["Mg", "Si", "O", "O"], sites)


def iron():
    return Structure(
        Lattice.cubic(2.87).matrix @ [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
        ["Fe"],
        [[0, 0, 0]],
    )


STRUCTURES = {"rock salt": rock_salt, "perovskite": perovskite, "triclinic": triclinic}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small tensors: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=BACKBONES)
def warm(request):
    """A backbone whose norms have seen crystals, so that it is as sensitive as a trained one."""
    torch.manual_seed(0)
    backbone = BACKBONES[request.param]()
    strained = [perovskite().copy().apply_strain(strain) for strain in (-0.04, 0.04)]
    data = batch(backbone, *(structure() for structure in STRUCTURES.values()), iron(), *strained)
    backbone.fit([data])
    with torch.no_grad():
        for _ in range(30):
            backbone.train()(data)
    return backbone


@pytest.fixture
def backbone(warm):
    return copy.deepcopy(warm)


@pytest.fixture(params=STRUCTURES)
def structure(request):
    return STRUCTURES[request.param]()


def batch(backbone, *structures):
    return batch_of(Crystals.from_structures(structures), backbone.graph)


@torch.no_grad()
def embed(backbone, *structures):
    return backbone.eval()(batch(backbone, *structures))


def assert_same(got, wanted):
    """Equal within 1e-4 of the length of the embedding, in fp32."""
    assert (got - wanted).norm() < 1e-4 * wanted.norm()


def test_one_embedding_per_crystal(backbone):
    embedding = embed(backbone, rock_salt(), iron(), triclinic())
    assert embedding.shape == (3, backbone.out_dim)
    assert embedding.dtype == torch.float32
    assert embedding.isfinite().all()
    assert not torch.allclose(embedding[0], embedding[2], rtol=1e-2)


def test_a_crystal_is_the_same_alone_or_in_a_batch(backbone):
    structures = [rock_salt(), iron(), perovskite()]
    together = embed(backbone, *structures)
    for row, structure in zip(together, structures, strict=True):
        assert_same(row, embed(backbone, structure)[0])


def test_groups_partition_every_parameter_and_buffer(backbone):
    groups = backbone.groups()
    named = [
        id(tensor)
        for modules in groups.values()
        for module in modules
        for tensor in [*module.parameters(), *module.buffers()]
    ]
    every = {id(tensor) for tensor in [*backbone.parameters(), *backbone.buffers()]}
    assert len(named) == len(set(named)), "a tensor is in two groups"
    assert set(named) == every
    assert all(any(list(module.parameters()) for module in modules) for modules in groups.values())


def test_every_parameter_gets_a_gradient(backbone):
    embedding = backbone.train()(batch(backbone, rock_salt(), triclinic(), perovskite()))
    (embedding * torch.randn(embedding.shape)).sum().backward()
    without = [
        name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert not without
    # a bias before a norm is cancelled by it, so only weights must move
    assert all(p.grad.any() for name, p in backbone.named_parameters() if name.endswith("weight"))


def test_arguments_are_attributes_of_the_same_name(backbone):
    arguments = inspect.signature(type(backbone)).parameters
    again = type(backbone)(**{name: getattr(backbone, name) for name in arguments})
    again.load_state_dict(backbone.state_dict())
    assert torch.equal(embed(again, rock_salt()), embed(backbone, rock_salt()))


def test_permutation_changes_nothing(backbone, structure):
    order = torch.randperm(len(structure), generator=torch.Generator().manual_seed(1)).tolist()
    permuted = Structure.from_sites([structure[i] for i in order])
    assert_same(embed(backbone, permuted), embed(backbone, structure))


def test_translation_changes_nothing(backbone, structure):
    moved = structure.copy().translate_sites(range(len(structure)), [0.37, 0.11, 0.83])
    assert_same(embed(backbone, moved), embed(backbone, structure))


def test_rotation_changes_nothing(backbone, structure):
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)).double())
    turned = Structure(structure.lattice.matrix @ rotation.numpy(), structure.species, structure.frac_coords)
    assert_same(embed(backbone, turned), embed(backbone, structure))


def test_another_cell_of_the_same_size_changes_nothing(backbone, structure):
    assert_same(embed(backbone, structure.get_reduced_structure("niggli")), embed(backbone, structure))
    sheared = structure.lattice.matrix.copy()
    sheared[1] += sheared[0]
    sheared[2] -= 2 * sheared[0]
    other = Structure(sheared, structure.species, structure.cart_coords, coords_are_cartesian=True)
    assert_same(embed(backbone, other), embed(backbone, structure))


def test_supercell_changes_nothing(backbone, structure):
    large = structure * (2, 1, 1)
    wanted = embed(backbone, structure)
    assert_same(embed(backbone, large), 2 * wanted if extensive(backbone) else wanted)


def test_primitive_cell_changes_nothing(backbone):
    primitive = rock_salt().get_primitive_structure()
    assert len(primitive) == 2
    wanted = embed(backbone, rock_salt())
    assert_same(embed(backbone, primitive), wanted / 4 if extensive(backbone) else wanted)


def extensive(backbone):
    return getattr(backbone, "pooling", None) == "sum"


def test_strain_and_element_change_the_embedding(backbone):
    wanted = embed(backbone, rock_salt())
    strained = rock_salt().copy().apply_strain(0.02)
    other = rock_salt().copy().replace_species({"Na": "K"})
    assert (embed(backbone, other) - wanted).norm() > 1e-3 * wanted.norm()
    if backbone.graph == DescriptorOptions(structure=False):
        assert torch.equal(embed(backbone, strained), wanted)
    else:
        assert (embed(backbone, strained) - wanted).norm() > 1e-3 * wanted.norm()


def test_one_atom_cell_works(backbone):
    assert embed(backbone, iron()).isfinite().all()
    backbone.train()(batch(backbone, iron(), iron())).sum().backward()


def test_runs_repeat_bit_for_bit(backbone):
    data = batch(backbone, rock_salt(), triclinic())
    runs = []
    for _ in range(2):
        backbone.zero_grad()
        embedding = backbone.train()(data)
        embedding.square().sum().backward()
        runs.append([embedding.detach(), *(p.grad for p in backbone.parameters())])
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


def test_backbone_does_not_change_the_batch(backbone):
    data = batch(backbone, rock_salt())
    before = data.clone()
    backbone(data)
    assert data.keys() == before.keys()
    for key, values in before.items():
        assert key == keys.NUM_CRYSTALS or torch.equal(data[key], values)


@pytest.mark.parametrize("training", [False, True])
def test_merged_rows_are_as_good_as_every_atom_bond_and_angle(backbone, training):
    """The same embeddings, gradients and statistics; in double precision, so that nothing else differs."""
    if isinstance(backbone.graph, DescriptorOptions):
        pytest.skip("descriptors have one row per crystal")
    crystals = Crystals.from_structures([rock_salt(), perovskite(), triclinic(), iron()])
    backbone = backbone.double().train(training)
    apart = copy.deepcopy(backbone)
    options = [backbone.graph, dataclasses.replace(backbone.graph, merge_tolerance=0)]
    batches = [double(batch_of(crystals, option)) for option in options]
    assert len(batches[0][keys.BOND_LENGTH]) < 0.3 * len(batches[1][keys.BOND_LENGTH])

    got, wanted = backbone(batches[0]), apart(batches[1])
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
    weights = torch.randn(got.shape, generator=torch.Generator().manual_seed(3)).double()
    for embedding in (got, wanted):
        (embedding * weights).sum().backward()
    for (name, p), q in zip(backbone.named_parameters(), apart.parameters(), strict=True):
        scale = max(q.grad.abs().max().item(), 1.0)
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-4 * scale, msg=name)
    torch.testing.assert_close(
        dict(backbone.named_buffers()), dict(apart.named_buffers()), rtol=1e-5, atol=1e-6
    )


def double(data):
    return data.apply(lambda values: values.double() if values.is_floating_point() else values)


def test_overfits_eight_crystals(backbone):
    elements = ["Li", "Na", "K", "Rb", "F", "Cl", "Br", "I"]
    crystals = [
        Structure(Lattice.cubic(3.0 + 0.2 * i), [name, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        for i, name in enumerate(elements)
    ]
    data = batch(backbone, *crystals)
    target = torch.tensor([1.0, -1.0, 0.5, 2.0, -0.5, 0.0, -2.0, 1.5])
    head = torch.nn.Linear(backbone.out_dim, 1)
    optimiser = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=0.02)
    losses = []
    for _ in range(80):
        loss = (head(backbone.train()(data))[:, 0] - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.03 * losses[0]
