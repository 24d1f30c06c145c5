"""The only LightningModule: backbone, head, freezing strategy and optimiser in one training task."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Self

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn

from tlzoo import freezing as freeze
from tlzoo.backbones.backbone import Backbone
from tlzoo.errors import DivergedError, UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.parts import nothing
from tlzoo.graphs.row_budget import RowBudget, ran_out
from tlzoo.heads.head import Head
from tlzoo.machine import distributed
from tlzoo.model.description import describe, differences
from tlzoo.training import cluster
from tlzoo.training.distillation import Distillation, Part

logger = logging.getLogger(__name__)

Schedule = Literal["one-cycle", "cosine", "constant"]
Kept = Literal["best", "last"]
Stage = Literal["train", "val", "test"]
STAGES: tuple[Stage, ...] = ("train", "val", "test")
# Groups that no trained backbone brings.
NEW = ("head.", "distillation")
_SAYS = {"data.teacher": "what is to be learned", "model.distillation": "how it is learned"}


class Task(pl.LightningModule):
    """Train a network: a backbone and a head, completely or in part.

    The data module must offer ``targets`` (names), ``units``, ``train_targets()`` and
    ``part_dataloader("train", whole=True)``: the scalers of backbone and head are fitted to the training
    part, and to nothing else, when the training starts.

    If the trainer has several processes, each computes its share of a batch, and all take the same step for
    the whole batch (:mod:`tlzoo.machine.distributed`).

    Args:
        backbone: Network from a batch of crystals to embeddings.
        head: Layers from embeddings to predictions in physical units; it is bound to the backbone's
            ``out_dim``.
        freezing: Which groups of layers are trained, depending on the epoch; by default all.
        optimizer: Makes an optimiser of parameter groups.
        schedule: How the learning rate changes over the steps. ``one-cycle``: linear warm-up to the rate of
            the optimiser, then a cosine to zero (Smith & Topin 2019, without momentum cycling); ``cosine``:
            no warm-up; ``constant``.
        warmup: For ``one-cycle``: fraction of the steps that are the warm-up.
        layer_decay: Learning rate of each group relative to that of the group after it; 1 gives the same rate
            to all.
        l2_sp: Strength α of the penalty α/2 ‖w − w₀‖² that keeps the weights of a trained backbone near their
            start, for scaled targets. It replaces their weight decay. Li et al., ICML 2018, arXiv:1802.01483.
        distillation: What to learn from a teacher (``data.teacher``), besides the labels.
        keep: Which epoch becomes the model: ``best``, the one with the smallest validation error, or
            ``last``. If the learning rate goes to zero and there are few validation crystals, the best epoch
            is often best by chance.
        compiled: Run the backbone through ``torch.compile``, with dynamic shapes. The first steps then take
            up to a minute and need a C++ compiler; on a CPU, later steps are no faster.
        export: Write the trained model to files. If false, backbones and heads of unregistered packages can
            be trained, too, which no file could be loaded with.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        freezing: freeze.Freezing | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        schedule: Schedule = "one-cycle",
        warmup: float = 0.1,
        layer_decay: float = 1.0,
        keep: Kept = "best",
        compiled: bool = False,
        export: bool = True,
        l2_sp: float | None = None,
        distillation: Distillation | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= warmup < 1:
            raise UserError(f"warmup is a part of all steps, 0 or more and less than 1, got {warmup}")
        if not 0 < layer_decay <= 1:
            raise UserError(f"layer_decay must be more than 0 and at most 1, got {layer_decay}")
        if keep not in ("best", "last"):
            raise UserError(f"keep must be best or last, got {keep!r}")
        self.backbone = backbone
        if compiled:
            backbone.compile(dynamic=True)
        self.head = head.bind(backbone.out_dim)
        self.freezing = freezing or freeze.All()
        # A rule that does not fit the model is refused here, before anything is read or written.
        groups = list(self.groups())
        self.freezing.trainable(groups, 0)
        if l2_sp is not None:
            _check_l2_sp(l2_sp, backbone, adapted=bool(self.freezing.adapters(groups)))
        # none where nothing holds them; a resumed run begins with the same backbone
        self._start = [(p, p.detach().clone()) for p in backbone.parameters()] if l2_sp else []
        self.l2_sp = l2_sp
        if distillation is not None:
            distillation.of(backbone)
        self.distillation = distillation
        self.optimizer = optimizer
        self.schedule = schedule
        self.warmup = warmup
        self.layer_decay = layer_decay
        self.keep = keep
        self.export = export
        self.group_rows: list[freeze.GroupRow] = []
        self.seed = torch.initial_seed() % 2**32
        self.budget = RowBudget()
        self._own_budget = RowBudget()
        self._frozen: list[nn.Module] = []
        self._metrics: dict[Stage, Any] = {}
        self._losses: dict[Stage, list[tuple[Tensor, int]]] = {}
        self._outputs: dict[Stage, list[tuple[Tensor, Tensor]]] = {}
        self._parts: dict[Stage, list[Part]] = {}
        self._batch: Batch | None = None

    def groups(self) -> Mapping[str, Sequence[nn.Module]]:
        """The backbone's groups, then the head's: what freezing strategies speak of."""
        return {**self.backbone.groups(), **self.head.groups()}

    @property
    def monitor(self) -> str | None:
        """What is least in the epoch that is kept; None if that is the last one."""
        return f"val/{self.head.monitor}" if self.keep == "best" else None

    def forward(self, batch: Batch) -> Tensor:
        """Predict in physical units, ``(crystals, columns)``."""
        return self.head.predict(self._raw(batch)[0])

    def _raw(self, batch: Batch) -> tuple[Tensor, Part | None]:
        """Return the head's raw output, computed in parts once memory ran out, and what is learned beside."""
        output = self._output(batch)
        return Distillation.parted(output) if self._teacher_of(batch) else (output, None)

    def _teacher_of(self, batch: Batch) -> Distillation | None:
        """Return what a batch with a teacher is learned with."""
        return self.distillation if keys.ATOM_TARGETS in batch else None

    def _output(self, batch: Batch) -> Tensor:
        if torch.is_grad_enabled():
            return self.budget.apply_recomputing(self._compute, batch, self)
        # what a process measures is nobody else's concern: the budget that all share must not change
        budget = self._own_budget if distributed.together() else self.budget
        return budget.apply(self._compute, batch)

    def _compute(self, batch: Batch) -> Tensor:
        if taught := self._teacher_of(batch):
            output: Tensor = taught(self.backbone, self.head, batch)
            return output
        raw: Tensor = self.head(self.backbone(batch))
        return raw

    def _loss(self, raw: Tensor, part: Part | None, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what is to be made least, and the head's own part of it."""
        own = self.head.loss(raw, batch[keys.TARGETS])
        weight = self.distillation.weight if self.distillation is not None else 0.0
        return (own if part is None else own + weight * part.error), own

    def setup(self, stage: str) -> None:
        """Fit the scaler and freeze, so that the summary printed at the start is true."""
        if stage == "predict":
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.trainer.world_size > 1:
            cluster.check(self.trainer, self)
            distributed.join()
            self.seed = distributed.gather(self.seed)[0]
        self._metrics = {part: self.head.metrics(data.targets) for part in STAGES}
        self._losses = {part: [] for part in STAGES}
        self._outputs = {part: [] for part in STAGES}
        self._parts = {part: [] for part in STAGES}
        self.head.check(data.target_values(data.used_rows), data.targets)
        if stage == "fit":
            self._bind(data)
            self.head.fit(data.train_targets(), data.targets)
            if not self.backbone.fitted:
                self.backbone.fit(data.part_dataloader("train", whole=True))
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)  # the same in all processes
                freeze.prepare(self.freezing, self.groups())
            self._freeze(0)
            rank_zero_only(logger.info)(freeze.table(self.group_rows))

    def _bind(self, data: Any) -> None:  # noqa: ANN401 (any data module)
        """Meet the teacher, whose map is the same in all processes."""
        teacher = getattr(data, "teacher", None)
        if (teacher is None) != (self.distillation is None):
            given, lacking = ("data.teacher", "model.distillation")[:: 1 if self.distillation is None else -1]
            raise UserError(f"{given} goes with {lacking}, which says {_SAYS[lacking]}: give both or neither")
        if self.distillation is not None and teacher is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                self.distillation.bind(self.backbone, torch.from_numpy(teacher.variances()))

    def teardown(self, stage: str) -> None:  # noqa: ARG002 (Lightning's signature)
        """Compute alone again."""
        distributed.leave()

    def on_train_start(self) -> None:
        """Take off the wrapper of `DistributedDataParallel`: gradients are averaged in `optimizer_step`."""
        if distributed.together():
            self.trainer.strategy.model = self
        self._start = [(p, start.to(p.device)) for p, start in self._start]
        if self.freezing.ridge and self.trainer.global_step == 0:
            self._regress_head()

    @torch.no_grad()
    def _regress_head(self) -> None:
        """Start the head from what is best on the embeddings as they are."""
        embeddings, targets = [], []
        self.eval()
        for batch in self.trainer.datamodule.part_dataloader("train", whole=True):  # type: ignore[attr-defined]
            here = self.trainer.strategy.batch_to_device(batch)
            embeddings.append(self._own_budget.apply(self.backbone, here))
            targets.append(here[keys.TARGETS])
        self.head.regress(torch.cat(embeddings), torch.cat(targets))

    def _freeze(self, epoch: int) -> None:
        applied = freeze.apply(self.freezing, self.groups(), epoch, training=self.training)
        self.group_rows, self._frozen = applied.rows, applied.frozen

    def train(self, mode: bool = True) -> Self:
        """Set the mode, but keep frozen parts in eval: running statistics must not drift."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def on_train_epoch_start(self) -> None:
        """Release or freeze groups; seed the epoch, so that a resumed run repeats the straight one."""
        self._freeze(self.current_epoch)
        self.train()
        seed = distributed.seed(self.seed, self.current_epoch)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(
                seed
            )  # torch's own writes down where it was called: milliseconds
        else:
            torch.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:  # noqa: ARG002 (Lightning's signature)
        """Return the loss in the scaled space of the targets."""
        self._batch = batch
        if together := distributed.together():
            together.begin()
        raw, part = self._raw(batch)
        loss, own = self._loss(raw, part, batch)
        if not math.isfinite(loss.item()):
            raise DivergedError(
                f"the training loss became {loss.item()} in epoch {self.current_epoch + 1}; "
                "lower the learning rate, or clip gradients (trainer.gradient_clip_val: 1)"
            )
        return {"loss": loss, "raw": raw.detach(), "value": own.detach(), "part": part}

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,  # noqa: ANN401 (Lightning's union)
        optimizer_closure: Any = None,  # noqa: ANN401
    ) -> None:
        """Learn from a batch: again, in parts, if memory ran out in its forward or backward pass.

        The closure sets all gradients to zero before the backward pass, so a failed one leaves no trace. When
        gradients are accumulated over batches it does not, and the error stands.
        """
        together = distributed.together()
        closure = partial(self._learn, together, optimizer_closure) if together else optimizer_closure
        while True:
            try:
                return super().optimizer_step(epoch, batch_idx, optimizer, closure)
            except RuntimeError as error:
                if self._batch is None or self.trainer.accumulate_grad_batches > 1:
                    raise
                halve = self.budget.halve_together if together else self.budget.halve
                halve(self._batch, error)

    def _learn(self, together: distributed.Together, closure: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Compute the gradients of a batch with the other processes."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return together.step(closure, self._catch_up, ran_out, trained)

    def _catch_up(self) -> None:
        """Compute as in a step, of no crystal."""
        assert self._batch is not None
        batch = nothing(self._batch)
        with self.trainer.precision_plugin.train_step_context():
            loss, _ = self._loss(*self._raw(batch), batch)
        loss.backward()  # type: ignore[no-untyped-call]

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ANN401, ARG002 (Lightning's union)
        """Add the derivative of the penalty, once, whatever the processes and parts of a batch."""
        for parameter, start in self._start:
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - start, alpha=self.l2_sp or 0.0)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:  # noqa: ANN401, ARG002
        """Accumulate the metrics of the training part, once a batch has been learned from."""
        self._batch = None
        if together := distributed.together():
            together.settle()
        self.record("train", batch, outputs["raw"], outputs["value"], outputs["part"])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Accumulate the metrics of the validation part."""
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Accumulate the metrics of the test part."""
        self._evaluate("test", batch)

    def _evaluate(self, stage: Stage, batch: Batch) -> None:
        raw, part = self._raw(batch)
        self.record(stage, batch, raw, self._loss(raw, part, batch)[1], part)

    def record(self, stage: Stage, batch: Batch, raw: Tensor, loss: Tensor, part: Part | None = None) -> None:
        """Keep what a batch gave until the epoch is measured."""
        self._outputs[stage].append((raw.detach(), batch[keys.TARGETS]))
        self._losses[stage].append((loss.detach(), batch[keys.NUM_CRYSTALS]))
        if part is not None:
            self._parts[stage].append(Part(part.error.detach(), part.crystals))

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the epoch, in physical units."""
        self._log_metrics("train")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the epoch, in physical units."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test part, in physical units."""
        self._log_metrics("test")

    def _log_metrics(self, stage: Stage) -> None:
        # `self.log` of every step would take longer than a step of a small optimiser
        for name, value in self.measured(stage).items():
            shown = f"{stage}/loss" if stage == "train" else f"val/{self.head.monitor}"
            self.log(name, value, prog_bar=name == shown)

    def measured(self, stage: Stage) -> dict[str, Tensor]:
        """Return the mean loss and the metrics of the batches since it was last asked, by name."""
        losses, crystals = zip(*self._losses[stage], strict=True)
        weights = torch.tensor(distributed.totals(crystals), dtype=losses[0].dtype, device=losses[0].device)
        found = {f"{stage}/loss": (torch.stack(losses) * weights).sum() / weights.sum()}
        self._losses[stage].clear()
        if self._parts[stage]:
            errors, seen = (torch.stack(values) for values in zip(*self._parts[stage], strict=True))
            if total := seen.sum():  # the teacher may have seen no validation crystal
                found[f"{stage}/teacher"] = (errors * seen).sum() / total
            self._parts[stage].clear()
        metrics = self._metrics[stage]
        raw, targets = (torch.cat(values) for values in zip(*self._outputs[stage], strict=True))
        self._outputs[stage].clear()
        with torch.no_grad():
            metrics.update(self.head.predict(raw.float()), targets)
        metrics.pool()
        found |= {f"{stage}/{name}": value for name, value in metrics.compute().items()}
        metrics.reset()
        return found

    def spec(self) -> dict[str, Any]:
        """What the weights belong to, the graph of the backbone included, as plain data."""
        return {"backbone": describe(self.backbone), "head": describe(self.head)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in a resume file what its weights belong to."""
        checkpoint["spec"] = self.spec()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another model or another graph.

        Raises:
            UserError: The checkpoint was made by another model; the message names the differences.
        """
        changes = differences(checkpoint.get("spec", self.spec()), self.spec())
        if changes:
            told = "; ".join(f"{key}: {change}" for key, change in changes.items())
            raise UserError(
                f"the checkpoint was made by another model: {told}. Use the configuration it was made with"
            )

    def configure_optimizers(self) -> Any:  # noqa: ANN401 (Lightning's union of eight types)
        """One parameter group per named group, frozen ones too: without a gradient they stay as they are."""
        groups = dict(self.groups())
        if self.distillation is not None:
            groups["distillation"] = [self.distillation]
        rates = freeze.layer_rates(list(groups), self.layer_decay)
        optimizer = self.optimizer(
            [
                {"params": [p for part in parts for p in part.parameters()], "name": name}
                for name, parts in groups.items()
            ]
        )
        for group in optimizer.param_groups:
            group["lr"] *= rates[group["name"]]
            if self.l2_sp and "weight_decay" in group and not group["name"].startswith(NEW):
                group["weight_decay"] = 0.0  # towards zero; the penalty is towards the start
            if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW) and group["foreach"] is None:
                # torch's own choice on a CPU is a loop over the parameters, 3 to 7 times slower
                group["fused"] = group["fused"] is not False
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = Course(optimizer, lambda step: self.rate(step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def rate(self, step: int, total: int) -> float:
        """Learning rate at a step, as a part of the optimiser's own."""
        if self.schedule == "constant":
            return 1.0
        warm = max(1, round(self.warmup * total)) if self.schedule == "one-cycle" else 0
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))


class Course(torch.optim.lr_scheduler.LambdaLR):
    """A course of the learning rate that is the same, as a part of its own rate, for all groups."""

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each group."""
        part = self.lr_lambdas[0](self.last_epoch)
        return [rate * part for rate in self.base_lrs]


def _check_l2_sp(l2_sp: float, backbone: Backbone, *, adapted: bool) -> None:
    if not 0 < l2_sp < math.inf:
        raise UserError(f"l2_sp must be positive, got {l2_sp}; leave it out for no penalty")
    if not backbone.pretrained:
        raise UserError(
            f"l2_sp holds a backbone near what it has learned, but this {type(backbone).__name__} begins "
            "anew; start from a trained one (class_path: tlzoo.zoo.backbone), or leave l2_sp out"
        )
    if adapted:
        raise UserError(
            "LoRA leaves the weights at their start, where l2_sp would hold them: use one of both"
        )
