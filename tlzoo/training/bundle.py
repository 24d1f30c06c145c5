"""Several trainings at once: networks of one shape compute their steps together (:mod:`tlzoo.nn.stacked`).

Each keeps its own batches, weights, optimiser, course of the learning rate, frozen parts, metrics and files,
which are those that it would have alone, to rounding. One that diverges leaves the others alone.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from tlzoo.data.batches import Positions
from tlzoo.data.loader import LabelledGraphs
from tlzoo.data.module import CrystalDataModule
from tlzoo.descriptors.stores import Options
from tlzoo.errors import DivergedError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.heads import Regression
from tlzoo.heads.head import Head
from tlzoo.model.description import describe
from tlzoo.nn.row_blocks import Blocks
from tlzoo.nn.stacked import StackedLinear, parts, stacked
from tlzoo.training.configuration import Experiment, Tree
from tlzoo.training.fused_adamw import Fused, fused
from tlzoo.training.task import Stage, Task

# Networks in one training, at most: with 12, CGCNN takes a third of the time of one by one, and with 16, too.
MOST: Final = 12
# Rows in the batches of all of them.
ENOUGH: Final = 20_000

# What a trainer must be asked for, or not at all: else each network is trained by itself.
PLAIN: Final[dict[str, tuple[Any, ...]]] = {
    "devices": (1, "1", "auto"),
    "num_nodes": (1,),
    "strategy": ("auto",),
    "accumulate_grad_batches": (1,),
    "precision": (None, 32, 64, "32", "64", "32-true", "64-true"),
    "callbacks": (None,),
    "plugins": (None,),
    "fast_dev_run": (False,),
    "logger": (None, True, False),
    "profiler": (None,),
}


def shape(experiment: Experiment, resolved: Tree) -> str | None:
    """Return what trainings that can be one have in common; None if this one goes alone.

    Learning rates, seeds, frozen parts, poolings, weights to start from and splits may differ; but splits
    must make as many batches of the table (:func:`alike`).
    """
    task, trainer = experiment.task, experiment.trainer
    backbone = describe(task.backbone)
    backbone["init_args"].pop("pooling", None)
    head = task.head
    dropped = any(isinstance(part, nn.Dropout) and part.p > 0 for part in task.modules())
    alone = (
        not task.backbone.stackable
        or dropped  # from one generator
        or task.distillation is not None
        or task.freezing.adapters(list(task.groups()))
        or task.freezing.biases(list(task.groups()))
        or getattr(task.backbone, "_compiled_call_impl", None) is not None
        or any(trainer.get(name, given[0]) not in given for name, given in PLAIN.items())
    )
    if alone:
        return None
    layers = [type(head).__name__, head.hidden, head.activation, head.tower_out, len(head.outs)]
    data = {name: value for name, value in resolved["data"].items() if name != "split"}
    facts = [backbone, layers, data, resolved["trainer"]]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def alike(
    shapes: Sequence[str | None], modules: Sequence[CrystalDataModule], options: Sequence[Options]
) -> list[str | None]:
    """Return what trainings have in common that can be one, now that their data are known.

    Those of one shape get one store of what they read of crystals.

    Args:
        shapes: What they have in common without the data.
        modules: The data of each, of one table where the shape is the same.
        options: What each reads of a crystal.
    """
    found: list[str | None] = list(shapes)
    for shape in dict.fromkeys(each for each in shapes if each is not None):
        numbers = [number for number, each in enumerate(shapes) if each == shape]
        first, *others = (modules[number] for number in numbers)
        first.open_with(others, options[numbers[0]])
        for number in numbers:
            found[number] = f"{shape} {modules[number].numbers_of_batches}"
    return found


def largest(rows: float, max_rows: int | None) -> int:
    """Return how many trainings are one at most, with so many rows in a batch of one of them.

    Once there is enough to compute in an operation, more take as long together as by turns; and their batches
    together are to be no larger than one may be.
    """
    return max(1, min(MOST, int(min(ENOUGH, max_rows or ENOUGH) / max(1.0, rows))))


def bundles(shapes: Sequence[str | None], jobs: int, most: int) -> list[list[int]]:
    """Return which trainings, by their numbers, are done together: enough bundles for all jobs.

    Args:
        shapes: What trainings share that can be one; None of one that goes alone.
        jobs: How many bundles are trained at a time.
        most: How many trainings one bundle has at most.

    >>> bundles(["a", "a", "a", None, "a"], jobs=2, most=8)
    [[0, 1], [2, 4], [3]]
    """
    alike: dict[str, list[int]] = {}
    for number, each in enumerate(shapes):
        alike.setdefault(each or f"alone {number}", []).append(number)
    found = []
    for numbers in alike.values():
        share = -(-jobs * len(numbers) // len(shapes))
        count = min(len(numbers), max(share, -(-len(numbers) // most)))
        found += [part.tolist() for part in np.array_split(numbers, count)]
    return sorted(found)


@dataclass(eq=False)
class Member:
    """One of several trainings.

    Attributes:
        task: What is trained.
        data: Its data module.
        callbacks: What follows its course: told of it in this order.
        files: Writes its resume files.
        metrics: Of the last epoch, by name.
        diverged: Why it ended before the others, if it did.
        optimizer: Its optimiser.
        groups: How that takes a step in this epoch with fewer operations; empty if it does not, None before
            the first.
        scheduler: The course of its learning rate.
        view: The trainer of all, as it sees it.
    """

    task: Task
    data: CrystalDataModule
    callbacks: Sequence[Checkpoint] = ()
    files: CheckpointIO | None = None
    metrics: dict[str, Tensor] = field(default_factory=dict)
    diverged: DivergedError | None = None
    optimizer: Any = None
    groups: "list[Fused] | None" = None
    scheduler: Any = None
    view: "View" = field(init=False)

    def __post_init__(self) -> None:
        self.view = View(self)

    def join(self, trainer: pl.Trainer) -> None:
        """Be trained by the trainer of all."""
        self.view.all = trainer
        self.task.trainer = self.data.trainer = self.view  # type: ignore[assignment]

    def state(self, trainer: pl.Trainer) -> dict[str, Any]:
        """Return what a resume file holds, as if it were trained alone."""
        loops = ("fit_loop", "validate_loop", "test_loop", "predict_loop")
        states = {each.state_key: each.state_dict() for each in self.callbacks}
        state: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "global_step": trainer.global_step,
            "pytorch-lightning_version": version("lightning"),
            "state_dict": self.task.state_dict(),
            "loops": {name: getattr(trainer, name).state_dict() for name in loops},
            "callbacks": {key: state for key, state in states.items() if state},
            "optimizer_states": [self.optimizer.state_dict()],
            "lr_schedulers": [self.scheduler.state_dict()],
        }
        self.task.on_save_checkpoint(state)
        # views would be written with all that they are views of
        state["state_dict"] = {name: value.clone() for name, value in state["state_dict"].items()}
        return state


class View:
    """The trainer of all, as one of the trainings sees it: with its own data, metrics and files."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.all: pl.Trainer

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever a trainer has)
        return getattr(self.all, name)

    @property
    def lightning_module(self) -> Task:
        """What is trained."""
        return self._member.task

    @property
    def datamodule(self) -> CrystalDataModule:
        """Its data."""
        return self._member.data

    @property
    def callback_metrics(self) -> dict[str, Tensor]:
        """Its metrics of the last epoch."""
        return self._member.metrics

    @property
    def optimizers(self) -> list[Any]:
        """Its optimiser."""
        return [self._member.optimizer]

    def save_checkpoint(self, path: str, weights_only: bool | None = None) -> None:  # noqa: ARG002
        """Write its resume file."""
        assert self._member.files is not None
        self._member.files.save_checkpoint(self._member.state(self.all), path)


