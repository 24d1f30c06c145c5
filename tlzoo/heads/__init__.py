"""From an embedding to predictions, loss and metrics in physical units."""

from tlzoo.heads.base import Head
from tlzoo.heads.regression import Regression

__all__ = ["Head", "Regression"]
