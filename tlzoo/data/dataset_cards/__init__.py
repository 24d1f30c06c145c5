"""The cards of the named data sets."""

from tlzoo.data.dataset_cards.dataset_card import DatasetCard, Target
from tlzoo.data.dataset_cards.known import DATASETS

__all__ = ["DATASETS", "DatasetCard", "Target"]
