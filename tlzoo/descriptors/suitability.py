"""Of which crystals nothing can be made, and why; no torch in here, so that data are checked without it."""

from collections.abc import Iterator
from typing import TypeAlias

from tlzoo.crystals import Crystals
from tlzoo.descriptors.descriptor_chunk import descriptors_of
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.graphs.formula_options import FormulaOptions
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.neighbours import all_neighbours
from tlzoo.graphs.vector_options import VectorOptions
from tlzoo.graphs.vectors import vectors_of
from tlzoo.graphs.workers import CHUNK
from tlzoo.machine.progress import bar

Options: TypeAlias = GraphOptions | DescriptorOptions | VectorOptions | FormulaOptions


def reads_structure(options: object) -> bool:
    """Whether a formula is not enough to make what a network reads with some options."""
    by_formula = isinstance(options, DescriptorOptions) and not options.structure
    return not (by_formula or isinstance(options, FormulaOptions))


def unusable(crystals: Crystals, options: Options, *, progress: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the rows of crystals of which nothing can be made, with the reason."""
    if isinstance(options, FormulaOptions):
        return
    starts = range(0, len(crystals), CHUNK)
    for start in bar(len(starts), "neighbours", "chunk", hidden=not progress, iterable=starts):
        cells = cells_of(crystals, start, min(start + CHUNK, len(crystals)))
        if isinstance(options, DescriptorOptions):
            problems = descriptors_of(cells, options).problems
        elif isinstance(options, VectorOptions):
            problems = vectors_of(cells, options).problems
        else:
            *_, problems = all_neighbours(cells, options)
        yield from ((start + row, text) for row, text in problems.items())
