"""Loggers that a configuration names: ``class_path: tlzoo.tracking.Wandb``."""

from tlzoo.training.loggers import MLflow, TensorBoard
from tlzoo.training.tracking import Wandb

__all__ = ["MLflow", "TensorBoard", "Wandb"]
