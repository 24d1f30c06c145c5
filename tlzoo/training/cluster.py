"""How processes that train one model start and stop, by Lightning, torchrun or SLURM."""

import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from tlzoo.errors import UserError
from tlzoo.machine.runtime import MAX_THREADS, usable_cores
from tlzoo.nn.norm import BatchNorm

logger = logging.getLogger(__name__)


def check(trainer: pl.Trainer, model: nn.Module) -> None:
    """Refuse what several processes would get wrong.

    Raises:
        UserError: Says what, and what to do.
    """
    strategy, connector = trainer.strategy, trainer._accelerator_connector
    # not isinstance: DeepSpeed's is derived from it
    if type(strategy) is not DDPStrategy:
        raise UserError(f"several processes need trainer.strategy ddp, got {type(strategy).__name__}")
    if strategy._ddp_comm_hook is not None:
        raise UserError("a communication hook of DDP would not be called; leave ddp_comm_hook out")
    if connector.use_distributed_sampler:
        raise UserError("batches are shared already; set trainer.use_distributed_sampler to false")
    if strategy._layer_sync is not None:
        raise UserError("batch statistics are always those of the whole batch; leave sync_batchnorm out")
    for name, part in model.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and not isinstance(part, BatchNorm):
            raise UserError(f"{name} normalises over the batch of one process; use tlzoo.nn.norm.BatchNorm")
        if part._compiled_call_impl is not None:
            raise UserError("compiled networks train in one process only; set model.compiled to false")
    # every process logs the same numbers, measured on the whole: Lightning has nothing to average
    warnings.filterwarnings("ignore", message=r"It is recommended to use `self.log\(.*sync_dist=True")


def check_start(trainer: pl.Trainer, command: str | None) -> None:
    """Refuse to start processes where that cannot work.

    Raises:
        UserError: Says what is wrong.
    """
    wanted, started = trainer.world_size, _started()
    direct = sys.argv[1:2] == [command]
    if started not in (None, wanted) and (direct or wanted > 1):
        raise UserError(
            f"{started} processes were started, and the trainer is for {wanted}: give --trainer.devices (of "
            "a machine) and --trainer.num_nodes, or start one (srun --ntasks=1)"
        )
    if wanted == 1:
        return
    strategy = trainer.strategy
    if not isinstance(strategy, DDPStrategy) or strategy._start_method != "popen":
        raise UserError("several processes need --trainer.strategy ddp")
    with explained():
        environment: Any = strategy.cluster_environment
        environment.validate_settings(num_devices=strategy.num_processes, num_nodes=trainer.num_nodes)
    if started is None and not direct:
        raise UserError(
            f"`tlzoo {command}` can start processes only from the command line; set trainer.devices to 1"
        )


@contextmanager
def explained() -> Iterator[None]:
    """Turn what Lightning says of processes that others started into errors for users."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if _started() is None or isinstance(error, UserError):
            raise
        raise UserError(f"trainer: {error}") from error


def _started() -> int | None:
    """Return how many processes torchrun or srun started; None if neither did."""
    if TorchElasticEnvironment.detect():
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_NTASKS"]) if SLURMEnvironment.detect() else None


def plugins() -> list[SLURMEnvironment]:
    """Return Lightning's plugin for SLURM where it is needed, without its requeueing: see :class:`Stop`."""
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return []
    return [SLURMEnvironment(auto_requeue=False)]


def share_threads(trainer: pl.Trainer) -> None:
    """Divide the cores among the processes that the trainer is about to start on this machine."""
    if trainer.world_size > 1 and _started() is None and "OMP_NUM_THREADS" not in os.environ:
        here = trainer.world_size // trainer.num_nodes
        threads = max(1, min(MAX_THREADS, usable_cores() // here))
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)


def in_all(trainer: pl.Trainer, work: Callable[[], None]) -> None:
    """Do something in all processes of a trainer, which are started if need be."""
    strategy: Any = trainer.strategy
    if trainer.world_size == 1:
        work()
        return

    def joined() -> None:
        strategy.setup_environment()
        work()

    strategy.launcher.launch(joined, trainer=trainer)


class Stop(pl.Callback):
    """Stop a training at once where it was asked to: all finished epochs are in the resume file.

    SIGUSR1, by which SLURM announces the end of the time (``--signal=USR1@120``), puts the job back into the
    queue. Lightning's own answer is a resume file in the middle of an epoch, from which the batches of that
    epoch begin anew, and in several processes it waits for those that are at another point.

    ``farewell`` says where the state is.
    """

    def __init__(self, farewell: Callable[[], str]) -> None:
        self.farewell = farewell

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Listen to signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        if SLURMEnvironment.detect():
            signal.signal(signal.SIGUSR1, requeue if trainer.is_global_zero else signal.SIG_IGN)
        if trainer.world_size > 1:
            signal.signal(signal.SIGTERM, signal.default_int_handler)

    def on_exception(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002
        exception: BaseException,
    ) -> None:
        """Of several processes, end without waiting for the others, which may be at another point."""
        if trainer.world_size == 1 or not isinstance(exception, KeyboardInterrupt):
            return
        launcher: Any = trainer.strategy.launcher
        for process in launcher.procs:
            process.kill()
            process.wait()
        if trainer.is_global_zero:
            for tracker in trainer.loggers:
                tracker.finalize("failed")
            sys.stderr.write(f"tlzoo: {self.farewell()}\n")
            sys.stderr.flush()
        os._exit(2)


def requeue(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a signal handler)
    """Put this SLURM job back into the queue; SLURM then ends all its processes."""
    job = os.environ["SLURM_JOB_ID"]
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)  # noqa: S603, S607 (SLURM's own)
    except (OSError, subprocess.CalledProcessError) as error:
        logger.warning("the time is nearly over, but job %s cannot go back into the queue: %s", job, error)
    else:
        logger.warning("the time is nearly over: job %s goes back into the queue", job)
