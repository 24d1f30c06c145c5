"""Checkpoints that were published once: their names, in studies and in runs, still mean something."""

from pathlib import Path
from typing import Final, NamedTuple


class Removed(NamedTuple):
    """One of them.

    Attributes:
        sha256: SHA-256 of its weights, by which results of studies that started from it are known.
        instead: What to take.
        again: Whether its recipe is still there.
    """

    sha256: str
    instead: str
    again: bool = True


TAKE: Final = "momentnet-u"
REMOVED: Final = {
    "alignn-s-bg": Removed("6aad2338911441f041d67315c224e6c0d91405e96804a071a7c4fb1a033531df", "alignn-s-u"),
    "alignn-s-mpt": Removed("5f72af09e26455d078be7767a061557957d565bf7664bc4e5a59623a2906e9aa", "alignn-mpt"),
    "alignn-s-mpt-no-ph": Removed("af6a10b3ca7969a118a33083115fb5bcf0074940d8034788d13bbd6306707c91", TAKE),
    "cgcnn-fe-bg": Removed("dafb649e8b474321a86780c6432560521ec288e9366f70b97c5fba2590a3e0b8", TAKE),
    "cgcnn-fe-bg-all": Removed(
        "7168cde9a50a28a133231bcd4b880563cfb25ef9e2ebfd9e6117bf83f244abb9", "momentnet-all", again=False
    ),
    "cgcnn-gv-taught": Removed("f8da0ccb22aae8ce6fa2c04547f27160883a17720f566e0dbad3ffcc8025465c", TAKE),
    "cgcnn-mpt-no-bg": Removed("33b03d70df0bfe6218089c80e9b43ef91e318b41731c6396a1e71a5ecf05df4f", TAKE),
    "cgcnn-mpt-no-dc": Removed("8ac6fe2a3022dbaa54eb914b6d63a5d2da0acd09b23ae209392a075155005d59", TAKE),
    "cgcnn-mpt-no-ebg": Removed("41fb5370c8d2f8bd918ef21626704eb2095ae7bc1a66b01c1b6af2d8d8f4822f", TAKE),
    "cgcnn-mpt-no-gv": Removed("5a41eb727997c03b8a503a8fed5608c9ca49d30c178b6ecd839cd3981ba7b646", TAKE),
    "cgcnn-mpt-no-ph": Removed("030be487224eae638acab87221231850aeba0be5e9a025ae70512e3fda781a12", TAKE),
    "cgcnn-mpt-no-pz": Removed("9afd0de84a536a260f741de561561a0056acf9df4241840b40536c770bacbcde", TAKE),
}


def trained(name: str) -> Path:
    """Return the run directory that `make pretrain-NAME` makes."""
    return Path("runs", name)


def message(name: str) -> str:
    """Say what became of one."""
    text = f"the checkpoint {name} is not published any more: take {REMOVED[name].instead}"
    if not REMOVED[name].again:
        return text
    return f"{text}, or train it with `make pretrain-{name}`; its name then means {trained(name)}"
