"""Write beside each checkpoint what is known of its training crystals; what is there is not made again.

`NAME.domain.safetensors` says how some of them look to the network, `pretraining.structures.safetensors` has
the keys of all structures of the data set that checkpoints have learned from. Both need the data
(TLZOO_DATA). Weights and their hashes stay what they are.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.cards import library
from tlzoo.cards.beside import DOMAIN, ENDING, KEYS, Beside
from tlzoo.cards.card import Card
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.labelled_table import LabelledTable
from tlzoo.data.pretraining.merged import NAME as PRETRAINING
from tlzoo.data.splits import Pretraining
from tlzoo.data.splits.ids import ids_sha256
from tlzoo.data.structure_keys import StructureKeys
from tlzoo.errors import UserError
from tlzoo.machine.files import whole, write_text
from tlzoo.model.domain import DRAWN, Domain, shared_content
from tlzoo.model.trained import load

ROOT: Final = Path(__file__).parents[1]
SHARED: Final = f"{PRETRAINING}.structures.safetensors"
# Keys made at a time: what is done is kept when this is stopped.
PIECE: Final = 5000

Ids = Mapping[str, frozenset[str]]


def training_ids(crystals: Crystals, cards: Sequence[Card]) -> Ids:
    """Return the ids of the training crystals of checkpoints, by their SHA-256.

    Of one that learned from pseudo-labels too, these are in no recipe: they are those of another checkpoint.

    Raises:
        UserError: Nothing tells which crystals a checkpoint has learned from.
    """
    whole_table = LabelledTable(PRETRAINING)
    whole_table.take(crystals)
    found: dict[str, frozenset[str]] = {}
    for card in cards:
        recipe = card.recipe["data"]
        table = LabelledTable(PRETRAINING, recipe["targets"], Pretraining(**recipe["split"]["init_args"]))
        table.share(whole_table, split=False)
        ids = crystals.ids[table.split.train]
        found[ids_sha256(ids)] = frozenset(ids)
    if lacking := [card.name for card in cards if card.training.train.ids_sha256 not in found]:
        raise UserError(f"no recipe gives the crystals that {', '.join(lacking)} learned from")
    return {card.training.train.ids_sha256: found[card.training.train.ids_sha256] for card in cards}


def among(crystals: Crystals, ids: Collection[str]) -> NDArray[np.bool_]:
    """Return which crystals have one of some ids."""
    return np.fromiter((name in ids for name in crystals.ids), dtype=bool, count=len(crystals))


def keys(crystals: Crystals, work: Path) -> StructureKeys:
    """Make the keys of a table, piece by piece; pieces in the folder ``work`` are taken from there."""
    parts = []
    for start in range(0, len(crystals), PIECE):
        path = work / f"{crystals.content_hash[:16]}-{start}.npy"
        some = crystals.select(np.arange(start, min(start + PIECE, len(crystals))))
        if not path.is_file():
            with whole(path) as partial, partial.open("wb") as file:
                np.save(file, StructureKeys.of(some).shapes)
        parts.append(np.load(path))
        print(f"keys of {start + len(some):,} of {len(crystals):,} structures")
    made = StructureKeys.of(crystals, shapes=False)
    return StructureKeys(made.formulas, made.volumes, np.concatenate(parts))


def embeddings(folder: Path, card: Card, crystals: Crystals, work: Path) -> NDArray[np.float32]:
    """Embed crystals, unless that was done before."""
    path = work / f"{card.sha256[:16]}-{crystals.content_hash[:16]}.npy"
    if not path.is_file():
        with whole(path) as partial, partial.open("wb") as file:
            np.save(file, load(folder / f"{card.name}.safetensors").embed(crystals))
    found: NDArray[np.float32] = np.load(path)
    return found


def write_shared(folder: Path, cards: Sequence[Card], work: Path) -> tuple[Crystals, Ids]:
    """Write the file of keys that checkpoints of one data set share."""
    crystals = named.load(PRETRAINING)
    ids = training_ids(crystals, cards)
    learned = crystals.select(np.flatnonzero(among(crystals, frozenset().union(*ids.values()))))
    sets = {name: among(learned, one) for name, one in ids.items()}
    content = shared_content(keys(learned, work), sets)
    with whole(folder / SHARED) as partial:
        partial.write_bytes(content)
    return crystals, ids


def pin(folder: Path, card: Card, fields: Mapping[str, Beside]) -> None:
    """Write into a card what is beside its weights."""
    path = folder / f"{card.name}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content |= {name: one.fields() for name, one in fields.items()}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def is_there(folder: Path, pinned: Beside | None) -> bool:
    """Whether a file is the one that a card names."""
    path = folder / (pinned.file if pinned else "")
    return bool(pinned and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == pinned.sha256)


def main(args: Sequence[str] | None = None, folder: Path = ROOT / "checkpoints") -> int:
    """Make what is lacking."""
    parser = argparse.ArgumentParser(prog="python -m maintenance.domains", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a folder for what is half done")
    work = parser.parse_args(args).work
    cards = [Card.read(folder / f"{name}.json") for name in library.names(folder)]
    cards = [card for card in cards if card.training and card.training.source == PRETRAINING]
    # what was published since has its keys in a file of its own
    cards = [card for card in cards if card.structures or not card.domain]
    if all(is_there(folder, each) for card in cards for each in (card.domain, card.structures)):
        print("nothing is lacking")
        return 0
    crystals, ids = write_shared(folder, cards, work)
    shared = Beside.describing(SHARED, (folder / SHARED).read_bytes())
    for card in cards:
        domain = card.domain
        if not is_there(folder, domain):
            rows = np.flatnonzero(among(crystals, ids[card.training.train.ids_sha256]))
            drawn = crystals.select(rows[np.random.default_rng(0).permutation(len(rows))[:DRAWN]])
            content = Domain.of(embeddings(folder, card, drawn, work)).content()
            domain = Beside.describing(f"{card.name}{ENDING}", content)
            with whole(folder / domain.file) as partial:
                partial.write_bytes(content)
            print(f"{domain.file}: {domain.bytes:,} bytes")
        assert domain
        pin(folder, card, {DOMAIN: domain, KEYS: shared})
    return 0


if __name__ == "__main__":
    sys.exit(main())
