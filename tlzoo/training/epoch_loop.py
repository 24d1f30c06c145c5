"""Lightning's loop over the batches of an epoch, without what nobody listens to.

A step of a small network takes a few milliseconds; some forty calls of Lightning that find nothing to do take
more than one. Where a trainer is plain (one process, fp32, no accumulation), a step does what theirs would,
with the same numbers, counters and resume files, and every hook that somebody has overridden is called.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loops.fetchers import _PrefetchDataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from tlzoo.training.fused_adamw import Stepper

# What a step calls, of callbacks and of the module.
HOOKS: Final = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
# What of the module and its data Lightning would call besides.
OTHERS: Final = ("optimizer_zero_grad", "backward", "on_before_batch_transfer", "on_after_batch_transfer")


class EpochLoop(_TrainingEpochLoop):
    """The batches of an epoch."""

    _plain = False

    @classmethod
    def put_into(cls, trainer: pl.Trainer) -> None:
        """Let a trainer use it."""
        before = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = cls(trainer, before.min_steps, before.max_steps)

    def on_run_start(self, data_fetcher: Any) -> None:  # noqa: ANN401 (Lightning's union)
        """Begin an epoch."""
        super().on_run_start(data_fetcher)
        trainer = self.trainer
        module: Any = trainer.lightning_module
        self._plain = (
            type(trainer.strategy) is SingleDeviceStrategy
            and type(trainer.precision_plugin) is Precision
            and type(trainer.profiler) is PassThroughProfiler
            and type(data_fetcher) is _PrefetchDataFetcher
            and trainer.accumulate_grad_batches == 1
            and module.automatic_optimization
            and len(trainer.optimizers) == len(trainer.lr_scheduler_configs) == 1
            and not any(_overridden(module, name, pl.LightningModule) for name in OTHERS)
            and not any(_overridden(trainer.datamodule, name, pl.LightningDataModule) for name in OTHERS[2:])
        )
        if not self._plain:
            return
        self._module = module
        self._stepper = Stepper(trainer.optimizers[0], partial(self._before_step, trainer.optimizers[0]))
        self._own = {name for name in HOOKS if _overridden(module, name, pl.LightningModule)}
        self._told = {name: [each for each in trainer.callbacks if _listens(name, each)] for name in HOOKS}

    def advance(self, data_fetcher: Any) -> None:  # noqa: ANN401 (Lightning's union)
        """Learn from a batch."""
        if not self._plain or self.restarting:
            super().advance(data_fetcher)
            return
        trainer, module = self.trainer, self._module
        self.val_loop.restarting = False
        batch, _, _ = next(data_fetcher)
        index = self.batch_idx + 1
        self.batch_progress.is_last_batch = data_fetcher.done
        data: Any = trainer.datamodule or module
        batch = data.transfer_batch_to_device(batch, trainer.strategy.root_device, 0)
        self.batch_progress.increment_ready()
        trainer._logger_connector.on_batch_start(batch)
        if self._call("on_train_batch_start", batch, index) == -1:
            self.batch_progress.increment_by(0, is_last_batch=True)
            self.batch_progress.increment_processed()
            raise StopIteration
        self.batch_progress.increment_started()
        found: dict[str, Any] = {}
        progress = self.automatic_optimization.optim_progress.optimizer
        progress.step.increment_ready()
        learn = partial(self._learn, batch, index, found)
        module.optimizer_step(trainer.current_epoch, index, self._stepper, learn)
        progress.step.increment_completed()
        self.batch_progress.increment_processed()
        self._next_rate()
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        self._call("on_train_batch_end", found, batch, index)
        if trainer._results:
            trainer._logger_connector.on_batch_end()
        elif trainer._results is not None:
            trainer._results.batch = None
        self.batch_progress.increment_completed()
        if trainer.loggers:
            trainer._logger_connector.update_train_step_metrics()

    def _learn(self, batch: Any, index: int, found: dict[str, Any]) -> Tensor:  # noqa: ANN401 (the loader's)
        """Compute the gradients of a batch; what the step returned is found."""
        output = self._module.training_step(batch, index)
        loss: Tensor = output["loss"] if isinstance(output, dict) else output
        progress = self.automatic_optimization.optim_progress.optimizer.zero_grad
        progress.increment_ready()
        self._call("on_before_zero_grad", self._stepper.optimizer)
        progress.increment_started()
        self._stepper.zero_grad()
        progress.increment_completed()
        self._call("on_before_backward", loss)
        loss.backward()  # type: ignore[no-untyped-call]
        self._call("on_after_backward")
        found |= output if isinstance(output, dict) else {}
        closed = loss.detach()
        found["loss"] = closed
        return closed

    def _before_step(self, optimizer: torch.optim.Optimizer) -> None:
        self._call("on_before_optimizer_step", optimizer)
        trainer = self.trainer
        if trainer.gradient_clip_val or _overridden(
            self._module, "configure_gradient_clipping", pl.LightningModule
        ):
            self._module.configure_gradient_clipping(
                optimizer,
                gradient_clip_val=trainer.gradient_clip_val,
                gradient_clip_algorithm=trainer.gradient_clip_algorithm,
            )

    def _next_rate(self) -> None:
        """Go one step further with the learning rate, as Lightning would."""
        (config,) = self.trainer.lr_scheduler_configs
        every = config.interval == "step" and config.frequency == 1 and not config.reduce_on_plateau
        if not every or type(self._module).lr_scheduler_step is not pl.LightningModule.lr_scheduler_step:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
            return
        self.scheduler_progress.increment_ready()
        config.scheduler.step()
        self.scheduler_progress.increment_completed()

    def _call(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401 (of the hook)
        if not self._told[name] and name not in self._own:
            return None
        module, answer = self._module, None
        # by this `log` knows where it is called
        before, module._current_fx_name = module._current_fx_name, name
        for callback in self._told[name]:
            getattr(callback, name)(self.trainer, module, *arguments)
        if name in self._own:
            answer = getattr(module, name)(*arguments)
        module._current_fx_name = before
        return answer


def _overridden(owner: object, name: str, kind: type) -> bool:
    """Whether somebody has written a hook of their own."""
    own: Callable[..., Any] | None = getattr(type(owner), name, None)
    return own is not None and (own is not getattr(kind, name) or name in vars(owner))


def _listens(name: str, callback: pl.Callback) -> bool:
    """Whether a callback does something in a hook; those of resume files do nothing after a batch."""
    if name == "on_train_batch_end" and isinstance(callback, ModelCheckpoint):
        every = callback._every_n_train_steps >= 1 or callback._train_time_interval is not None
        return every or type(callback).on_train_batch_end is not ModelCheckpoint.on_train_batch_end
    return _overridden(callback, name, pl.Callback)
