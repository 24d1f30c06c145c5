"""What a backbone reads, made of crystals: graphs or descriptors, by the kind of its options."""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tlzoo.crystals import Crystals
from tlzoo.descriptors import suitability
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.descriptor_store import DescriptorStore
from tlzoo.descriptors.physics_options import PhysicsOptions
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.formula_options import FormulaOptions
from tlzoo.graphs.formula_store import FormulaStore
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.graphs.vector_options import VectorOptions
from tlzoo.graphs.vector_store import VectorStore

__all__ = ["Options", "Store", "batch_of", "kind", "open_store"]

# Of what networks read, and of physics.
Options: TypeAlias = suitability.Options | PhysicsOptions
Store: TypeAlias = GraphStore | DescriptorStore | VectorStore | FormulaStore


def open_store(crystals: Crystals, options: Options, *, cache_dir: Path | None = None) -> Store:
    """Return the store of these crystals from the cache, made if it is not there yet.

    Raises:
        NoGraphError: Nothing can be made of a crystal; all such are listed.
        UserError: The store cannot be written, or a process was killed.
    """
    store: Store = kind(options).open(crystals, options, cache_dir=cache_dir)
    return store


def kind(options: Options) -> Any:  # noqa: ANN401 (a class of stores; mypy cannot tie it to the options)
    """Return the class of stores that hold what is made of crystals with some options."""
    if isinstance(options, DescriptorOptions | PhysicsOptions):
        return DescriptorStore
    if isinstance(options, FormulaOptions):
        return FormulaStore
    return VectorStore if isinstance(options, VectorOptions) else GraphStore


def batch_of(crystals: Crystals, options: Options) -> Batch:
    """Return the batch of a few crystals, without any cache.

    Raises:
        NoGraphError: Nothing can be made of a crystal; all such are listed.
    """
    batch: Batch = kind(options).in_memory(crystals, options).batch(np.arange(len(crystals)))
    return batch
