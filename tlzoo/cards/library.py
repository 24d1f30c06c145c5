"""Where checkpoints are: a folder of your own, the repository, the installed package."""

import importlib.metadata
import os
from dataclasses import dataclass
from pathlib import Path

import tlzoo
from tlzoo.cards.card import NAME, Card
from tlzoo.cards.fetch import Address, fetch
from tlzoo.errors import UserError

# The parts of a repository's root that tell it from a folder that merely holds the package.
REPOSITORY = ("pyproject.toml", "checkpoints")


@dataclass(frozen=True)
class Shelved:
    """A checkpoint in one of the folders.

    Attributes:
        card: What is known about it.
        path: Where its weights belong: beside the card, in the same folder.
    """

    card: Card
    path: Path


def repository() -> Path | None:
    """Return the root of the repository that tlzoo runs from, None if it is installed elsewhere."""
    root = Path(tlzoo.__file__).resolve().parents[1]
    return root if all((root / name).exists() for name in REPOSITORY) else None


def folders() -> list[Path]:
    """Return where checkpoints are looked for, in order.

    ``TLZOO_CHECKPOINTS``, then ``checkpoints`` of the repository, else what was installed with the package.
    """
    given = os.environ.get("TLZOO_CHECKPOINTS")
    root = repository()
    ours = [root / "checkpoints"] if root else _installed()
    return [*([Path(given).expanduser()] if given else []), *ours]


def _installed() -> list[Path]:
    """Return the folder that a wheel brings: ``share/tlzoo/checkpoints`` below the environment's root."""
    try:
        files = importlib.metadata.files("tlzoo") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = {Path(str(file.locate())).resolve().parent for file in files if file.parent.name == "checkpoints"}
    return sorted(found)


def names() -> list[str]:
    """Return the names of all checkpoints, sorted."""
    stems = {path.stem for folder in folders() for path in folder.glob("*.json")}
    return sorted(stem for stem in stems if NAME.fullmatch(stem))


def known(name: str) -> bool:
    """Whether there is a checkpoint of this name."""
    return name in names()


def find(name: str) -> Shelved:
    """Return a checkpoint: of several with one name that of the first folder.

    Raises:
        UserError: There is none of this name; the message lists those there are. Or its card is damaged.
    """
    for folder in folders():
        path = folder / f"{name}.json"
        if path.is_file():
            return Shelved(Card.read(path), path.with_suffix(".safetensors"))
    raise UserError(f"there is no checkpoint {name!r}; {there_are()}")


def weights(name: str) -> Path:
    """Return the weights of a checkpoint: beside their card, else pulled from ``TLZOO_CHECKPOINTS_URL``.

    Raises:
        UserError: There is no such checkpoint, or its weights are not to be had.
    """
    found = find(name)
    if found.path.is_file():
        return found.path
    url = os.environ.get("TLZOO_CHECKPOINTS_URL")
    if not url:
        raise UserError(
            f"the weights of {name} are not beside their card ({found.path}); copy them there from the "
            "repository, or set TLZOO_CHECKPOINTS_URL to the address of a folder that has them"
        )
    address = Address(f"{url.rstrip('/')}/{found.path.name}", found.card.sha256)
    return fetch(address, card=found.path.with_suffix(".json").read_bytes())


def there_are() -> str:
    """Say which checkpoints there are."""
    if found := names():
        return f"there are: {', '.join(found)}"
    looked = ", ".join(map(str, folders()))
    return f"there are no checkpoints yet{f' in {looked}' if looked else ''}"


def shelf() -> list[Shelved]:
    """Return all checkpoints, by name.

    Raises:
        UserError: A card is damaged.
    """
    return [find(name) for name in names()]
