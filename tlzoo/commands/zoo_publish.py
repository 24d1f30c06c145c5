"""`tlzoo zoo publish|index`: checkpoints for others."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tlzoo.cards import Card, hub, library
from tlzoo.cards.index import FILE, Entry, write
from tlzoo.commands import say
from tlzoo.errors import UserError

SPELLED: Final = {
    "run": "RUN",
    "name": "NAME",
    "folds": "--folds RUN,…",
    "errors_of": "--errors-of CHECKPOINT",
    "creators": "--creator NAME",
    "to": "--to PLACE",
    "add": "--add MODEL,…",
    "shelf": "FOLDER",
}


def publish(
    run: str,
    name: str | None = None,
    *,
    description: str = "",
    citation: str = "",
    licence: str = "",
    control: bool = False,
    folder: Path | None = None,
    folds: Sequence[str] = (),
    errors_of: str = "",
    to: str = "",
    private: bool = False,
    creators: Sequence[str] = (),
    half: bool = False,
) -> int:
    """Make a checkpoint out of a run, after `tlzoo test`; for a folder, the Hugging Face Hub or Zenodo.

    With --to, a finished checkpoint can be given in place of the run.

    Args:
        run: The run directory; with --to also a checkpoint.
        name: Name of the checkpoint.
        description: What the checkpoint is good for, in one sentence.
        citation: Work to cite, if the data set has no card.
        licence: Licence of the data, if the data set has no card.
        control: Allow a run that was trained on shuffled labels (data.shuffle_labels), as a control.
        folder: Folder to write to; by default, if there is no --to, the first folder of the zoo.
        folds: For a run that was trained on all crystals: the tested runs of a cross-validation, whose errors
            go on the card.
        errors_of: For a run that was trained on all crystals: the checkpoint that it was trained further
            from, whose errors go on the card.
        to: hf:user/model to upload to that repository of the Hugging Face Hub; NAME.zip to write an archive
            for Zenodo.
        private: Make a new repository private.
        creators: For Zenodo: who made the model, as "Family, Given; affiliation; ORCID". May be repeated.
        half: Keep matrices in 16 bits, in a file of half the size. The errors on the card are then measured
            anew, on the test part of the data.
    """
    _refuse(to, private=private, creators=creators)
    with tempfile.TemporaryDirectory() as aside:
        shelf = folder or (Path(aside) if to else library.shelf())
        if Path(run).is_dir():
            if to.endswith(".zip"):
                from tlzoo.zoo import zenodo

                zenodo.people(creators)  # before the checkpoint is written
            about = {"description": description, "citation": citation, "licence": licence}
            options = {"control": control, "folds": folds, "errors_of": errors_of, "half": half}
            card = _of_run(run, name, about, shelf, options)
            weights = shelf / f"{card.name}.safetensors"
        else:
            if (
                name
                or description
                or citation
                or licence
                or control
                or folds
                or errors_of
                or folder
                or half
                or not to
            ):
                raise UserError(
                    f"{run} is no run directory; if it is a checkpoint, it is sent on with --to, and without "
                    "NAME, --description and other options that its card answers"
                )
            found = library.find(run)
            card, weights = found.card, library.locate(run)
            if card.base and not (
                library.is_elsewhere(card.base.name) or library.is_checkpoint(card.base.name)
            ):
                raise UserError(
                    f"{run} is a difference to {card.base.name}, which others do not have; publish that one, "
                    "and store the difference to its new name: tlzoo zoo adapter --base"
                )
        if folder or not to:
            say(f"{card.text()}\n{weights}")
        if to:
            say(_send(weights, to, private=private, creators=creators))
    return 0


def _refuse(to: str, *, private: bool, creators: Sequence[str]) -> None:
    """Refuse places that a checkpoint is not sent to, and options of another place."""
    archive = to.endswith(".zip")
    if to and not archive and not to.startswith(hub.SCHEME):
        raise UserError(f"--to is {to!r}; wanted {hub.SCHEME}user/model or a name that ends in .zip")
    if private and (archive or not to):
        raise UserError(f"--private is for repositories: --to {hub.SCHEME}user/model")
    if creators and not archive:
        raise UserError("--creator is for an archive: --to NAME.zip")


def _of_run(
    run: str, name: str | None, about: Mapping[str, Any], shelf: Path, options: Mapping[str, Any]
) -> Card:
    """Make a checkpoint of a run in a folder, and list it if the folder has an index."""
    from tlzoo.zoo import publish as publishing

    if not name or not about["description"]:
        raise UserError(f"{'--description' if name else 'NAME'} is missing (see tlzoo zoo publish --help)")
    card = publishing.publish(run, name, **about, folder=shelf, **options)
    if (shelf / FILE).is_file():
        write(shelf)
    return card


def _send(weights: Path, to: str, *, private: bool, creators: Sequence[str]) -> str:
    """Send a checkpoint on, and return where it is then."""
    if to.endswith(".zip"):
        from tlzoo.zoo import zenodo

        return str(zenodo.archive(weights, Path(to), creators=creators))
    from tlzoo.zoo import hub_upload

    return hub_upload.upload(weights, to.removeprefix(hub.SCHEME), private=private)


def index(shelf: Path, *, add: Sequence[str] = ()) -> int:
    """Write INDEX.json, the list of the checkpoints in a folder that a group uses over the web (TLZOO_ZOO).

    Args:
        shelf: The folder.
        add: Models elsewhere to list, too: hf:user/model@revision or https://….safetensors#sha256=….
    """
    # made where it is missing, a name with a slip of the pen would be an empty zoo
    if not shelf.is_dir():
        raise UserError(f"there is no folder {shelf}")
    added = []
    for model in add:
        if not model.startswith(hub.SCHEME) and "://" not in model:
            raise UserError(f"{model} is neither on the Hub nor an address; copy its files into {shelf}")
        card = library.find(model)
        at = library.pinned(model).partition("#")[0]
        added.append(Entry.of(at, card.path.with_suffix(".json")))
    say(str(write(shelf, added)))
    return 0
