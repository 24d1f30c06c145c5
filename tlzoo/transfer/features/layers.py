"""Where frozen features come from: the layers of a trained model, or descriptors as they are."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.descriptors.descriptor_chunk import names
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.descriptor_store import DescriptorStore
from tlzoo.descriptors.physics_options import PhysicsOptions, is_physics
from tlzoo.descriptors.stores import Options
from tlzoo.errors import UserError
from tlzoo.model.activations import EMBEDDING, STATES, TEACHER, apart, check_layers
from tlzoo.model.answering import Stores, answered
from tlzoo.model.trained import Model, load
from tlzoo.physics.computed import fill
from tlzoo.physics.physics_chunk import version
from tlzoo.physics.potentials import package, potentials

logger = logging.getLogger(__name__)

DESCRIPTORS: Final = "descriptors"
# those that a formula is enough for
COMPOSITION: Final = "composition"

# What a network reads by default, the better the more it has.
DEFAULTS: Final = (EMBEDDING, STATES, f"{STATES}+{TEACHER}")

# Fewer are described anew each time: that takes less than reading them from the cache is worth.
MANY: Final = 2000


class Source(ABC):
    """Something that has named layers and says what they are for crystals.

    Attributes:
        default: The layer that says most to a regression on few crystals.
    """

    default: str

    @property
    @abstractmethod
    def layers(self) -> list[str]:
        """Names of the layers, from input to output."""

    @abstractmethod
    def columns(self, layer: str) -> list[str]:
        """Name the numbers of a layer."""

    def units(self, layer: str) -> Mapping[str, str]:  # noqa: ARG002
        """Return the units of the numbers of a layer that have one, by their names."""
        return {}

    def sizes(self, layer: str) -> list[int]:
        """Return how many numbers of a layer come from each of several origins, one after the other."""
        return [len(self.columns(layer))]

    @abstractmethod
    def needs(self, layers: Sequence[str] = ()) -> list[Options]:
        """Return what must be made of crystals for :meth:`read`; by default for any layers."""

    def kept(self, crystals: Crystals, layers: Sequence[str]) -> Stores:  # noqa: ARG002
        """Return what of that is kept for a table, if it is worth it."""
        return {}

    def prepare(self, crystals: Crystals) -> None:  # noqa: B027 (most compute nothing that takes long)
        """Compute what takes long, by several processes, and keep it."""

    @abstractmethod
    def read(self, stores: Stores, layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the values of layers, ``(crystals, dim)`` each.

        The stores are what was made of the crystals, for what these or all layers need; sources may share
        them.
        """

    def activations(self, crystals: Crystals, layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the values of layers, ``(crystals, dim)`` each.

        Raises:
            UserError: There is no such layer, or it cannot be had for a crystal.
        """
        return activations({"": (self, layers)}, crystals)[""]

    def check(self, layer: str) -> None:
        """Refuse a layer that is not there; of several side by side, ``A+B``, each must be.

        Raises:
            UserError: Names those there are.
        """
        check_layers([layer] if layer in self.layers else self.apart(layer), self.layers)

    def apart(self, layer: str) -> list[str]:
        """Return the layers that stand side by side; networks have such."""
        return [layer]


class Network(Source):
    """The layers of a trained model; ``A+B`` are two of them side by side."""

    def __init__(self, model: Model) -> None:
        self.model = model
        if lost := model.lacking_map:
            logger.warning("%s; so there is no layer %s", lost, TEACHER)
        there = [name for name in (STATES, TEACHER) if name in model.layers]
        self.default = "+".join(there) or EMBEDDING

    @property
    def layers(self) -> list[str]:
        """Those of the backbone, the embedding, those of the head."""
        return self.model.layers

    def columns(self, layer: str) -> list[str]:
        """Name them ``LAYER.0``, ``LAYER.1`` …."""
        return [f"{name}.{i}" for name in self.apart(layer) for i in range(self.model.widths[name])]

    def apart(self, layer: str) -> list[str]:
        """Return the layers of ``A+B``."""
        return apart(layer)

    def sizes(self, layer: str) -> list[int]:
        """Return those of the layers that stand side by side."""
        return [self.model.widths[name] for name in self.apart(layer)]

    def needs(self, layers: Sequence[str] = ()) -> list[Options]:  # noqa: ARG002 (the same for all)
        """Return what the backbone reads."""
        return self.model.options

    def read(self, stores: Stores, layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return what the layers say of each crystal."""
        return self.model.read(stores, layers)


class Descriptors(Source):
    """Descriptors as they are, each in its unit: ``composition``, ``structure``, or ``both`` side by side."""

    default = "both"

    @property
    def layers(self) -> list[str]:
        """The kinds of descriptors."""
        return ["composition", "structure", "both"]

    def columns(self, layer: str) -> list[str]:
        """Name the descriptors of a kind."""
        return names(self._options([layer]))

    def sizes(self, layer: str) -> list[int]:
        """Return those of the composition and of the structure."""
        kinds = ["composition", "structure"] if layer == self.default else [layer]
        return [len(self.columns(kind)) for kind in kinds]

    def needs(self, layers: Sequence[str] = ()) -> list[Options]:
        """Return one kind of descriptors, or all: most networks on descriptors read all, too."""
        return [self._options(layers)]

    def kept(self, crystals: Crystals, layers: Sequence[str]) -> Stores:
        """Return the descriptors of many crystals from the cache."""
        options = self._options(layers)
        return {} if len(crystals) < MANY else {options: DescriptorStore.open(crystals, options)}

    def read(self, stores: Stores, layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the descriptors of some kinds."""
        options = self._options(layers)
        store = stores[options if options in stores else DescriptorOptions()]
        assert isinstance(store, DescriptorStore)
        place = {name: i for i, name in enumerate(store.names)}
        return {layer: store.values[:, [place[name] for name in self.columns(layer)]] for layer in layers}

    def _options(self, layers: Sequence[str]) -> DescriptorOptions:
        kind = layers[0] if len(set(layers)) == 1 else self.default
        return DescriptorOptions(composition=kind != "structure", structure=kind != "composition")


class Composition(Descriptors):
    """Those of the composition alone: there need not be a structure."""

    default = "composition"

    @property
    def layers(self) -> list[str]:
        """There is one."""
        return [self.default]

    def sizes(self, layer: str) -> list[int]:
        """Return their number."""
        return [len(self.columns(layer))]


class Physics(Source):
    """What a potential says of lattice dynamics or elasticity, each number in its unit.

    Args:
        name: ``phonons:sevennet-0`` …
    """

    default = "physics"

    def __init__(self, name: str) -> None:
        self.options = PhysicsOptions.named(name)
        package(self.options.potential)  # whether it is there
        if find_spec("phonopy") is None:
            raise UserError(f"{name} needs the package phonopy: pip install 'tlzoo[phonons]'")

    @property
    def layers(self) -> list[str]:
        """There is one."""
        return [self.default]

    def columns(self, layer: str) -> list[str]:  # noqa: ARG002 (there is one)
        """Name the numbers."""
        return list(self.options.units)

    def units(self, layer: str) -> Mapping[str, str]:  # noqa: ARG002 (there is one)
        """Return the units, by name."""
        return self.options.units

    def needs(self, layers: Sequence[str] = ()) -> list[Options]:  # noqa: ARG002 (there is one)
        """Return what is computed."""
        return [self.options]

    def kept(self, crystals: Crystals, layers: Sequence[str]) -> Stores:  # noqa: ARG002 (there is one)
        """Return nothing: it is read crystal by crystal, but computed here."""
        self.prepare(crystals)
        return {}

    def prepare(self, crystals: Crystals) -> None:
        """Compute what is not known yet; what cannot be computed shows when it is read."""
        fill(crystals, self.options)

    def read(self, stores: Stores, layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the numbers."""
        store = stores[self.options]
        assert isinstance(store, DescriptorStore)
        return dict.fromkeys(layers, store.values)


class Joined(Source):
    """The same layer of several models side by side, and all descriptors and physics among them.

    For the layer that most is known from, which only some may have, others have their own default: a model
    without ``states`` its embedding.

    Args:
        parts: What is joined, by name.
    """

    def __init__(self, parts: Mapping[str, Source]) -> None:
        self.parts = parts
        networks = [part for part in parts.values() if isinstance(part, Network)]
        self.default = max((part.default for part in networks), key=DEFAULTS.index, default=EMBEDDING)
        first, *others = [part.layers for part in networks] or [[EMBEDDING]]
        self._layers = [name for name in first if all(name in layers for layers in others)]
        some = [STATES] if any(STATES in part.layers for part in networks) else []
        for name in dict.fromkeys([*some, self.default]):
            if name not in self._layers:
                self._layers.insert(self._layers.index(EMBEDDING), name)

    @property
    def layers(self) -> list[str]:
        """Those that all models have; the embedding is one."""
        return self._layers

    def apart(self, layer: str) -> list[str]:
        """Return the layers of ``A+B``."""
        return apart(layer)

    def columns(self, layer: str) -> list[str]:
        """Name them by part and name there."""
        return [
            f"{name}:{column}"
            for name, part in self.parts.items()
            for column in part.columns(self._of(part, layer))
        ]

    def units(self, layer: str) -> Mapping[str, str]:
        """Return those of the parts."""
        return {
            f"{name}:{column}": unit
            for name, part in self.parts.items()
            for column, unit in part.units(self._of(part, layer)).items()
        }

    def sizes(self, layer: str) -> list[int]:
        """Return those of all parts."""
        return [size for part in self.parts.values() for size in part.sizes(self._of(part, layer))]

    def needs(self, layers: Sequence[str] = ()) -> list[Options]:
        """Return what the parts need, each once."""
        parts = self.parts.values()
        return list(dict.fromkeys(each for part in parts for each in part.needs(self._all(part, layers))))

    def kept(self, crystals: Crystals, layers: Sequence[str]) -> Stores:
        """Return what is kept for any of the parts."""
        found = [part.kept(crystals, self._all(part, layers)) for part in self.parts.values()]
        return {options: store for stores in found for options, store in stores.items()}

    def prepare(self, crystals: Crystals) -> None:
        """Compute what any part computes long."""
        for part in self.parts.values():
            part.prepare(crystals)

    def read(self, stores: Stores, layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the values of all parts, side by side."""
        parts = self.parts.values()
        found = [(part, part.read(stores, self._all(part, layers))) for part in parts]
        return {
            layer: np.concatenate([values[self._of(part, layer)] for part, values in found], axis=1)
            for layer in layers
        }

    def _all(self, part: Source, layers: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(self._of(part, layer) for layer in layers))

    def _of(self, part: Source, layer: str) -> str:
        own = isinstance(part, Network) and (layer != STATES or STATES in part.layers)
        return layer if own and layer != self.default else part.default


def activations(
    wanted: Mapping[str, tuple[Source, Sequence[str]]], crystals: Crystals, made: Stores | None = None
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return layers of several sources, ``(crystals, dim)`` each, by source and layer.

    Each crystal is looked at once: what several sources read is made for all of them. ``made`` is what has
    been made of the table before.

    Raises:
        UserError: There is no such layer, or it cannot be had for a crystal.
    """
    for of, layers in wanted.values():
        for layer in layers:
            of.check(layer)
    needs = dict.fromkeys(each for of, layers in wanted.values() for each in of.needs(layers))
    stores = [made or {}, *(of.kept(crystals, layers) for of, layers in wanted.values())]
    parts = answered(
        crystals,
        list(needs),
        lambda part: {name: of.read(part, layers) for name, (of, layers) in wanted.items()},
        kept={options: store for each in stores for options, store in each.items()},
    )
    return {
        name: {
            layer: np.concatenate(
                [np.empty((0, len(of.columns(layer))), np.float32), *(part[name][layer] for part in parts)]
            )
            for layer in layers
        }
        for name, (of, layers) in wanted.items()
    }


def source(name: str) -> Source:
    """Return descriptors, physics (``phonons:chgnet``), a model as :func:`tlzoo.load` takes it, or more.

    Descriptors are ``descriptors`` or, of the composition alone, ``composition``. ``+`` joins several.

    Raises:
        UserError: There is no such model, or it is damaged.
    """
    return sources({part: part for part in parts_of(name)})


def sources(places: Mapping[str, str]) -> Source:
    """Return where features come from, joined if there are several, by the name each is to have."""
    parts = {name: _of(place) for name, place in places.items()}
    return Joined(parts) if len(parts) > 1 else next(iter(parts.values()))


def _of(place: str) -> Source:
    if place == DESCRIPTORS:
        return Descriptors()
    if place == COMPOSITION:
        return Composition()
    if not place:
        raise UserError("a source of features has no name: give one before and after each + and comma")
    _, colon, potential = place.partition(":")
    # of a wrong kind with a potential, physics says which kinds there are
    physics = is_physics(place) or (colon and potential in potentials())
    return Physics(place) if physics else Network(load(place))


def is_computed(name: str) -> bool:
    """Whether a source needs no network that is kept in a file: descriptors, or physics."""
    return name in {DESCRIPTORS, COMPOSITION} or is_physics(name)


def version_of(name: str) -> str:
    """Return the version of physics by its name, empty of another source: other numbers have another one.

    Raises:
        UserError: There is no such potential, or its package is missing.
    """
    return version(PhysicsOptions.named(name)) if is_physics(name) else ""


def parts_of(name: str) -> list[str]:
    """Return the names that a name consists of; a path with a plus in it is one.

    >>> parts_of("runs/p3+descriptors")
    ['runs/p3', 'descriptors']
    """
    return [name] if Path(name).exists() else list(dict.fromkeys(name.split("+")))
