"""Splits: pure functions from a table of crystals to rows for training, validation and test.

A splitter is a value (a frozen dataclass); the YAML is its constructor::

    split: {class_path: Random, init_args: {val: 0.1, test: 0.1, seed: 0}}
"""

from tlzoo.data.splits.by_target import ByTarget
from tlzoo.data.splits.drawn import ByComposition, KFold, LeaveElementOut, Random, RepeatedKFold
from tlzoo.data.splits.fold_of import FoldOf
from tlzoo.data.splits.given import FromColumn, FromFile, Pretraining
from tlzoo.data.splits.published import MatbenchFold, PaperTrial
from tlzoo.data.splits.sampled import Sampled
from tlzoo.data.splits.splitter import Split, Splitter

__all__ = [
    "ByComposition",
    "ByTarget",
    "FoldOf",
    "FromColumn",
    "FromFile",
    "KFold",
    "LeaveElementOut",
    "MatbenchFold",
    "PaperTrial",
    "Pretraining",
    "Random",
    "RepeatedKFold",
    "Sampled",
    "Split",
    "Splitter",
]
