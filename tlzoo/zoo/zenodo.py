"""A checkpoint as an archive for Zenodo: a zip file, with the metadata that its deposit API takes."""

import html
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tlzoo.cards import Card
from tlzoo.cards.beside import files
from tlzoo.cards.catalogue import network
from tlzoo.errors import UserError
from tlzoo.machine.files import whole
from tlzoo.zoo import model_card
from tlzoo.zoo.licence import KNOWN, ZENODO, identifier

METADATA: Final = "zenodo.json"
ORCID: Final = re.compile(r"(\d{4}-){3}\d{3}[\dX]")
EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the same content gives the same archive


def archive(weights: Path, path: Path, *, creators: Sequence[str]) -> Path:
    """Write the archive: a folder with the checkpoint and a page, and the metadata beside it.

    Args:
        weights: Weights of the checkpoint, with its card beside them.
        path: Of the archive.
        creators: Who made the checkpoint: ``Family, Given; affiliation; ORCID``, of which the last two may
            be missing.

    Raises:
        UserError: The licence is none that Zenodo knows, nobody is named, or it cannot be written.
    """
    card = Card.read(weights.with_suffix(".json"))
    described = json.dumps({"metadata": metadata(card, creators)}, indent=1, ensure_ascii=False)
    page = model_card.readme(card, f"{card.name}/{weights.name}")
    contents = {f"{card.name}/{file.name}": file.read_bytes() for file in files(weights)}
    contents |= {f"{card.name}/README.md": page.encode(), METADATA: described.encode()}
    with whole(path) as partial, zipfile.ZipFile(partial, "w") as file:
        for name, content in contents.items():
            file.writestr(zipfile.ZipInfo(name, EPOCH), content)
    return path


def metadata(card: Card, creators: Sequence[str]) -> dict[str, Any]:
    """Return what Zenodo is told, in the schema of its deposits.

    Raises:
        UserError: The licence is none that Zenodo knows, or nobody is named.
    """
    licence = identifier(card.licence)
    if not licence:
        # without one Zenodo takes one of its own
        raise UserError(
            f"Zenodo wants one licence that it knows, and the card says {card.licence!r}: "
            f"{'import the file' if card.imported else 'publish the run'} "
            f"with --licence and one of {', '.join(sorted(KNOWN))}"
        )
    errors = "".join(
        f"<li>{html.escape(f'{card.called(target, unit)}: {card.score(target)}')}</li>"
        for target, unit in zip(card.targets, card.units, strict=True)
    )
    return {
        "upload_type": "dataset",
        "title": f"{card.name}: {network(card)} that predicts {', '.join(card.targets)} of crystals",
        "creators": people(creators),
        "description": f"<p>{html.escape(card.description)}</p><ul>{errors}</ul>",
        "access_right": "open",
        "license": ZENODO.get(licence, licence),
        "keywords": ["crystals", "materials", "transfer learning", "tlzoo", network(card), *card.targets],
        "publication_date": card.created[:10],
        "references": [card.citation],
        "notes": f"SHA-256 of the weights: {card.sha256}. Made with tlzoo {card.tlzoo}.",
    }


def people(creators: Sequence[str]) -> list[dict[str, str]]:
    """Return who made it, in the schema of Zenodo's deposits.

    Raises:
        UserError: Nobody is named, or in another form.
    """
    if not creators:
        raise UserError('Zenodo wants to know who made it: --creator "Family, Given; affiliation; ORCID"')
    return [_creator(each) for each in creators]


def _creator(text: str) -> dict[str, str]:
    """Read ``Family, Given; affiliation; ORCID``."""
    name, *more = (part.strip() for part in text.split(";"))
    given = {"name": name}
    for part in filter(None, more):
        given["orcid" if ORCID.fullmatch(part) else "affiliation"] = part
    if not name or len(given) != 1 + len([part for part in more if part]):
        raise UserError(f'--creator is {text!r}; wanted "Family, Given; affiliation; ORCID"')
    return given
