"""SevenNet: equivariant potentials trained on relaxations of the Materials Project."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tlzoo.backbones.potential import Pooled, Potential, at_hand, both_ways
from tlzoo.crystals import SYMBOLS
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.vector_options import VectorOptions
from tlzoo.nn.equivariant_conv import Arrangement, Paths, convolve, paths_of
from tlzoo.nn.pooling import SMALLEST

CUTOFF = 5.0
DEPTH = 5

# Elements in the order of the published networks: those up to Pu that there are relaxations of, by symbol.
ELEMENTS = sorted(set(SYMBOLS[1:95]) - {"Po", "At", "Rn", "Fr", "Ra"})

# Of each published network: highest degree of the equivariant parts, and what is between layers.
ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "0": {
        "lmax": 2,
        "hidden": "128x0e+64x1e+32x2e",
        "cutoff_function": {"cutoff_function_name": "XPLOR", "cutoff_on": 4.5},
    },
    "l3i5": {
        "lmax": 3,
        "hidden": "128x0e+64x1e+32x2e+32x3e",
        "cutoff_function": {"cutoff_function_name": "poly_cut", "poly_cut_p_value": 6},
    },
}


class SevenNet(Potential):
    """SevenNet (Park et al., 2024), an equivariant network after NequIP, five convolutions deep.

    The modules are those of the package ``sevenn``; ``pip install tlzoo[sevenn]``.

    Args:
        architecture: ``0``: degrees up to 2 (SevenNet-0); ``l3i5``: up to 3 (SevenNet-l3i5).
        pooling: ``statistics`` or ``mean``; see :class:`~tlzoo.backbones.potential.Potential`.

    Raises:
        UserError: The package is missing, or an argument is out of range.

    References:
        J. Chem. Theory Comput. 20, 4857 (2024).
    """

    cpu_rows = 2000  # what lies between atoms and their sums stays in the processor's cache

    def __init__(self, *, architecture: Literal["0", "l3i5"] = "0", pooling: Pooled = "statistics") -> None:
        if architecture not in ARCHITECTURES:
            raise UserError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture}")
        self_ = ARCHITECTURES[architecture]
        modules: Any = _modules(self_)
        irreps = [modules[f"{i}_self_interaction_1"].linear.irreps_in for i in range(DEPTH)]
        irreps.append(modules["reduce_input_to_hidden"].linear.irreps_in)
        names = ["embed", *(f"conv.{i}" for i in range(DEPTH))]
        super().__init__(pooling, {name: each.num_irreps for name, each in zip(names, irreps, strict=True)})
        self.architecture = architecture
        self.graph = VectorOptions(CUTOFF, tuple(sorted(map(SYMBOLS.index, ELEMENTS))))
        self.irreps = [[(each.mul, each.ir.l) for each in some] for some in irreps]
        self.parts = nn.ModuleDict(modules)
        self.paths: list[list[Paths]] | None = None
        harmonics = modules["0_convolution"].convolution.irreps_in2
        # what becomes of the harmonics of a bond the other way round
        self.parity = [(-1.0) ** each.ir.l for each in harmonics for _ in range(each.dim)]
        self.kinds = Kinds()
        self.fix()

    def states(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Return what each layer holds of the atoms, and site energies in eV."""
        source, target = batch[keys.EDGE_INDEX]
        vector, reverse = batch[keys.BOND_VECTOR], batch[keys.BOND_REVERSE]
        # both directions of a bond share its weights, and but for signs its harmonics
        first, shared = both_ways(reverse)
        data = {
            "x": self.kinds(batch[keys.NUMBERS]),
            "edge_vec": (vector[reverse[first]] - vector[first]) / 2,
            "batch": batch[keys.BATCH],
        }
        arrangement = Arrangement.of(target, len(data["x"]))
        near, bond = source[arrangement.bond], shared[arrangement.bond]
        parity = vector.new_tensor(self.parity)
        sign = torch.where(first[arrangement.bond, None], 1, parity) * arrangement.there[:, None]
        if self.paths is None:
            self.paths = [paths_of(self.parts[f"{i}_convolution"].convolution) for i in range(DEPTH)]
        found: list[Tensor] = []
        harmonics = vector
        for name, module in self.parts.items():
            if name.endswith("_self_connection_intro") or name == "reduce_input_to_hidden":
                found.append(self._invariants(data["x"], self.irreps[len(found)]))
            if name.endswith("_convolution"):
                paths = self.paths[len(found) - 1]
                convolution: Any = module
                weights = convolution.weight_nn(data["edge_embedding"])
                x = convolve(data["x"], harmonics, weights, near, bond, arrangement, paths)
                data["x"] = x / convolution.denominator
                continue
            data = module(data)
            if name == "edge_embedding":
                harmonics = data["edge_attr"].index_select(0, bond) * sign
        return found, data["atomic_energy"].reshape(-1)

    def of_package(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the published tensors as sevenn 0.13 loads them.

        They are of sevenn 0.9, which had the paths of a convolution in another order, and of an e3nn that had
        the opposite sign of some 3j symbols: radial weights are sorted, and some change their sign.
        """
        from sevenn.scripts.backward_compatibility import sort_old_convolution

        with torch.no_grad():
            known = {name: value.clone() for name, value in tensors.items()}
            ordered: dict[str, Tensor] = sort_old_convolution(self._fresh(self.architecture), known)
        return ordered

    @staticmethod
    def _fresh(architecture: str) -> nn.ModuleDict:
        return nn.ModuleDict(_modules(ARCHITECTURES[architecture]))

    def stages(self) -> dict[str, list[nn.Module]]:
        """Name the parts from input to output."""
        parts = dict(self.parts.items())
        found: dict[str, list[nn.Module]] = {
            "embed": [parts.pop("onehot_to_feature_x"), parts.pop("edge_embedding")]
        }
        found["embed"][0:0] = [self.kinds, parts.pop("onehot_idx_to_onehot")]
        for i in range(DEPTH):
            found[f"conv.{i}"] = [parts.pop(name) for name in list(parts) if name.startswith(f"{i}_")]
        found["energy"] = list(parts.values())
        return found

    @staticmethod
    def _invariants(x: Tensor, irreps: Sequence[tuple[int, int]]) -> Tensor:
        """Return scalars as they are, and the norms of the equivariant parts."""
        found, start = [], 0
        for count, degree in irreps:
            stop = start + count * (2 * degree + 1)
            part = x[:, start:stop]
            if degree:
                square = part.reshape(len(x), count, -1).square().sum(dim=2)
                part = (square + SMALLEST).sqrt() - SMALLEST**0.5
            found.append(part)
            start = stop
        return torch.cat(found, dim=1)


class Kinds(nn.Module):
    """From atomic numbers to the network's own."""

    kinds: Tensor

    def __init__(self) -> None:
        super().__init__()
        kinds = torch.full((256,), -1)
        kinds[[SYMBOLS.index(symbol) for symbol in ELEMENTS]] = torch.arange(len(ELEMENTS))
        self.register_buffer("kinds", kinds)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the network's numbers, ``(atoms,)``."""
        return self.kinds[numbers]


def _modules(architecture: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Return the network without its forces."""
    at_hand()
    try:
        from sevenn import _const
        from sevenn.model_build import build_E3_equivariant_model
    except ImportError as error:
        raise UserError(
            f"SevenNet needs the package sevenn ({error}): pip install 'tlzoo[sevenn]'"
        ) from error
    hidden = architecture["hidden"]
    config = {
        **_const.DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG,
        "cutoff": CUTOFF,
        "channel": 128,
        "lmax": architecture["lmax"],
        "irreps_manual": ["128x0e", *([hidden] * (DEPTH - 1)), "128x0e"],
        "is_parity": False,
        "num_convolution_layer": DEPTH,
        "cutoff_function": dict(architecture["cutoff_function"]),
        "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": 8},
        "self_connection_type": "linear",
        "use_bias_in_linear": False,
        "train_shift_scale": False,
        "train_denominator": False,
        "conv_denominator": 1.0,
        "shift": [0.0] * len(ELEMENTS),
        "scale": [1.0] * len(ELEMENTS),
        "_number_of_species": len(ELEMENTS),
        "_type_map": {SYMBOLS.index(symbol): i for i, symbol in enumerate(ELEMENTS)},
        "_normalize_sph": True,
    }
    network = build_E3_equivariant_model(config)
    # the sum over a cell and its gradient are ours
    return {
        name: part
        for name, part in network._modules.items()
        if name not in ("reduce_total_enegy", "force_output")
    }
