"""Where models are: checkpoints by name, run directories, files, addresses, artifacts, repositories."""

import importlib.metadata
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tlzoo
from tlzoo.cards import hub, index, mirrors
from tlzoo.cards.artifact import SCHEME, fetch_artifact
from tlzoo.cards.card import NAME, Card
from tlzoo.cards.fetch import Address, fetch
from tlzoo.cards.hub import fetch_repository
from tlzoo.cards.packaged import converted
from tlzoo.cards.removed import REMOVED, message, trained
from tlzoo.errors import UserError, did_you_mean

# The parts of a repository's root that tell it from a folder that merely holds the package.
REPOSITORY = ("pyproject.toml", "checkpoints")

PICKLES = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".tar"})


class Shelved(NamedTuple):
    """A checkpoint: its card, and the path where its weights belong, beside it; or where they come from.

    Attributes:
        card: Its card.
        path: Where the weights belong, in the folder of the card.
        entry: What the index of a group says, for a checkpoint that is in none of the folders.
    """

    card: Card
    path: Path
    entry: index.Entry | None = None

    @property
    def of_group(self) -> bool:
        """Whether ``TLZOO_ZOO`` offers it."""
        return self.entry is not None or self.path.parent == index.folder()

    @property
    def text(self) -> bytes:
        """The content of the card's file."""
        if self.entry:
            return json.dumps(self.entry.card).encode()
        return self.path.with_suffix(".json").read_bytes()

    @property
    def where(self) -> str:
        """Where the weights are, come from, or belong."""
        if self.entry:
            return self.entry.where
        there = self.path.is_file() or self.card.package
        if there or (kept := mirrors.kept(self.card, self.text)):
            return str(self.path if there else kept)
        return next(iter(mirrors.offers(self.card)), str(self.path))

    @property
    def lacking(self) -> str:
        """What keeps it from being used, and what to do; empty if nothing does."""
        if self.card.package:
            return self.card.package.lacking
        there = self.entry or "://" in (where := self.where) or Path(where).is_file()
        return "" if there else mirrors.lacking(self.card)

    @property
    def command(self) -> str:
        """The command that brings what is lacking."""
        return self.card.package.command if self.card.package else mirrors.command(self.card)


def repository() -> Path | None:
    """Return the root of the repository that tlzoo runs from, None if it is installed elsewhere."""
    root = Path(tlzoo.__file__).resolve().parents[1]
    return root if all((root / name).exists() for name in REPOSITORY) else None


def folders() -> list[Path]:
    """Return where checkpoints are looked for, in order.

    ``TLZOO_CHECKPOINTS``, then ``checkpoints`` of the repository, else what was installed with the package;
    last ``TLZOO_ZOO``, if it is a folder, so that no group replaces what is published under a name.
    """
    given = os.environ.get("TLZOO_CHECKPOINTS")
    root, group = repository(), index.folder()
    ours = [root / "checkpoints"] if root else _installed()
    return [*([Path(given).expanduser()] if given else []), *ours, *([group] if group else [])]


def shelf() -> Path:
    """Return the folder that a checkpoint is published into by default.

    Raises:
        UserError: There is none.
    """
    group = index.folder()
    chosen = [group] if group and not os.environ.get("TLZOO_CHECKPOINTS") else folders()
    if not chosen:
        raise UserError("there is no folder for checkpoints; name one: --folder")
    return chosen[0]


def _installed() -> list[Path]:
    """Return the folder that a wheel brings: ``share/tlzoo/checkpoints`` below the environment's root."""
    try:
        files = importlib.metadata.files("tlzoo") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = {Path(str(file.locate())).resolve().parent for file in files if file.parent.name == "checkpoints"}
    return sorted(found)


def names(folder: Path | None = None) -> list[str]:
    """Return the names of all checkpoints, or of those in a folder, sorted."""
    stems = {path.stem for each in ([folder] if folder else folders()) for path in each.glob("*.json")}
    own = {stem for stem in stems if NAME.fullmatch(stem)}
    return sorted(own if folder else own | set(index.listed()))


def is_checkpoint(name: str) -> bool:
    """Whether a checkpoint has this name; a server is asked only for one that no folder has."""
    if not NAME.fullmatch(name):
        return False
    return any((each / f"{name}.json").is_file() for each in folders()) or name in index.listed()


def list_checkpoints() -> list[str]:
    """Return the names of all checkpoints that :func:`tlzoo.load` knows."""
    return names()


def spelled(name: object) -> str:
    """Return what a program gives for a model as text: a name, or a path of any kind.

    Raises:
        UserError: It is neither.
    """
    if not isinstance(name, str | os.PathLike):
        kind = type(name).__name__
        raise UserError(
            "wanted the name of a checkpoint (tlzoo.list_checkpoints()) or the path of a model, got a value "
            f"of type {kind}"
        )
    return os.fspath(name)


def find(name: str) -> Shelved:
    """Return a checkpoint: of several with one name that of the first folder, else that of ``TLZOO_ZOO``.

    Args:
        name: Of the checkpoint; or a file or address, as for :func:`locate`.

    Raises:
        UserError: There is none of this name; the message lists those there are. Or its card is damaged.
    """
    if name.endswith(".safetensors") or is_elsewhere(name):
        weights = locate(name)
        return Shelved(Card.read(weights.with_suffix(".json")), weights)
    for folder in folders():
        path = folder / f"{name}.json"
        if path.is_file():
            return Shelved(Card.read(path), path.with_suffix(".safetensors"))
    if entry := index.listed().get(name):
        return Shelved(entry.read(), Path(f"{name}.safetensors"), entry)
    if name in REMOVED:
        raise UserError(message(name))
    raise UserError(f"there is no checkpoint {name!r}; {there_are(name)}")


