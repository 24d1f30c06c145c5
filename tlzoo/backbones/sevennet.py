"""SevenNet: equivariant potentials trained on relaxations of the Materials Project."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tlzoo.backbones.potential import SMALLEST, Pooled, Potential
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.vector_options import VectorOptions

CUTOFF = 5.0
DEPTH = 5

# Elements in the order of the published networks: by symbol.
ELEMENTS = (
    "Ac Ag Al Ar As Au B Ba Be Bi Br C Ca Cd Ce Cl Co Cr Cs Cu Dy Er Eu F Fe Ga Gd Ge H He Hf Hg Ho I In Ir K "
    "Kr La Li Lu Mg Mn Mo N Na Nb Nd Ne Ni Np O Os P Pa Pb Pd Pm Pr Pt Pu Rb Re Rh Ru S Sb Sc Se Si Sm Sn Sr "
    "Ta Tb Tc Te Th Ti Tl Tm U V W Xe Y Yb Zn Zr"
).split()

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

    def __init__(self, *, architecture: Literal["0", "l3i5"] = "0", pooling: Pooled = "statistics") -> None:
        if architecture not in ARCHITECTURES:
            raise UserError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture}")
        self_ = ARCHITECTURES[architecture]
        modules = _modules(self_)
        irreps = [modules[f"{i}_self_interaction_1"].linear.irreps_in for i in range(DEPTH)]
        irreps.append(modules["reduce_input_to_hidden"].linear.irreps_in)
        names = ["embed", *(f"conv.{i}" for i in range(DEPTH))]
        super().__init__(pooling, {name: each.num_irreps for name, each in zip(names, irreps, strict=True)})
        self.architecture, self.graph = architecture, VectorOptions(CUTOFF)
        self.irreps = [[(each.mul, each.ir.l) for each in some] for some in irreps]
        self.parts = nn.ModuleDict(modules)
        kind = torch.full((256,), -1)
        from tlzoo.crystals import SYMBOLS

        kind[[SYMBOLS.index(symbol) for symbol in ELEMENTS]] = torch.arange(len(ELEMENTS))
        self.register_buffer("kind", kind, persistent=False)

    def states(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Return what each layer holds of the atoms, and site energies in eV."""
        kind = self.kind[batch[keys.NUMBERS]]
        if (kind < 0).any():
            raise UserError("SevenNet does not know an element of these crystals; leave them out")
        source, target = batch[keys.EDGE_INDEX]
        data = {
            "x": kind,
            "edge_index": torch.stack([target, source]),
            "edge_vec": -batch[keys.BOND_VECTOR],
            "batch": batch[keys.BATCH],
        }
        found = []
        for name, module in self.parts.items():
            if name.endswith("_self_connection_intro") or name == "reduce_input_to_hidden":
                found.append(self._invariants(data["x"], self.irreps[len(found)]))
            data = module(data)
        return found, data["atomic_energy"].reshape(-1)

    def groups(self) -> dict[str, list[nn.Module]]:
        """Name the parts that freezing strategies speak of, from input to output."""
        parts = dict(self.parts.items())
        found: dict[str, list[nn.Module]] = {
            "embed": [parts.pop("edge_embedding"), parts.pop("onehot_to_feature_x")]
        }
        found["embed"].append(parts.pop("onehot_idx_to_onehot"))
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


def _modules(architecture: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Return the network without its forces."""
    try:
        from sevenn import _const
        from sevenn.model_build import build_E3_equivariant_model
    except ImportError as error:
        raise UserError(
            f"SevenNet needs the package sevenn ({error}): pip install 'tlzoo[sevenn]'"
        ) from error
    from tlzoo.crystals import SYMBOLS

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
