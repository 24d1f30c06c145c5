"""What `tlzoo recommend` is asked: light to import, for the command line is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which models to rank, for what.

    Attributes:
        source: A folder, archive, table or named data set, as ``data.source`` of `tlzoo fit`.
        target: Column to learn; not needed if the data have only one.
        unit: Its unit, where the data do not say.
        starts: Models to rank; by default all checkpoints of the zoo.
        configs: YAML with the split and the columns, as for `tlzoo finetune`; may be repeated.
        everything: Rank on all crystals, and not on the training part alone of the split that
            `tlzoo finetune` makes. A model chosen so was chosen by the test part too.
        minutes: Recommend what trains in so many minutes at most on this machine, as far as a few steps tell.
        repeats: Number of cross-validations.
        most: Rank on so many crystals at most, drawn at random: more take longer, with their cube.
        seed: Seed of the draws.
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
