"""What a backbone reads, made of crystals: graphs or descriptors, by the kind of its options."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from tqdm import tqdm

from tlzoo.crystals import Crystals
from tlzoo.descriptors.descriptor_chunk import descriptors_of
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.descriptor_store import DescriptorStore
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.graphs.neighbours import all_neighbours
from tlzoo.graphs.workers import CHUNK

Options: TypeAlias = GraphOptions | DescriptorOptions
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


def unusable(crystals: Crystals, options: Options, *, progress: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the rows of crystals of which nothing can be made, with the reason.

    Args:
        crystals: Crystals.
        options: What is to be made of them.
        progress: Show a bar, on a terminal.
    """
    bar = tqdm(
        range(0, len(crystals), CHUNK), desc="neighbours", unit="chunk", disable=None if progress else True
    )
    for start in bar:
        cells = cells_of(crystals, start, min(start + CHUNK, len(crystals)))
        if isinstance(options, DescriptorOptions):
            problems = descriptors_of(cells, options).problems
        else:
            *_, problems = all_neighbours(cells, options)
        yield from ((start + row, text) for row, text in problems.items())
