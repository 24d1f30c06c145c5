"""From an embedding to predictions, loss and metrics in physical units."""

from tlzoo.heads.classification import Classification
from tlzoo.heads.gaussian import Gaussian
from tlzoo.heads.head import Head
from tlzoo.heads.multi import MultiProperty
from tlzoo.heads.quantile import Quantile
from tlzoo.heads.regression import Regression

__all__ = ["Classification", "Gaussian", "Head", "MultiProperty", "Quantile", "Regression"]
