"""What potentials have in common as backbones."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.backbones.backbone import Backbone, Layer
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.vector_options import VectorOptions
from tlzoo.nn.pooling import statistics

ENERGY = "energy"


class Potential(Backbone):
    """A universal interatomic potential as a backbone: energies, and what its layers hold of each atom.

    Args of all: ``pooling`` makes the embedding. ``statistics``: mean, standard deviation and maximum over
    the atoms of every layer, then the energy per atom in eV; for shallow models on frozen features.
    ``mean``: mean over the atoms of the last layer; for fine-tuning.

    Attributes:
        widths: Invariant numbers that each layer holds of an atom, by the layer's name.
    """

    graph: VectorOptions
    _constants: frozenset[str] = frozenset()  # names of buffers that no file needs to hold

    def __init__(self, pooling: str, widths: Mapping[str, int]) -> None:
        super().__init__()
        if pooling not in ("statistics", "mean"):
            raise UserError(f"pooling must be statistics or mean, got {pooling}")
        self.pooling, self.widths = pooling, dict(widths)
        last = list(self.widths.values())[-1]
        self.out_dim = 3 * sum(self.widths.values()) + 1 if pooling == "statistics" else last
        # what layers hold of an atom passes through these, so that it can be read off
        self.read = nn.ModuleDict({name.replace(".", "_"): nn.Identity() for name in self.widths})

    def fix(self) -> None:
        """Make constants of what is not to be learned; to be called once the network is built.

        Parameters that ask for no derivative become buffers, so that no strategy releases them; also those
        that the embedding does not follow from. Other buffers follow from the architecture: no file needs to
        hold them, and their names are not those of a copy.
        """
        if self.pooling == "mean":
            for part in self.stages()[ENERGY]:
                part.requires_grad_(requires_grad=False)
        # by name now: what adapters add later is learned, and what they act on gets another name
        self._constants = frozenset(name for name, _ in self.named_buffers())
        for module in self.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                if not parameter.requires_grad:
                    delattr(module, name)
                    module.register_buffer(name, parameter.data)
        self.register_state_dict_post_hook(_leave_out)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_fill_in)  # type: ignore[no-untyped-call]

    def of_package(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors of the package's file, by the package's names, as its code of today has them."""
        return tensors

    @abstractmethod
    def stages(self) -> dict[str, list[nn.Module]]:
        """Name the parts from input to output; the last, ``energy``, makes energies of the last layer."""

    def groups(self) -> dict[str, list[nn.Module]]:
        """Name the parts that freezing strategies speak of, from input to output."""
        found = self.stages()
        if self.pooling == "mean":  # there is nothing to learn in it
            energy = found.pop(ENERGY)
            found[list(found)[-1]] += energy
        return found

    @abstractmethod
    def states(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Return what each layer holds of the atoms, ``(atoms, width)``, and site energies, ``(atoms,)`` eV.

        Invariant numbers only; of equivariant parts their norms. The bond vectors may have derivatives.
        """

    def energies(self, batch: Batch) -> Float[Tensor, " crystals"]:
        """Return the energy of each cell, in eV; its derivatives by the bond vectors make forces."""
        return _sum(self.states(batch)[1], batch)

    def forward(self, batch: Batch) -> Float[Tensor, "crystals dim"]:
        """Embed the crystals of a batch; in single precision, for energies have few digits to spare."""
        with torch.autocast(batch[keys.BOND_VECTOR].device.type, enabled=False):
            return self._embedded(batch)

    def _embedded(self, batch: Batch) -> Tensor:
        states, site_energies = self.states(batch)
        states = [tap(state) for tap, state in zip(self.read.values(), states, strict=True)]
        atoms = _sum(torch.ones_like(site_energies), batch)[:, None]
        if self.pooling == "mean":
            return _sum(states[-1], batch) / atoms
        crystals = batch[keys.BATCH], batch[keys.ATOM_COUNT], batch[keys.NUM_CRYSTALS]
        parts = [statistics(state, *crystals) for state in states]
        return torch.cat([*parts, _sum(site_energies, batch)[:, None] / atoms], dim=1)

    def layers(self) -> Mapping[str, Layer]:
        """Name the layers whose activations can be read off, from input to output."""
        taps: Sequence[nn.Module] = list(self.read.values())
        return {
            name: Layer(tap, "atoms", width)
            for (name, width), tap in zip(self.widths.items(), taps, strict=True)
        }

    def state_layers(self) -> Mapping[str, Layer]:
        """Name those of ``states``: none if the embedding holds their statistics."""
        return {} if self.pooling == "statistics" else super().state_layers()


Pooled = Literal["statistics", "mean"]


def _leave_out(potential: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Leave constants out of what is stored."""
    assert isinstance(potential, Potential)
    for name in _constants(potential):
        state.pop(prefix + name, None)


def _fill_in(potential: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Put constants where torch looks for them."""
    assert isinstance(potential, Potential)
    for name, value in _constants(potential).items():
        state.setdefault(prefix + name, value)


def _constants(potential: "Potential") -> dict[str, Tensor]:
    """Return what no file needs to hold; a copy of a graph of operations has more of them than it."""
    graphs = (torch.fx.GraphModule, torch.jit.ScriptModule)
    compiled = tuple(f"{name}." for name, part in potential.named_modules() if isinstance(part, graphs))
    return {
        name: value
        for name, value in potential.named_buffers()
        if name in potential._constants or name.startswith(compiled)
    }


def both_ways(reverse: Tensor) -> tuple[Tensor, Tensor]:
    """Tell the two directions of a bond apart.

    Args:
        reverse: Each bond the other way round, ``(bonds,)``.

    Returns:
        Whether a bond is the first of its two directions, and its number among those that are, the same
        for both, ``(bonds,)`` each.
    """
    first = torch.arange(len(reverse), device=reverse.device) < reverse
    place = torch.cumsum(first, 0) - 1
    return first, torch.where(first, place, place[reverse])


def at_hand() -> None:
    """Refuse to build on a device without memory, where packages cannot compute their constants.

    Raises:
        RuntimeError: It is such a device.
    """
    if torch.get_default_device().type == "meta":
        raise RuntimeError("potentials need memory to be built")


def _sum(values: Tensor, batch: Batch) -> Tensor:
    """Add up over the atoms of each crystal."""
    zero = values.new_zeros(batch[keys.NUM_CRYSTALS], *values.shape[1:])
    return zero.index_add(0, batch[keys.BATCH], values)
