"""Does a trained model depend on how a crystal is written down? ``python -m benchmarks.invariance RUN…``.

Writes each crystal of the embedded example in other ways: atoms permuted, origin shifted, rotated, as a
supercell, in its Niggli cell, in a sheared cell, in the conventional cell of its space group. Two more ways
move the atoms: at random by about 10⁻⁵ Å, and by rounding coordinates to four decimals. Prints the largest
change of a prediction, relative to its size and the spread over the crystals.
"""

import argparse
from collections.abc import Callable

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

import tlzoo
from tlzoo.data import named

RNG = np.random.default_rng(0)


def permuted(structure: Structure) -> Structure:
    """Atoms in another order."""
    return Structure.from_sites([structure[i] for i in RNG.permutation(len(structure))])


def shifted(structure: Structure) -> Structure:
    """The origin elsewhere."""
    return structure.copy().translate_sites(range(len(structure)), RNG.random(3))


def rotated(structure: Structure) -> Structure:
    """The crystal turned in space."""
    turn = SymmOp.from_axis_angle_and_translation(RNG.normal(size=3), 77.0)
    return Structure(
        Lattice(structure.lattice.matrix @ turn.rotation_matrix.T), structure.species, structure.frac_coords
    )


def supercell(structure: Structure) -> Structure:
    """Two cells as one."""
    return structure.copy().make_supercell((2, 1, 1))


def niggli(structure: Structure) -> Structure:
    """The reduced cell."""
    return structure.get_reduced_structure("niggli")


def sheared(structure: Structure) -> Structure:
    """Another choice of cell vectors, c + a in place of c."""
    return structure.copy().make_supercell([[1, 0, 0], [0, 1, 0], [1, 0, 1]])


def standard(structure: Structure) -> Structure:
    """The conventional cell, with the symmetry that holds to 10⁻⁵ Å made exact."""
    return SpacegroupAnalyzer(structure, symprec=1e-5).get_conventional_standard_structure()


def moved(structure: Structure) -> Structure:
    """Each atom somewhere else, by 10⁻⁵ Å in each direction (standard deviation)."""
    coords = structure.cart_coords + RNG.normal(scale=1e-5, size=(len(structure), 3))
    return Structure(structure.lattice, structure.species, coords, coords_are_cartesian=True)


def rounded(structure: Structure) -> Structure:
    """Fractional coordinates with four decimals."""
    return Structure(structure.lattice, structure.species, structure.frac_coords.round(4))


WAYS: tuple[Callable[[Structure], Structure], ...] = (
    *(permuted, shifted, rotated, supercell, niggli, sheared),
    *(standard, moved, rounded),
)


def main() -> None:
    """Print one row a model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.invariance", description=__doc__)
    parser.add_argument("runs", nargs="+", help="run directories or .safetensors files")
    parser.add_argument("--crystals", type=int, default=100, help="how many crystals to try (default: 100)")
    given = parser.parse_args()
    crystals = named.load("semiconductors")
    structures = [crystals.structure(row) for row in range(min(given.crystals, len(crystals)))]
    print(f"{'largest relative change':40}" + "".join(f"{way.__name__:>11}" for way in WAYS))
    for run in given.runs:
        model = tlzoo.load(run)
        before = predict(model, structures)
        size = np.abs(before) + before.std()
        cells = [
            f"{np.max(np.abs(predict(model, [way(s) for s in structures]) - before) / size):>11.1e}"
            for way in WAYS
        ]
        print(f"{run[-40:]:40}" + "".join(cells))


def predict(model: tlzoo.Model, structures: list[Structure]) -> np.ndarray:
    """Predict the model's own target, ``(crystals,)``."""
    return model.predict(structures)[model.card["targets"][0]].to_numpy(dtype=np.float64)


if __name__ == "__main__":
    main()
