"""Layers and chains: nothing depends on the vacuum that somebody left around them."""

import json
import logging

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.db import connect
from ase.io import write
from pymatgen.core import Lattice, Structure

import tlzoo
from tlzoo.backbones import ALIGNN, CGCNN, DescriptorMLP, MomentNet
from tlzoo.crystals import Crystals
from tlzoo.data.intake import crystals_from
from tlzoo.data.sources import read, read_all
from tlzoo.errors import UserError
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.periodicity import VACUUM, set_apart
from tlzoo.testing.backbone_contract import batch, embed
from tlzoo.testing.small_crystals import iron, perovskite, rock_salt, triclinic

# MoS2, 1H: Mo-S 2.41 Å, S-S 3.13 Å across the layer
A, HALF = 3.16, 1.565
PLANE = [[A, 0, 0], [-A / 2, A * 3**0.5 / 2, 0]]
MOLYBDENITE = [[0, 0, 0], [0, A / 3**0.5, HALF], [0, A / 3**0.5, -HALF]]
NOTE = "is periodic in a and b only: layers are set 20 Å apart; density and volume mean nothing"


def layer(third, *, shift=(0, 0, 0), pbc=(True, True, False)):
    return Atoms("MoS2", positions=np.array(MOLYBDENITE) + shift, cell=[*PLANE, third], pbc=pbc)


def pymatgen(atoms):
    pbc = tuple(bool(p) for p in atoms.pbc)
    lattice = Lattice(atoms.cell.array, pbc=pbc)
    return Structure(lattice, atoms.get_chemical_symbols(), atoms.positions, coords_are_cartesian=True)


VACUA = {
    "thin": layer([0, 0, 4]),
    "20 Å": layer([0, 0, 20], shift=(0, 0, 10)),
    "40 Å": layer([0, 0, 40], shift=(0, 0, -3)),
    "oblique": layer([5, -2, 9]),
    "straddling": layer([0, 0, 25], shift=(0, 0, 24)),
    "upside down": layer([0, 0, -15]),
}


@pytest.fixture(params=["extxyz", "db", "json", "memory", "list"])
def read_layers(request, tmp_path):
    """The crystals of atoms, by way of each kind of input that knows what is periodic."""

    def answer(frames):
        if request.param in ("extxyz", "db"):
            path = tmp_path / f"a.{request.param}"
            if request.param == "extxyz":
                write(path, frames)
            else:
                with connect(path) as database:
                    for atoms in frames:
                        database.write(atoms)
            return read(path)
        structures = [pymatgen(atoms) for atoms in frames]
        if request.param == "json":
            (tmp_path / "a.json").write_text(json.dumps([{"structure": s.as_dict()} for s in structures]))
            return read(tmp_path / "a.json")
        return (
            Crystals.from_structures(structures) if request.param == "memory" else crystals_from(structures)
        )

    return answer


def bonds(crystals, row=0):
    """Lengths of the bonds of each atom, Å, sorted."""
    structure = crystals.structure(row)
    return [
        sorted(round(near.nn_distance, 4) for near in structure.get_neighbors(site, 8)) for site in structure
    ]


def test_a_layer_has_neighbours_in_its_plane_alone(read_layers):
    """Counted by hand within 3.2 Å: of Mo 6 S and 6 Mo; of S 3 Mo, 6 S of its own plane and 1 across."""
    crystals = read_layers(list(VACUA.values()))
    near = [[d for d in of_atom if d < 3.2] for of_atom in bonds(crystals)]
    assert [len(of_atom) for of_atom in near] == [12, 10, 10]
    for row in range(len(crystals)):
        assert bonds(crystals, row) == bonds(crystals)
        # a prism on the hexagon of the plane, as high as the layer and the vacuum
        volume = abs(np.linalg.det(crystals.lattice[row]))
        assert volume == pytest.approx(A**2 * 3**0.5 / 2 * (2 * HALF + VACUUM))


