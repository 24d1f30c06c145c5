"""What to do when a batch does not fit into memory: compute it in parts."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_geometric.data import Data

from tlzoo import keys
from tlzoo.errors import UserError
from tlzoo.graphs.parts import num_rows, parts

logger = logging.getLogger(__name__)

# How allocators without an exception of their own say it: the CPU's, Apple's, cuBLAS.
MESSAGES = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")

Compute = Callable[[Data], Tensor]


class RowBudget:
    """How many rows (angles, or bonds without angles) are computed at a time; halved when memory runs out.

    Attributes:
        rows: Rows at most; None before memory ran out.
    """

    def __init__(self, rows: int | None = None) -> None:
        self.rows = rows

    def apply(self, compute: Compute, batch: Data) -> Tensor:
        """Compute a batch without derivatives, in parts if need be.

        Args:
            compute: From a batch to one row per crystal.
            batch: Fields of :mod:`tlzoo.keys`.

        Raises:
            UserError: A single crystal does not fit.
        """
        while True:
            try:
                return torch.cat([compute(part) for part in parts(batch, self.rows)])
            except RuntimeError as error:
                self.halve(batch, error)

    def apply_recomputing(self, compute: Compute, batch: Data, module: nn.Module) -> Tensor:
        """Compute a batch so that its derivatives need the memory of one part only.

        Of parts nothing is kept for the derivatives but the result: each is computed again when its turn
        comes, which costs a third more time. The derivatives are those of the whole batch, except that batch
        normalisation sees each part by itself. Memory that runs out is up to the caller: it mostly does so
        in the backward pass.

        Args:
            compute: From a batch to one row per crystal.
            batch: Fields of :mod:`tlzoo.keys`.
            module: What ``compute`` runs; its running statistics take in each part once.
        """
        pieces = parts(batch, self.rows)
        if len(pieces) == 1:
            return compute(batch)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), statistics_kept(module)

        return torch.cat(
            [checkpoint(compute, part, use_reentrant=False, context_fn=contexts) for part in pieces]
        )

    def halve(self, batch: Data, error: RuntimeError) -> None:
        """Take half as many rows after a batch for which memory ran out; say so.

        Raises:
            RuntimeError: The error given, if it is another one.
            UserError: The batch was in parts of one crystal already.
        """
        if not isinstance(error, torch.OutOfMemoryError) and not any(text in str(error) for text in MESSAGES):
            raise error
        rows, crystals, tried = num_rows(batch), batch[keys.NUM_CRYSTALS], parts(batch, self.rows)
        if len(tried) == crystals:
            raise UserError(
                f"out of memory with a single crystal of {max(map(num_rows, tried))} rows; use a smaller "
                "network, trainer.precision bf16-mixed, or a device with more memory"
            ) from error
        self.rows = max(1, min(rows, self.rows or rows) // 2)
        logger.warning(
            "out of memory with a batch of %d crystals, %d rows: from here on at most %d rows are computed "
            "at a time; smaller batches (data.max_rows: %d) are faster than batches in parts",
            crystals, rows, self.rows, self.rows,
        )  # fmt: skip


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Let batch normalisation normalise as in training without taking in the batch."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
