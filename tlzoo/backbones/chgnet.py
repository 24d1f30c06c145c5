"""CHGNet: a potential that was taught energies, forces, stresses and magnetic moments."""

import contextlib
import io
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tlzoo.backbones.potential import Pooled, Potential, at_hand, both_ways
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.vector_options import VectorOptions

DIM = 64
DEPTH = 4
# Bonds up to this length, in Å, have angles between them.
ANGLE_CUTOFF = 3.0
LAST = 94  # the heaviest element it knows, Pu

# What the published networks differ in; all else is as the package has it.
ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "0.3": {
        "num_radial": 31,
        "num_angular": 31,
        "mlp_hidden_dims": [64, 64, 64],
        "atom_graph_cutoff": 6,
        "cutoff_coeff": 8,
        "gMLP_norm": "layer",
        "readout_norm": "layer",
    },
    "0.2": {
        "num_radial": 9,
        "num_angular": 9,
        "mlp_hidden_dims": [64, 64],
        "atom_graph_cutoff": 5,
        "cutoff_coeff": 5,
        "gMLP_norm": None,
        "readout_norm": None,
        "mlp_out_bias": True,
    },
}


class CHGNet(Potential):
    """CHGNet (Deng et al., 2023): convolutions over atoms, bonds and angles.

    The modules are those of the package ``chgnet``; ``pip install tlzoo[chgnet]``.

    Args:
        architecture: ``0.3``: that of the versions 0.3.0 and r2scan; ``0.2``: of version 0.2.0.
        pooling: ``statistics`` or ``mean``; see :class:`~tlzoo.backbones.potential.Potential`.

    Raises:
        UserError: The package is missing, or an argument is out of range.

    References:
        Nat. Mach. Intell. 5, 1031 (2023).
    """

    cpu_rows = 8000
    network: Any  # nn.Module: its parts are those of the package

    def __init__(
        self, *, architecture: Literal["0.3", "0.2"] = "0.3", pooling: Pooled = "statistics"
    ) -> None:
        if architecture not in ARCHITECTURES:
            raise UserError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture}")
        super().__init__(pooling, {"embed": DIM} | {f"conv.{i}": DIM for i in range(DEPTH)})
        self.architecture = architecture
        settings = ARCHITECTURES[architecture]
        self.graph = VectorOptions(float(settings["atom_graph_cutoff"]), tuple(range(1, LAST + 1)))
        self.network = _network(settings)
        self.fix()

    def states(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Return what each layer holds of the atoms, and site energies in eV."""
        net, numbers = self.network, batch[keys.NUMBERS]
        source, target = batch[keys.EDGE_INDEX]
        vector, reverse = batch[keys.BOND_VECTOR], batch[keys.BOND_REVERSE]
        # both directions of a bond share one vector of features
        first, shared = both_ways(reverse)
        length = vector.norm(dim=1)
        once = length[first]
        ag = net.bond_basis_expansion.rbf_expansion_ag(once)
        bg = net.bond_basis_expansion.rbf_expansion_bg(once)
        one, other = _angles(target, length.detach() <= ANGLE_CUTOFF)
        unit = vector / length[:, None]
        graph = torch.stack([target[one], shared[one], shared[other]], dim=1)
        # bonds of a crystal without angles stay as they are, as they do where it is alone
        crystal = batch[keys.BATCH]
        angled = torch.isin(crystal[target[first]], crystal[target[one]])[:, None]
        atoms, bonds = net.atom_embedding(numbers - 1), net.bond_embedding(ag)
        weight_ag, weight_bg = net.bond_weights_ag(ag), net.bond_weights_bg(bg)
        angles = net.angle_embedding(net.angle_basis_expansion(unit[one], unit[other]))
        pairs, found = torch.stack([target, source], dim=1), [atoms]
        for i, conv in enumerate(net.atom_conv_layers):
            atoms = conv(
                atom_feas=atoms,
                bond_feas=bonds,
                bond_weights=weight_ag,
                atom_graph=pairs,
                directed2undirected=shared,
            )
            found.append(atoms)
            if i < DEPTH - 1 and len(graph):
                new = net.bond_conv_layers[i](
                    atom_feas=atoms,
                    bond_feas=bonds,
                    bond_weights=weight_bg,
                    angle_feas=angles,
                    bond_graph=graph,
                )
                bonds = torch.where(angled, new, bonds)
            if i < DEPTH - 2 and len(graph):
                angles = net.angle_layers[i](
                    atom_feas=atoms, bond_feas=bonds, angle_feas=angles, bond_graph=graph
                )
        last = atoms if net.readout_norm is None else net.readout_norm(atoms)
        shift = net.composition_model.fc.weight[0, numbers - 1]
        return found, net.mlp(last).reshape(-1) + shift

    def stages(self) -> dict[str, list[nn.Module]]:
        """Name the parts from input to output."""
        net = self.network
        embed = [net.atom_embedding, net.bond_basis_expansion, net.bond_embedding, net.bond_weights_ag]
        embed += [net.bond_weights_bg, net.angle_basis_expansion, net.angle_embedding]
        found: dict[str, list[nn.Module]] = {"embed": embed}
        for i, conv in enumerate(net.atom_conv_layers):
            found[f"conv.{i}"] = [conv]
            found[f"conv.{i}"] += [*net.bond_conv_layers[i : i + 1], *net.angle_layers[i : i + 1]]
        readout = [] if net.readout_norm is None else [net.readout_norm]
        found["energy"] = [net.composition_model, *readout, net.mlp]
        return found


def _angles(target: Tensor, short: Tensor) -> tuple[Tensor, Tensor]:
    """Return all ordered pairs of two short bonds into an atom; ``target`` is ascending."""
    rows = torch.nonzero(short)[:, 0]
    centre = target[rows]
    _, group, size = torch.unique_consecutive(centre, return_inverse=True, return_counts=True)
    start = torch.cumsum(size, 0) - size
    partners = size[group]
    one = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), partners)
    within = torch.arange(len(one), device=rows.device)
    within = within - (torch.cumsum(partners, 0) - partners)[one]
    other = start[group[one]] + within
    different = one != other
    return rows[one[different]], rows[other[different]]


def _network(settings: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return the package's network, without what neither energies nor layers of atoms follow from."""
    at_hand()
    try:
        from chgnet.model.model import CHGNet as Network
    except ImportError as error:
        raise UserError(f"CHGNet needs the package chgnet ({error}): pip install 'tlzoo[chgnet]'") from error
    with contextlib.redirect_stdout(io.StringIO()):  # it tells its number of parameters
        network = Network(
            mlp_first=True, read_out="ave", learnable_rbf=True, composition_model="MPtrj", **settings
        )
    del network.site_wise, network.angle_layers[-1]
    return network
