"""What to do when a batch does not fit into memory: compute it in parts."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.parts import nothing, num_rows, parts
from tlzoo.machine import distributed

logger = logging.getLogger(__name__)

# How allocators without an exception of their own say it: the CPU's, Apple's, cuBLAS.
MESSAGES = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")

Compute = Callable[[Batch], Tensor]


class RowBudget:
    """How many rows (angles, or bonds without angles) are computed at a time; halved when memory runs out.

    Attributes:
        rows: Rows at most; None before memory ran out.
    """

    def __init__(self, rows: int | None = None) -> None:
        self.rows = rows

    def apply(self, compute: Compute, batch: Batch) -> Tensor:
        """Compute one row per crystal of a batch, without derivatives, in parts if need be.

        Raises:
            UserError: A single crystal does not fit.
        """
        while True:
            try:
                return torch.cat([compute(part) for part in parts(batch, self.rows)])
            except RuntimeError as error:
                self.halve(batch, error)

    def apply_recomputing(self, compute: Compute, batch: Batch, module: nn.Module) -> Tensor:
        """Compute a batch so that its derivatives need the memory of one part only.

        Of parts nothing is kept for the derivatives but the result: each is computed again when its turn
        comes, which costs a third more time. The derivatives are those of the whole batch, except that batch
        normalisation sees each part by itself. Memory that runs out is up to the caller: it mostly does so
        in the backward pass.

        Where several processes train together they compute as many parts each, some perhaps of no crystal.
        The running statistics of ``module``, which ``compute`` runs, take in each part once.
        """
        pieces = list(parts(batch, self.rows))
        if self.rows is not None and (together := distributed.together()):
            pieces += [nothing(batch)] * (together.most(len(pieces)) - len(pieces))
        if len(pieces) == 1:
            return compute(batch)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), statistics_kept(module)

        return torch.cat(
            [checkpoint(compute, part, use_reentrant=False, context_fn=contexts) for part in pieces]
        )

    def halve(self, batch: Batch, error: RuntimeError) -> None:
        """Take half as many rows after a batch for which memory ran out; say so.

        Raises:
            RuntimeError: The error given, if it is another one.
            UserError: The batch was in parts of one crystal already.
        """
        if not ran_out(error):
            raise error
        self._halve([self._attempt(batch)], error)

    def halve_together(self, batch: Batch, error: RuntimeError) -> None:
        """Do so in all processes that train together, after memory ran out in one or more; all must call it.

        Raises:
            RuntimeError: The error given, if it is another one.
            UserError: A process had its part of the batch in parts of one crystal already.
        """
        elsewhere = isinstance(error, distributed.OtherOutOfMemoryError)
        if not elsewhere and not ran_out(error):
            raise error
        attempts = distributed.gather(None if elsewhere else self._attempt(batch))
        self._halve([attempt for attempt in attempts if attempt is not None], error)

    def _attempt(self, batch: Batch) -> "Attempt":
        tried = parts(batch, self.rows)
        return Attempt(num_rows(batch), batch[keys.NUM_CRYSTALS], len(tried), max(map(num_rows, tried)))

    def _halve(self, attempts: Sequence["Attempt"], error: RuntimeError) -> None:
        for attempt in attempts:
            if attempt.parts >= attempt.crystals:
                raise UserError(
                    f"out of memory with a single crystal of {attempt.largest} rows; use a smaller "
                    "network, trainer.precision bf16-mixed, or a device with more memory"
                ) from error
        worst = min(attempts)
        self.rows = max(1, min(worst.rows, self.rows or worst.rows) // 2)
        logger.warning(
            "out of memory with a batch of %d crystals, %d rows: from here on at most %d rows are computed "
            "at a time; smaller batches (data.max_rows: %d) are faster than batches in parts",
            worst.crystals, worst.rows, self.rows, self.rows * distributed.world(),
        )  # fmt: skip


class Attempt(NamedTuple):
    """A batch for which memory ran out: its rows and crystals, how many parts it was in, and the largest."""

    rows: int
    crystals: int
    parts: int
    largest: int


def ran_out(error: RuntimeError) -> bool:
    """Return whether an error says that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in MESSAGES)


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
