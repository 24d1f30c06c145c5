"""Let checkpoints share one file of what they have learned from, `pretraining.structures.safetensors`.

A checkpoint is published with the keys of its training structures in its own `NAME.domain.safetensors`. Most
have learned from the same crystals: this moves all keys into the file that they share, which says of each
which checkpoints know it. Weights and their hashes stay what they are; done twice, it changes nothing.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tlzoo.cards import library
from tlzoo.cards.beside import DOMAIN, ENDING, KEYS, Beside
from tlzoo.cards.card import Card
from tlzoo.data.structure_keys import StructureKeys
from tlzoo.machine.files import whole, write_text
from tlzoo.model.domain import Domain, read, shared_content

ROOT: Final = Path(__file__).parents[1]
SHARED: Final = "pretraining.structures.safetensors"
# A key as one value, so that equal ones are found: hash of the formula, volume and shape; and the how manyth
# of equal keys it is, since some training crystals have the same.
KEY: Final = np.dtype([("formulas", "u1", 5), ("volumes", "f2"), ("shapes", "f2", 4), ("copy", "<u2")])


def known(folder: Path) -> dict[str, tuple[Card, Domain]]:
    """Return cards and domains of the checkpoints that know structures, by name; formulas have none."""
    cards = [Card.read(folder / f"{name}.json") for name in library.names(folder)]
    found = {}
    for card in cards:
        content = json.loads((folder / f"{card.name}.json").read_text(encoding="utf-8"))
        domain = read(folder / f"{card.name}.safetensors", content)
        if card.training and domain.keys and not np.isnan(domain.keys.volumes).all():
            found[card.name] = (card, domain)
    return found


def merged(sets: Mapping[str, StructureKeys]) -> bytes:
    """Return the content of a file with the keys of all sets, what they have in common once."""
    rows = {name: _rows(keys) for name, keys in sets.items()}
    every = np.unique(np.concatenate(list(rows.values())))
    keys = np.frombuffer(every.tobytes(), KEY)
    return shared_content(
        StructureKeys(keys["formulas"], keys["volumes"], keys["shapes"]),
        {name: np.isin(every, one) for name, one in rows.items()},
    )


def _rows(keys: StructureKeys) -> np.ndarray[Any, np.dtype[np.void]]:
    """Return each key as its bytes, none twice."""
    packed = np.zeros(len(keys), KEY)
    for name, values in keys.arrays.items():
        packed[name] = values
    ordered = np.sort(packed.view(f"V{KEY.itemsize}"))
    _, first, group = np.unique(ordered, return_index=True, return_inverse=True)
    ordered.view(KEY)["copy"] = np.arange(len(keys)) - first[group]
    return ordered


def write(path: Path, content: bytes) -> None:
    """Write a file, and say so."""
    with whole(path) as partial:
        partial.write_bytes(content)
    sys.stdout.write(f"{path.name}: {len(content):,} bytes\n")
    sys.stdout.flush()


def pin(folder: Path, card: Card, fields: Mapping[str, Beside]) -> None:
    """Write into a card what is beside its weights."""
    path = folder / f"{card.name}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content |= {name: one.fields() for name, one in fields.items()}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def main(folder: Path = ROOT / "checkpoints") -> int:
    """Move keys that are not shared yet."""
    found = known(folder)
    content = merged(
        {
            card.training.train.ids_sha256: domain.keys
            for card, domain in found.values()
            if card.training and domain.keys
        }
    )
    shared = Beside.describing(SHARED, content)
    if all(card.structures == shared for card, _ in found.values()):
        print("all of them share their keys")
        return 0
    with whole(folder / SHARED) as partial:
        partial.write_bytes(content)
    for name, (card, domain) in found.items():
        own = card.domain
        if not card.structures:
            without = replace(domain, keys=None).content()
            own = Beside.describing(f"{name}{ENDING}", without)
            write(folder / own.file, without)
        assert own
        pin(folder, card, {DOMAIN: own, KEYS: shared})
    print(f"{SHARED}: {shared.bytes:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
