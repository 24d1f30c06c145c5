r"""Several processes that train one model: each computes its part of every batch, all learn from the whole.

A sum over the crystals of a batch becomes one over the parts of all processes: those of the loss, of batch
normalisation, of gradients and of metrics. So one process and several learn the same but for rounding, and a
part may be of any size, or empty.

Let L be the loss of the whole batch, which every process computes from the same sums, and n the number of
processes. The derivative of such a sum is multiplied by n on its way back to the part of each. So the mean
over the processes of what they find for a parameter is :math:`dL/d\theta`, be it before or after the sums.

Gradients are averaged after the backward pass, in one piece. ``DistributedDataParallel`` does so while it
runs, but counts equal parts, fixes at its start which parameters train, and waits for ever for a process that
ran out of memory.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

T = TypeVar("T")

# Reading and preparing large data takes one process longer than torch's 30 minutes.
PATIENCE = timedelta(days=7)


class OtherOutOfMemoryError(RuntimeError):
    """Memory ran out in another process."""


def world() -> int:
    """Return the number of processes that work together; 1 if this one is alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0; process 0 writes all files."""
    return dist.get_rank() if world() > 1 else 0


def gather(fact: T) -> list[T]:
    """Return what each process gave, in their order; all must call it."""
    if world() == 1:
        return [fact]
    facts: list[Any] = [None] * world()
    dist.all_gather_object(facts, fact, group=_control(dist.group.WORLD))
    return facts


def totals(numbers: Sequence[int]) -> list[int]:
    """Return the sums over the processes of several numbers; all must call it."""
    return [sum(column) for column in zip(*gather(list(numbers)), strict=True)]


@cache
def _control(world_group: object) -> dist.ProcessGroup:  # noqa: ARG001 (one for each)
    """Return a group for numbers on the CPU, whatever the device of the tensors is."""
    group: dist.ProcessGroup = dist.new_group(backend="gloo", timeout=PATIENCE)
    return group


@contextmanager
def first() -> Iterator[None]:
    """Let process 0 do something before the others, and on each machine one process before the rest.

    What it writes is then there for the others to find, on a disk of all machines or of each.
    """
    hosts = gather(socket.gethostname())
    own = rank()
    turn = 0 if own == 0 else 1 if hosts.index(hosts[own]) == own else 2
    for _ in range(turn):
        gather(None)
    try:
        yield
    finally:
        for _ in range(turn, 2):
            gather(None)


def balanced(sizes: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Divide crystals into parts of about the same size: the largest first, each to the smallest part.

    >>> balanced(np.array([1, 9, 3, 5, 1]), 2)
    [array([1, 4]), array([0, 2, 3])]
    """
    loads = np.zeros(count)
    parts: list[list[int]] = [[] for _ in range(count)]
    for i in np.argsort(-sizes, kind="stable").tolist():
        part = int(loads.argmin())
        loads[part] += sizes[i]
        parts[part].append(i)
    return [np.array(sorted(part), dtype=np.int64) for part in parts]


def collected(rows: Tensor, values: Tensor, order: NDArray[np.int64]) -> Tensor:
    """Return the values that all processes computed, in a given order; all must call it.

    Args:
        rows: What this process computed, ``(crystals,)``.
        values: Its values, ``(crystals, …)``.
        order: What was to be computed, each once, ``(all crystals,)``.
    """
    if world() == 1:
        return values
    got, found = (torch.cat(each) for each in zip(*gather((rows, values)), strict=True))
    places = torch.from_numpy(np.argsort(order))
    if not torch.equal(got.sort().values, torch.from_numpy(order)[places]):
        raise RuntimeError("the processes have not computed each crystal once")
    result = torch.empty_like(found)
    result[places] = found[got.argsort()]
    return result


def seed(base: int, epoch: int) -> int:
    """Return the seed of an epoch; no two processes drop out the same."""
    if world() == 1:
        return base + epoch
    return int(np.random.SeedSequence((base, epoch, rank())).generate_state(1)[0])