BACKBONES = {
    "cgcnn": lambda: CGCNN(dim=8, depth=2),
    "cgcnn-many": lambda: CGCNN(dim=8, depth=2, graph=GraphOptions(neighbours=60)),
    "cgcnn-far": lambda: CGCNN(dim=8, depth=2, graph=GraphOptions(cutoff=19.9, neighbours=500)),
    "alignn": lambda: ALIGNN(dim=8, alignn_layers=2, gcn_layers=2),
    "momentnet": lambda: MomentNet(dim=8, depth=2),
    "descriptors": lambda: DescriptorMLP(dim=8, depth=2),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_embeddings_do_not_depend_on_the_vacuum(name):
    torch.manual_seed(0)
    backbone = BACKBONES[name]()
    backbone.fit([batch(backbone, rock_salt(), iron(), perovskite(), triclinic())])
    found = embed(backbone, *(pymatgen(atoms) for atoms in VACUA.values()))
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["cgcnn-fe", "alignn-s-gv"])
def test_predictions_do_not_depend_on_the_vacuum(name):
    structures = [pymatgen(atoms) for atoms in VACUA.values()]
    model = tlzoo.load(name)
    target = model.card["targets"][0]
    found = model.predict(structures)[target].to_numpy(dtype=float)
    np.testing.assert_allclose(found, found[0], rtol=0, atol=1e-6)
    # the same layer as a crystal with much vacuum is what models are trained on
    crystal = pymatgen(layer([0, 0, VACUUM + 2 * HALF], pbc=(True, True, True)))
    np.testing.assert_allclose(model.predict([crystal])[target], found[:1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_layer_in_each_plane(axis):
    order = np.roll([0, 1, 2], axis + 1)
    atoms = layer([0.3, 0.2, 5])
    cell, frac_coords, note = set_apart(
        atoms.cell.array[order], atoms.positions, np.array([True, True, False])[order]
    )
    names = "abc".replace("abc"[list(order).index(2)], "")
    assert note.startswith(f"is periodic in {names[0]} and {names[1]} only: layers")
    found = Structure(Lattice(cell), atoms.get_chemical_symbols(), frac_coords)
    expected = Crystals.from_structures([pymatgen(atoms)])
    assert bonds(Crystals.from_structures([found])) == bonds(expected)


@pytest.mark.parametrize("cell", [[[2.5, 0, 0], [0, 3, 0], [0, 0, 3]], [[2.5, 0, 0], [1, 2, 0], [9, 1, 2]]])
def test_a_chain_has_neighbours_along_it_alone(read_layers, cell):
    """Two atoms 1.3 Å apart every 2.5 Å: each has neighbours at 1.2, 1.3, 2.5 twice, 3.7, 3.8, …"""
    chain = Atoms("C2", positions=[[0, 0.1, 0.2], [1.3, 0.1, 0.2]], cell=cell, pbc=[True, False, False])
    crystals = read_layers([chain])
    assert bonds(crystals)[0][:6] == [1.2, 1.3, 2.5, 2.5, 3.7, 3.8]
    assert [len(of_atom) for of_atom in bonds(crystals)] == [12, 12]


def test_a_chain_is_the_same_however_it_is_turned():
    rng = np.random.default_rng(0)
    positions, cell = rng.normal(size=(7, 3)), np.diag([4.0, 0, 0])
    expected = set_apart(cell, positions, [True, False, False])[0]
    for seed in range(3):
        turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
        found = set_apart(cell @ turn, positions @ turn, [True, False, False])[0]
        np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-9)


@pytest.mark.parametrize("third", [[0, 0, 0], [1.58, 0, 0]])
def test_the_vector_across_may_be_missing(tmp_path, third):
    write(tmp_path / "a.extxyz", layer(third))
    assert bonds(read(tmp_path / "a.extxyz")) == bonds(Crystals.from_structures([pymatgen(VACUA["thin"])]))


def test_positions_count_as_given():
    """Atoms on either side of a boundary that is none are far apart: no image brings them together."""
    atoms = layer([0, 0, 25])
    atoms.positions[2, 2] += 25
    cell, frac_coords, _ = set_apart(atoms.cell.array, atoms.positions, atoms.pbc)
    heights = frac_coords @ cell @ (cell[2] / np.linalg.norm(cell[2]))
    np.testing.assert_allclose(np.abs(heights[2] - heights[:2]), [25 - HALF, 25 - 2 * HALF])
    assert np.linalg.norm(cell[2]) == pytest.approx(25 - HALF + VACUUM)


def test_what_was_done_is_told(tmp_path, caplog):
    frames = list(VACUA.values())[:2]
    write(tmp_path / "a.extxyz", [*frames, layer([0, 0, 9], pbc=(True, True, True))])
    problems = read_all(tmp_path / "a.extxyz")[1]
    assert [(p.severity, p.row, p.message) for p in problems] == [("note", 1, NOTE), ("note", 2, NOTE)]
    (tmp_path / "b.json").write_text(json.dumps(pymatgen(frames[0]).as_dict()))
    assert [str(p) for p in read_all(tmp_path / "b.json")[1]] == [f"{tmp_path}/b.json: {NOTE}"]
    with caplog.at_level(logging.INFO, logger="tlzoo"):
        Crystals.from_structures([pymatgen(atoms) for atoms in frames])
    assert caplog.messages == [f"structure '0' {NOTE} (and 1 more of 2)"]


@pytest.mark.parametrize(
    ("pbc", "cell", "expected"),
    [
        ((False, False, False), np.eye(3) * 5, "is not periodic (pbc F F F); tlzoo knows"),
        ((True, True, False), [[3, 0, 0], [3, 0, 0], [0, 0, 5]], "is not periodic (cell of 0 Å², pbc T T F)"),
        ((True, False, False), np.zeros((3, 3)), "is not periodic (cell of 0 Å, pbc T F F)"),
        ((True, True, True), [*PLANE, [0, 0, 0]], "is not periodic (cell of 0 Å³, pbc T T T)"),
        ((True, True, False), [*PLANE, [0, 0, np.nan]], "has a cell or coordinates that are not finite"),
    ],
)
def test_what_is_no_crystal(pbc, cell, expected):
    with pytest.raises(ValueError, match=r"periodic|finite") as caught:
        set_apart(np.array(cell, dtype=float), np.zeros((1, 3)), pbc)
    assert str(caught.value).startswith(expected)
    if not any(pbc):
        assert str(caught.value).endswith("set pbc, or T T F for a layer in the plane of a and b")


def test_molecules_in_memory_are_refused(tmp_path):
    molecule = pymatgen(layer([0, 0, 9], pbc=(False, False, False)))
    for read_it in (Crystals.from_structures, crystals_from):
        with pytest.raises(UserError, match=r"structure .* is not periodic \(pbc F F F\)"):
            read_it([molecule])
    (tmp_path / "a.json").write_text(json.dumps(molecule.as_dict()))
    assert [p.kind for p in read_all(tmp_path / "a.json")[1]] == ["not periodic"]


@pytest.mark.parametrize(("cutoff", "tolerance"), [(20.0, 1e-3), (19.5, 0.5), (float("inf"), 0)])
def test_no_cutoff_reaches_across_the_vacuum(cutoff, tolerance):
    with pytest.raises(
        UserError, match="cutoff and tie_tolerance together must be below 20 Å, as far as layer"
    ):
        GraphOptions(cutoff=cutoff, tie_tolerance=tolerance)