class Bundle(pl.LightningModule):
    """Trains several networks, of one shape, in each step.

    Attributes:
        members: The trainings.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        self.members = list(members)
        self.tasks = nn.ModuleList(member.task for member in members)
        self._backbone: nn.Module
        self._trunks: nn.ModuleList
        self._outs: nn.ModuleList
        self._shared: list[tuple[nn.Parameter, list[nn.Parameter]]]
        self._alone: list[nn.Parameter]
        self._head: Regression | None
        self._gradients: list[Tensor] = []

    @property
    def alive(self) -> list[Member]:
        """Those that have not diverged."""
        return [member for member in self.members if member.diverged is None]

    def setup(self, stage: str) -> None:
        """Prepare each, as it would alone."""
        for member in self.members:
            member.task.setup(stage)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 (Lightning's union of eight types)
        """Stack the weights, which are on the device by now; each has its own optimiser."""
        tasks = [member.task for member in self.members]
        backbone = stacked([task.backbone for task in tasks])
        heads = [task.head for task in tasks]
        trunks, outs = stacked([head.trunks for head in heads]), stacked([head.outs for head in heads])
        # not registered: its weights are those of the tasks
        self.__dict__.update(_backbone=backbone, _trunks=trunks, _outs=outs)
        modules = (backbone, trunks, outs)
        shared = [part for module in modules for part in parts(module)]
        stacked_ones = {p for _, own in shared for p in own}
        # weights of attention, the learnt noise of targets
        alone = [p for task in tasks for p in task.parameters() if p not in stacked_ones]
        self.__dict__.update(_shared=shared, _alone=alone, _head=_common(heads))
        for member in self.members:
            found = member.task.configure_optimizers()
            member.optimizer, member.scheduler = found["optimizer"], found["lr_scheduler"]["scheduler"]
        optimizer = Optimizers(self)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": Schedulers(self, optimizer), "interval": "step"},
        }

    def on_train_start(self) -> None:
        """Begin each."""
        for member in self.members:
            member.task.on_train_start()

    def on_train_epoch_start(self) -> None:
        """Release or freeze groups of each; what is frozen in all needs no derivative."""
        for member in self.members:
            member.task.on_train_epoch_start()
        for member in self.members:
            member.groups = None
        self._gradients = []
        for parameter in self._alone:
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
            self._gradients += [parameter.grad] if parameter.grad is not None else []
        for whole, own in self._shared:
            whole.requires_grad_(any(each.requires_grad for each in own))
            if not whole.requires_grad:
                whole.grad = None
                continue
            whole.grad = torch.zeros_like(whole)
            self._gradients.append(whole.grad)
            for each, gradient in zip(own, whole.grad, strict=True):
                # without a gradient its optimiser leaves it alone
                each.grad = gradient if each.requires_grad else None

    def _raw(self, batch: Batch) -> Tensor:
        x, networks = self._backbone(batch), batch[keys.NETWORKS]
        towers = []
        for trunk, out in zip(self._trunks, self._outs, strict=True):
            hidden = x
            for layer in trunk.children():
                hidden = layer(hidden, networks) if isinstance(layer, StackedLinear) else layer(hidden)
            towers.append(out(hidden, networks))
        return torch.cat(towers, dim=1) if len(towers) > 1 else towers[0]

    def _each(self, batch: Batch, stage: Stage) -> list[tuple[Member, Tensor]]:
        """Return the loss of each; keep what is measured at the end of the epoch."""
        raw, targets = self._raw(batch), batch[keys.TARGETS]
        found = []
        networks: Blocks = batch[keys.NETWORKS]
        together = self._losses(raw, targets, networks)
        for i, (member, block) in enumerate(zip(self.members, networks.slices, strict=True)):
            if member.diverged is None:
                own = Batch(**{keys.TARGETS: targets[block], keys.NUM_CRYSTALS: block.stop - block.start})
                loss = together[i] if together else member.task.head.loss(raw[block], own[keys.TARGETS])
                member.task.record(stage, own, raw[block], loss)
                found.append((member, loss))
        return found

    def _losses(self, raw: Tensor, targets: Tensor, networks: Blocks) -> Sequence[Tensor]:
        """Return the loss of each network, if one operation finds those of all."""
        if self._head is None:
            return ()
        values, known = self._head.losses(raw, targets)
        sums = networks.sums(torch.where(known, values, 0.0))
        return (sums / networks.sums(known.to(sums.dtype)).clamp(min=1)).sum(1).unbind()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002 (Lightning's signature)
        """Return the sum of the losses; what diverged takes no further part.

        Raises:
            DivergedError: None is left.
        """
        each = self._each(batch, "train")
        losses = torch.stack([loss for _, loss in each])
        for (member, loss), finite in zip(each, torch.isfinite(losses.detach()).tolist(), strict=True):
            if not finite:
                member.diverged = self._diverged(loss)
        if not self.alive:
            raise next(member.diverged for member in self.members if member.diverged is not None)
        if len(self.alive) < len(each):
            losses = torch.stack([loss for member, loss in each if member.diverged is None])
        return losses.sum()

    def _diverged(self, loss: Tensor) -> DivergedError:
        return DivergedError(
            f"the training loss became {loss.item()} in epoch {self.current_epoch + 1}; "
            "lower the learning rate, or clip gradients (trainer.gradient_clip_val: 1)"
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Keep what the validation part gives."""
        self._each(batch, "val")

    def on_train_epoch_end(self) -> None:
        """Measure the epoch."""
        self._measure("train")

    def on_validation_epoch_end(self) -> None:
        """Measure the epoch."""
        self._measure("val")

    def _measure(self, stage: Stage) -> None:
        for member in self.alive:
            member.metrics |= member.task.measured(stage)

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ANN401, ARG002
        """Let each change its gradients."""
        for member in self.alive:
            member.task.on_before_optimizer_step(member.optimizer)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:  # noqa: ANN401, ARG002 (Lightning's union)
        """Go one step further with the learning rate of each."""
        scheduler.step()

    def configure_gradient_clipping(
        self,
        optimizer: Any,  # noqa: ANN401, ARG002 (Lightning's union)
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients of each by themselves."""
        if gradient_clip_val:
            for member in self.alive:
                self.clip_gradients(member.optimizer, gradient_clip_val, gradient_clip_algorithm)


def _common(heads: Sequence[Head]) -> Regression | None:
    """Return a head that has the loss of all; None if they differ, in a scaler say, or nobody knows."""
    first = heads[0]
    known = {name: value.tolist() for name, value in first.named_buffers()}
    alike = all(
        type(head) is Regression
        and describe(head) == describe(first)
        and {name: value.tolist() for name, value in head.named_buffers()} == known
        for head in heads
    )
    return first if alike and isinstance(first, Regression) else None


class Optimizers(torch.optim.Optimizer):
    """The optimisers of all that are trained together, one after the other."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        super().__init__([p for member in bundle.members for p in member.task.parameters()], {})

    def step(self, closure: Any = None) -> Any:  # noqa: ANN401 (torch's own)
        """Take a step with each, after the gradients are computed."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for member in self.bundle.alive:
            if member.groups is None:
                member.optimizer.step()  # what was released in this epoch gets its state
                member.groups = fused(member.optimizer)
            elif member.groups:
                for group in member.groups:
                    group.step()
            else:
                member.optimizer.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: ARG002 (torch's own)
        """Set the gradients to zero, where they are: those of each network are views of them."""
        if self.bundle._gradients:
            torch._foreach_zero_(self.bundle._gradients)


class Schedulers:
    """The courses of the learning rate of all that are trained together."""

    def __init__(self, bundle: Bundle, optimizer: Optimizers) -> None:
        self.bundle, self.optimizer = bundle, optimizer

    def step(self, epoch: int | None = None) -> None:  # noqa: ARG002 (torch's own)
        """Go one step further."""
        for member in self.bundle.alive:
            member.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: each has its own."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing."""


class Batches(pl.LightningDataModule):
    """The batches of several trainings in each step."""

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        self.members = members

    def setup(self, stage: str) -> None:
        """Prepare the data of each, which are of one store."""
        for member in self.members:
            member.data.setup(stage)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches, for each in its own order."""
        return _joined([member.data.train_dataloader() for member in self.members])

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of the validation part, for each."""
        return _joined([member.data.val_dataloader() for member in self.members])

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002 (Lightning's signature)
        """Begin to copy a batch to the device; the next operation there waits for it."""
        if device.type == "cpu":
            return batch
        moved = batch.to(device, non_blocking=True)
        if keys.NETWORKS in batch:  # else it is for one of them
            moved[keys.NETWORKS] = batch[keys.NETWORKS].to(device)
        return moved


@dataclass(frozen=True, eq=False)
class Joined(Dataset[Batch]):
    """Batches of several data sets of one store, one after the other, as one."""

    graphs: Sequence[LabelledGraphs]

    def __getitem__(self, chosen: Sequence[Positions]) -> Batch:
        """Return the batch of several."""
        each = list(zip(self.graphs, chosen, strict=True))
        batch = self.graphs[0].store.batch(np.concatenate([one.positions[some] for one, some in each]))
        batch[keys.TARGETS] = torch.cat([one.targets[some] for one, some in each])
        batch[keys.ROW] = torch.from_numpy(np.concatenate([one.rows[some] for one, some in each]))
        batch[keys.NETWORKS] = Blocks.of([len(some) for some in chosen])
        return batch


class Orders(Sampler[tuple[Positions, ...]]):
    """The batches of several samplers, which are as many, side by side."""

    def __init__(self, samplers: Sequence[Any]) -> None:
        self.samplers = samplers

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next; Lightning calls this before each epoch."""
        for sampler in self.samplers:
            sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.samplers[0])

    def __iter__(self) -> Iterator[tuple[Positions, ...]]:
        """Yield a batch of each."""
        yield from zip(*self.samplers, strict=True)


def _joined(loaders: Sequence[DataLoader[Batch]]) -> DataLoader[Batch]:
    graphs: Any = [loader.dataset for loader in loaders]
    sampler = Orders([loader.sampler for loader in loaders])
    return DataLoader(Joined(graphs), sampler=sampler, batch_size=None, generator=torch.Generator())


class Followers(Checkpoint):
    """Tells what follows the course of each training of it."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members

    def _tell(self, hook: str, *more: Any) -> None:  # noqa: ANN401 (of the hook)
        for member in self.members:
            if member.diverged is None:
                for follower in member.callbacks:
                    getattr(follower, hook)(member.view, member.task, *more)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Tell of the beginning."""
        self._tell("setup", stage)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Tell of it."""
        self._tell("on_train_start")

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Tell of it."""
        self._tell("on_train_epoch_start")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Tell of it."""
        self._tell("on_train_epoch_end")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Tell of it."""
        self._tell("on_validation_end")
