"""Crystals: the table that everything reads, its columnar format, the elements."""

from tlzoo.crystals.columns import as_column, known_values
from tlzoo.crystals.elements import SYMBOLS, symbol
from tlzoo.crystals.table import Crystals, formulas_alone, with_unit

__all__ = ["SYMBOLS", "Crystals", "as_column", "formulas_alone", "known_values", "symbol", "with_unit"]
