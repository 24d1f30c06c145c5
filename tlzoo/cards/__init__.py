"""Published checkpoints: their cards, where they are, how they are fetched. Nothing here needs torch."""

from tlzoo.cards.card import Card

__all__ = ["Card"]
