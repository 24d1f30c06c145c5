"""What networks are pre-trained on: seven properties of about 89,000 crystals, none of them in a test set.

`python -m maintenance.exclusions` finds the crystals to keep out and writes their list, `excluded.csv`.
"""

from tlzoo.data.pretraining.exclusions import keeps_out, read
from tlzoo.data.pretraining.merged import SOURCES, build, load

__all__ = ["SOURCES", "build", "keeps_out", "load", "read"]
