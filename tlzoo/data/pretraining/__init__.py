"""What networks are pre-trained on: seven properties of about 89,000 crystals, none of them in a test set.

`python -m tlzoo.data.pretraining` finds the crystals to keep out and writes their list, `excluded.csv`.
"""

from tlzoo.data.pretraining.exclusions import HELD_OUT, HeldOut, find, keeps_out, read
from tlzoo.data.pretraining.merged import SOURCES, build, load

__all__ = ["HELD_OUT", "SOURCES", "HeldOut", "build", "find", "keeps_out", "load", "read"]
