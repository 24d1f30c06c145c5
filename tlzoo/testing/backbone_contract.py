"""What every backbone promises."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
import pytest
import torch
from torch import Tensor

from tlzoo.backbones.backbone import Backbone
from tlzoo.crystals import Crystals
from tlzoo.data.intake import crystals_from
from tlzoo.descriptors.stores import batch_of
from tlzoo.descriptors.suitability import reads_structure
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.heads import Regression
from tlzoo.model import checkpoint
from tlzoo.testing.small_crystals import STRUCTURES, iron, perovskite, rock_salt, triclinic

if TYPE_CHECKING:
    from pymatgen.core import Structure


class BackboneContract:
    """Tests of backbones.

    Attributes:
        backbones: How to build each that is tested: small, and without dropout.
    """

    backbones: ClassVar[Mapping[str, Callable[[], Backbone]]] = {}

    def extensive(self, backbone: Backbone) -> bool:
        """Whether the embedding of a cell twice as large is twice as long, instead of the same."""
        return getattr(backbone, "pooling", None) == "sum"

    def sees_structure(self, backbone: Backbone) -> bool:
        """Whether strain must change the embedding."""
        return reads_structure(backbone.graph)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test for all backbones, and for all structures where it asks for one."""
        if "warm" in metafunc.fixturenames:
            metafunc.parametrize("warm", list(self.backbones), indirect=True, scope="class")
        if "structure" in metafunc.fixturenames:
            metafunc.parametrize("structure", list(STRUCTURES), indirect=True)

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def one_thread() -> Iterator[None]:
        """Small tensors: threads would only wait for each other."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)

    @pytest.fixture(scope="class")
    @staticmethod
    def warm(request: pytest.FixtureRequest) -> Backbone:
        """A backbone whose norms have seen crystals, so that it is as sensitive as a trained one."""
        torch.manual_seed(0)
        backbone: Backbone = request.cls.backbones[request.param]()
        strained = [perovskite().copy().apply_strain(strain) for strain in (-0.04, 0.04)]
        data = batch(backbone, *(structure() for structure in STRUCTURES.values()), iron(), *strained)
        backbone.fit([data])
        with torch.no_grad():
            for _ in range(30):
                backbone.train()(data)
        return backbone

    @pytest.fixture
    def backbone(self, warm: Backbone) -> Backbone:
        """A backbone of the test's own."""
        return copy.deepcopy(warm)

    @pytest.fixture
    def structure(self, request: pytest.FixtureRequest) -> Structure:
        """One of the structures."""
        return STRUCTURES[request.param]()

    def test_one_embedding_per_crystal(self, backbone: Backbone) -> None:
        embedding = embed(backbone, rock_salt(), iron(), triclinic())
        assert embedding.shape == (3, backbone.out_dim)
        assert embedding.dtype == torch.float32
        assert embedding.isfinite().all()
        assert not torch.allclose(embedding[0], embedding[2], rtol=1e-2)

    def test_a_crystal_is_the_same_alone_or_in_a_batch(self, backbone: Backbone) -> None:
        structures = [rock_salt(), iron(), perovskite()]
        together = embed(backbone, *structures)
        for row, structure in zip(together, structures, strict=True):
            assert_same(row, embed(backbone, structure)[0])

    def test_groups_partition_every_parameter_and_buffer(self, backbone: Backbone) -> None:
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

    def test_every_parameter_gets_a_gradient(self, backbone: Backbone) -> None:
        embedding = backbone.train()(batch(backbone, rock_salt(), triclinic(), perovskite()))
        (embedding * torch.randn(embedding.shape)).sum().backward()
        grads = {name: p.grad for name, p in backbone.named_parameters()}
        assert not [name for name, grad in grads.items() if grad is None or not grad.isfinite().all()]
        # a bias before a norm is cancelled by it, so only weights must move
        assert all(grad is not None and grad.any() for k, grad in grads.items() if k.endswith("weight"))

    def test_arguments_are_attributes_of_the_same_name(self, backbone: Backbone) -> None:
        arguments = inspect.signature(type(backbone)).parameters
        again = type(backbone)(**{name: getattr(backbone, name) for name in arguments})
        again.load_state_dict(backbone.state_dict())
        assert torch.equal(embed(again, rock_salt()), embed(backbone, rock_salt()))

    def test_a_stored_one_is_loaded(self, backbone: Backbone, tmp_path: Path) -> None:
        head = Regression().bind(backbone.out_dim)
        checkpoint.check_storable(backbone, head)
        checkpoint.save(tmp_path / "model", backbone, head, {"targets": ["y"]})
        loaded = checkpoint.load(tmp_path / "model").backbone
        assert type(loaded) is type(backbone)
        assert loaded.graph == backbone.graph
        assert torch.equal(embed(loaded, rock_salt()), embed(backbone, rock_salt()))

    def test_layers_give_rows_of_their_length(self, backbone: Backbone) -> None:
        data = batch(backbone, rock_salt(), triclinic())
        keys_of = {"atoms": keys.NUMBERS, "bonds": keys.BOND_LENGTH}
        for name, layer in backbone.layers().items():
            seen: list[Tensor | tuple[Tensor, ...]] = []
            hook = layer.module.register_forward_hook(lambda _m, _x, out, seen=seen: seen.append(out))
            backbone.eval()(data)
            hook.remove()
            rows = len(data[keys_of[layer.axis]]) if layer.axis in keys_of else data[keys.NUM_CRYSTALS]
            assert seen, f"layer {name} is not used"
            # the output of a layer may begin a tuple
            output = seen[-1] if isinstance(seen[-1], Tensor) else seen[-1][0]
            assert output.shape == (rows, layer.dim), name

    def test_permutation_changes_nothing(self, backbone: Backbone, structure: Structure) -> None:
        order = torch.randperm(len(structure), generator=torch.Generator().manual_seed(1)).tolist()
        permuted = type(structure).from_sites([structure[i] for i in order])
        assert_same(embed(backbone, permuted), embed(backbone, structure))

    def test_translation_changes_nothing(self, backbone: Backbone, structure: Structure) -> None:
        moved = structure.copy().translate_sites(range(len(structure)), [0.37, 0.11, 0.83])
        assert_same(embed(backbone, moved), embed(backbone, structure))

    def test_rotation_changes_nothing(self, backbone: Backbone, structure: Structure) -> None:
        rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)).double())
        lattice = structure.lattice.matrix @ rotation.numpy()
        turned = type(structure)(lattice, structure.species, structure.frac_coords)
        assert_same(embed(backbone, turned), embed(backbone, structure))

    def test_another_cell_of_the_same_size_changes_nothing(
        self, backbone: Backbone, structure: Structure
    ) -> None:
        assert_same(embed(backbone, structure.get_reduced_structure("niggli")), embed(backbone, structure))
        sheared = structure.lattice.matrix.copy()
        sheared[1] += sheared[0]
        sheared[2] -= 2 * sheared[0]
        other = type(structure)(sheared, structure.species, structure.cart_coords, coords_are_cartesian=True)
        assert_same(embed(backbone, other), embed(backbone, structure))

    def test_supercell_changes_nothing(self, backbone: Backbone, structure: Structure) -> None:
        large = structure * (2, 1, 1)
        wanted = embed(backbone, structure)
        assert_same(embed(backbone, large), 2 * wanted if self.extensive(backbone) else wanted)

    def test_primitive_cell_changes_nothing(self, backbone: Backbone) -> None:
        primitive = rock_salt().get_primitive_structure()
        assert len(primitive) == 2
        wanted = embed(backbone, rock_salt())
        assert_same(embed(backbone, primitive), wanted / 4 if self.extensive(backbone) else wanted)

    def test_strain_and_element_change_the_embedding(self, backbone: Backbone) -> None:
        wanted = embed(backbone, rock_salt())
        strained = rock_salt().copy().apply_strain(0.02)
        other = rock_salt().copy().replace_species({"Na": "K"})
        assert (embed(backbone, other) - wanted).norm() > 1e-3 * wanted.norm()
        if self.sees_structure(backbone):
            assert (embed(backbone, strained) - wanted).norm() > 1e-3 * wanted.norm()
        else:
            assert torch.equal(embed(backbone, strained), wanted)

    def test_a_formula_is_enough_or_the_message_says_that_it_is_not(self, backbone: Backbone) -> None:
        """However it is written: the order of the elements, multiples and brackets mean nothing."""
        texts = ["NaCl", "BaTiO3", "O6Ti2Ba2", "BaTi1.0O(O2)", "Cl0.5Na0.5"]
        formulas = crystals_from(pd.DataFrame({"formula": texts}))
        if self.sees_structure(backbone):
            with pytest.raises(UserError, match="a formula without a structure: bring the structure"):
                batch_of(formulas, backbone.graph)
            return
        with torch.no_grad():
            got = backbone.eval()(batch_of(formulas, backbone.graph))
        wanted = embed(backbone, rock_salt(), perovskite())
        for row, place in zip(got, (0, 1, 1, 1, 0), strict=True):
            assert_same(row, wanted[place])

    def test_one_atom_cell_works(self, backbone: Backbone) -> None:
        assert embed(backbone, iron()).isfinite().all()
        backbone.train()(batch(backbone, iron(), iron())).sum().backward()

    def test_runs_repeat_bit_for_bit(self, backbone: Backbone) -> None:
        data = batch(backbone, rock_salt(), triclinic())
        runs = []
        for _ in range(2):
            backbone.zero_grad()
            embedding = backbone.train()(data)
            embedding.square().sum().backward()
            runs.append([embedding.detach(), *(gradient(p) for p in backbone.parameters())])
        assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))

    def test_backbone_does_not_change_the_batch(self, backbone: Backbone) -> None:
        data = batch(backbone, rock_salt())
        before = data.clone()
        backbone(data)
        assert data.keys() == before.keys()
        for key, values in before.items():
            assert key == keys.NUM_CRYSTALS or torch.equal(data[key], values)

    @pytest.mark.parametrize("training", [False, True])
    def test_merged_rows_are_as_good_as_every_atom_bond_and_angle(
        self, backbone: Backbone, training: bool
    ) -> None:
        """The same embeddings, gradients and statistics; in fp64, so that nothing else differs."""
        graph = backbone.graph
        if not isinstance(graph, GraphOptions) or graph.merge_tolerance == 0:
            pytest.skip("nothing is merged of what this backbone reads")
        crystals = Crystals.from_structures([rock_salt(), perovskite(), triclinic(), iron()])
        backbone = backbone.double().train(training)
        apart = copy.deepcopy(backbone)
        options = [graph, dataclasses.replace(graph, merge_tolerance=0)]
        batches = [double(batch_of(crystals, option)) for option in options]
        assert len(batches[0][keys.BOND_LENGTH]) < 0.3 * len(batches[1][keys.BOND_LENGTH])

        got, wanted = backbone(batches[0]), apart(batches[1])
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
        weights = torch.randn(got.shape, generator=torch.Generator().manual_seed(3)).double()
        for embedding in (got, wanted):
            (embedding * weights).sum().backward()
        for (name, p), q in zip(backbone.named_parameters(), apart.parameters(), strict=True):
            scale = max(gradient(q).abs().max().item(), 1.0)
            torch.testing.assert_close(gradient(p), gradient(q), rtol=1e-4, atol=1e-4 * scale, msg=name)
        torch.testing.assert_close(
            dict(backbone.named_buffers()), dict(apart.named_buffers()), rtol=1e-5, atol=1e-6
        )

    def test_overfits_eight_crystals(self, backbone: Backbone) -> None:
        from pymatgen.core import Lattice, Structure

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
            if max(losses[-10:]) < 0.03 * losses[0]:  # and stays there
                break
        assert losses[-1] < 0.03 * losses[0]


def batch(backbone: Backbone, *structures: Structure) -> Batch:
    """What a backbone reads of structures."""
    return batch_of(Crystals.from_structures(structures), backbone.graph)


@torch.no_grad()
def embed(backbone: Backbone, *structures: Structure) -> Tensor:
    """The embeddings of structures, ``(structures, dim)``."""
    embedding: Tensor = backbone.eval()(batch(backbone, *structures))
    return embedding


def assert_same(got: Tensor, wanted: Tensor) -> None:
    """Equal within 1e-4 of the length of the embedding, in fp32."""
    assert (got - wanted).norm() < 1e-4 * wanted.norm()


def double(data: Batch) -> Batch:
    """The batch in fp64."""
    return data.apply(lambda values: values.double() if values.is_floating_point() else values)


def gradient(parameter: Tensor) -> Tensor:
    """The gradient of a parameter that has one."""
    assert parameter.grad is not None
    return parameter.grad
