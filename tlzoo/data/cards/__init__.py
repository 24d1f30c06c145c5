"""The cards of the named data sets."""

from tlzoo.data.cards.card import DatasetCard, Target
from tlzoo.data.cards.known import DATASETS

__all__ = ["DATASETS", "DatasetCard", "Target"]
