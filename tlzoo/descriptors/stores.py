"""What a backbone reads, made of crystals: graphs or descriptors, by the kind of its options."""

from pathlib import Path
from typing import TypeAlias

import numpy as np

from tlzoo.crystals import Crystals
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.descriptor_store import DescriptorStore
from tlzoo.descriptors.suitability import Options
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_store import GraphStore

__all__ = ["Options", "Store", "batch_of", "open_store"]

Store: TypeAlias = GraphStore | DescriptorStore


def open_store(crystals: Crystals, options: Options, *, cache_dir: Path | None = None) -> Store:
    """Return the store of these crystals from the cache, made if it is not there yet.

    Raises:
        NoGraphError: Nothing can be made of a crystal; all such are listed.
        UserError: The store cannot be written, or a process was killed.
    """
    if isinstance(options, DescriptorOptions):
        return DescriptorStore.open(crystals, options, cache_dir=cache_dir)
    return GraphStore.open(crystals, options, cache_dir=cache_dir)


def batch_of(crystals: Crystals, options: Options) -> Batch:
    """Return the batch of a few crystals, without any cache.

    Raises:
        NoGraphError: Nothing can be made of a crystal; all such are listed.
    """
    kind = DescriptorStore if isinstance(options, DescriptorOptions) else GraphStore
    return kind.in_memory(crystals, options).batch(np.arange(len(crystals)))  # type: ignore[arg-type]