class Together:
    """The processes while they train; each calls the same methods in the same order.

    One that runs out of memory in the middle of a step goes through the rest of it with an empty part, so
    that no other waits for it; then all know, and leave the step without a trace.
    """

    def __init__(self) -> None:
        self._sums = 0
        self._skipped = 0
        self._most: int | None = None
        self._later: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Begin with another batch."""
        self._sums = 0
        self._most = None

    def sum(self, x: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place, without a derivative."""
        self._sums += 1
        if self._sums > self._skipped:
            dist.all_reduce(x)
        return x

    def total(self, x: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes; for its derivative see the module."""
        result: Tensor = _Total.apply(x, self)  # type: ignore[no-untyped-call]
        return result

    def pooled(self, mean: Tensor, variance: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Return mean, variance and size of the whole from those of the parts r (Chan et al. 1979).

        .. math::
            \mu = \sum_r \frac{n_r}{n} \mu_r, \qquad
            \sigma^2 = \sum_r \frac{n_r}{n} \big(\sigma_r^2 + (\mu_r - \mu)^2\big)
        """
        dim = len(mean)
        parts = mean.new_zeros((world(), 2 * dim + 1))
        parts[rank()] = torch.cat([mean, variance, size.to(mean.dtype).reshape(1)])
        means, variances, sizes = torch.split(self.sum(parts), [dim, dim, 1], dim=1)
        whole = sizes.sum()
        shares = sizes / whole.clamp(min=1.0)
        mean = (shares * means).sum(dim=0)
        return mean, (shares * (variances + (means - mean).square())).sum(dim=0), whole

    def most(self, number: int) -> int:
        """Return the largest number of any process; asked again about the same batch, the same."""
        if self._most is None:
            self._most = self._agreed([number])[0]
        return self._most

    def later(self, change: Callable[[], None]) -> None:
        """Keep a change of buffers until the step is known to count."""
        self._later.append(change)

    def settle(self) -> None:
        """Make the changes that were kept."""
        for change in self._later:
            change()
        self._later.clear()

    def step(
        self,
        closure: Callable[[], T],
        catch_up: Callable[[], None],
        ran_out: Callable[[RuntimeError], bool],
        parameters: Sequence[nn.Parameter],
    ) -> T:
        """Compute the loss and its gradients, which become the mean of those of all processes.

        Args:
            closure: Computes both from the part of this process.
            catch_up: Does the same from an empty part.
            ran_out: Tells an error of memory from others.
            parameters: Those that train, in the same order in all processes.

        Raises:
            RuntimeError: Memory ran out here, or in another process (:class:`OtherOutOfMemoryError`).
        """
        self.begin()
        error: RuntimeError | None = None
        try:
            result = closure()
        except RuntimeError as caught:
            if not ran_out(caught):
                raise
            # what the failed computation holds is freed with its frames
            error = caught.with_traceback(None)
        if error is not None:
            self._catch_up(catch_up)
        failed, *used = self._agreed([error is not None, *(p.grad is not None for p in parameters)])
        if failed:
            self._later.clear()
            raise error or OtherOutOfMemoryError("another process ran out of memory")
        average([p for p, has_gradient in zip(parameters, used, strict=True) if has_gradient])
        self.settle()
        return result

    def _catch_up(self, catch_up: Callable[[], None]) -> None:
        self._sums, self._skipped = 0, self._sums
        try:
            catch_up()
        finally:
            self._skipped = 0

    def _agreed(self, numbers: Sequence[int]) -> list[int]:
        """Return the largest of each number over the processes, by way of the CPU: no device waits."""
        tensor = torch.tensor(numbers, dtype=torch.int32)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=_control(dist.group.WORLD))
        largest: list[int] = tensor.tolist()
        return largest


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, together: Together) -> Tensor:  # noqa: ANN401, ARG004 (torch has no type)
        return together.sum(x.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401, ARG004 (torch has no type)
        return gradient * world(), None


def average(parameters: Sequence[nn.Parameter]) -> None:
    """Make the gradient of each parameter its mean over the processes; one that is missing counts as 0."""
    for dtype in dict.fromkeys(parameter.dtype for parameter in parameters):
        some = [parameter for parameter in parameters if parameter.dtype == dtype]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in some])
        dist.all_reduce(flat)
        flat /= world()
        for parameter, gradient in zip(some, torch.split(flat, [p.numel() for p in some]), strict=True):
            parameter.grad = gradient.view_as(parameter)


_joined: list[Together] = []


def together() -> Together | None:
    """Return the processes that this one trains with at present, if any."""
    return _joined[-1] if _joined else None


def join() -> None:
    """From here on losses, gradients and batch statistics are those of all processes."""
    _joined[:] = [Together()]


def leave() -> None:
    """From here on this process computes by itself."""
    _joined.clear()
