"""What `tlzoo recommend` is asked: light to import, for the command line is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which models to rank, and for which property.

    Attributes:
        source: Labelled crystals: a folder, archive, table or named data set, as ``data.source`` of `tlzoo
            fit`.
        target: Column to learn; not needed if the data have only one.
        unit: Unit of the target, if the data do not state it.
        starts: Models to rank; by default all checkpoints of the zoo.
        configs: YAML file with the split and the columns, as for `tlzoo finetune`; may be repeated.
        everything: Rank on all crystals. By default the ranking uses only the training part of the split that
            `tlzoo finetune` makes; with this option the test part influences which model is chosen.
        minutes: Recommend only what can be trained on this machine within this many minutes, as estimated
            from a few training steps.
        repeats: How often to repeat the cross-validation.
        most: Rank on at most this many crystals, drawn at random; the time grows with the cube of the number.
        seed: Seed of the random draws.
    """

    source: str
    target: str | None = None
    unit: str | None = None
    starts: Sequence[str] | None = None
    configs: Sequence[Path] = ()
    everything: bool = False
    minutes: float | None = None
    repeats: int = 1
    most: int = 300
    seed: int = 0