def locate(name: str) -> Path:
    """Return where the weights of a model are; they are fetched if they are not on this machine.

    Args:
        name: A checkpoint, a run directory, a ``.safetensors`` file with its card beside it,
            ``https://….safetensors#sha256=…``, ``hf:user/model@revision`` or
            ``wandb:entity/project/name:version``. A folder that has the name of a checkpoint is written
            ``./NAME``. The name of a checkpoint that is not published any more means the run in which
            `make pretrain-NAME` trained it again.

    Raises:
        UserError: There is no such model, or it cannot be fetched.
    """
    if is_elsewhere(name):
        return _fetched(name)
    if is_checkpoint(name):
        return _weights(name)
    given = Path(name)
    if name in REMOVED and not given.exists():
        given = trained(name)
        if not given.is_dir():
            raise UserError(message(name))
    refuse_dangling(given)
    file = given / "model.safetensors" if given.is_dir() else given
    refuse_pickles(file)
    if file.suffix != ".safetensors":
        raise UserError(
            f"{name} is no model: give a checkpoint, a run directory, or a .safetensors file with its card "
            f"beside it; {there_are(name)}"
        )
    if not file.is_file():
        finished = "a run directory holds one once `tlzoo fit` has finished"
        estimator = "a CrystalEmbedding predicts nothing; tlzoo.load takes it in Python"
        why = estimator if (given / "estimator.json").is_file() else finished
        raise UserError(f"there is no model {file}; {why}")
    return file


def beside(name: str) -> Path:
    """Return where the weights of a model are, or belong beside a card: of a checkpoint the card will do.

    Raises:
        UserError: There is no such model, or its card must be fetched and cannot be.
    """
    found = find(name) if is_checkpoint(name) else None
    return found.path if found and not (found.entry or found.card.package) else locate(name)


def weights_of_base(weights: Path) -> Path | None:
    """Return the weights that those of a model are a difference to, fetched if need be; None of whole ones.

    Raises:
        UserError: They are not to be had, or the card of the model cannot be read.
    """
    document = weights.with_suffix(".json")
    try:
        base = json.loads(document.read_text(encoding="utf-8")).get("base")
        name = str(base["name"]) if base else ""
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{document} cannot be read: {error}") from error
    return locate_base(weights, name) if base else None


def locate_base(weights: Path, name: str) -> Path:
    """Return the weights of the base of a model by its name, else those beside: the two may have been moved.

    Raises:
        UserError: They are in neither place.
    """
    beside = weights.with_name(f"{Path(name).name.removesuffix('.safetensors')}.safetensors")
    try:
        return locate(name)
    except UserError as error:
        if beside.is_file():
            return beside
        raise UserError(
            f"{weights} is a difference to {name}, which cannot be read here, nor is it beside, as "
            f"{beside.name}: {error}"
        ) from error


def pinned(name: str) -> str:
    """Return a name that means the same for ever: of a model on the Hub its commit and hash; else as given.

    Raises:
        UserError: There is no such model.
    """
    return hub.Reference.parse(name).pinned(locate(name)) if name.startswith(hub.SCHEME) else name


def refuse_dangling(path: Path) -> None:
    """Refuse a link, such as ``runs/latest``, to what has been deleted or moved.

    Raises:
        UserError: It is one.
    """
    if path.is_symlink() and not path.exists():
        raise UserError(
            f"{path} leads to {path.readlink()}, which is not there any more; name where it is now, or the "
            "directory of another run"
        )


def refuse_pickles(path: Path) -> None:
    """Refuse a file by its name.

    Raises:
        UserError: It has an ending of pickled files.
    """
    if path.suffix in PICKLES:
        raise UserError(
            f"{path} is a pickled file or archive, which can run code when it is read; tlzoo reads only "
            "models of its own: a .safetensors file with its .json card beside it, as a finished run exports"
        )


def is_elsewhere(name: str) -> bool:
    """Whether a name is that of an address, an artifact or a repository."""
    return name.startswith((SCHEME, hub.SCHEME)) or "://" in name


def _fetched(name: str) -> Path:
    if name.startswith(SCHEME):
        return fetch_artifact(name)
    return fetch_repository(name) if name.startswith(hub.SCHEME) else fetch(Address.parse(name))


def pulled(name: str, places: Sequence[str]) -> Path:
    """Return the weights of a checkpoint, from one of these places if they are not on this machine.

    Raises:
        UserError: There is no such checkpoint, it comes from elsewhere, or none of the places has them.
    """
    if is_elsewhere(name) or (found := find(name)).entry or found.card.package:
        raise UserError(
            f"{name} does not come from a place of your choice, leave --from out: tlzoo zoo pull {name}"
        )
    return _weights(name, places)


def _weights(name: str, places: Sequence[str] = ()) -> Path:
    """Return the weights of a checkpoint.

    They are beside their card, in the package that it names, where the index of a group says, or in one of
    the places that ``TLZOO_CHECKPOINTS_URL`` names.
    """
    found = find(name)
    if found.path.is_file() and not found.entry:
        return found.path
    if found.card.package:
        return converted(found.card, found.text)
    return found.entry.weights(found.card) if found.entry else mirrors.pulled(found.card, found.text, places)


def there_are(meant: str = "") -> str:
    """Say which checkpoints there are, and which may be meant by a name."""
    if found := names():
        return f"there are: {', '.join(found)}{did_you_mean(meant, found)}"
    looked = ", ".join(map(str, folders()))
    return f"there are no checkpoints yet{f' in {looked}' if looked else ''}"
