"""Models that runs have logged to Weights & Biases: ``wandb:entity/project/name:version``."""

import netrc
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tlzoo.cards import fetch
from tlzoo.errors import UserError

SCHEME = "wandb:"
REFERENCE = re.compile(r"(?P<entity>[\w.-]+)/(?P<project>[\w.-]+)/(?P<name>[\w.-]+):(?P<version>[\w.-]+)")
# A number names one content for ever; words such as ``latest`` move.
FIXED = re.compile(r"v\d+")


def fetch_artifact(reference: str) -> Path:
    """Return the weights of a model that W&B keeps, from the cache or from W&B; their card is beside them.

    A version in a reference is ``v3`` or a word such as ``latest``.

    Raises:
        UserError: It is no such reference, there is no network, key or package, or the artifact is no model.
    """
    match = REFERENCE.fullmatch(reference.removeprefix(SCHEME))
    if match is None:
        raise UserError(f"{reference} is no artifact; wanted {SCHEME}entity/project/name:version")
    # a slip would lead out of the cache
    if any(set(part) <= {"."} for part in match.groups()):
        raise UserError(f"{reference} is no artifact: none of its parts can be dots alone")
    home = fetch.cache() / "wandb" / match["entity"] / match["project"]
    if FIXED.fullmatch(match["version"]) and (kept := _weights(home / f"{match['name']}-{match['version']}")):
        return kept[0]
    artifact = _ask(reference)
    folder = home / f"{match['name']}-{artifact.version}"
    if not _weights(folder):
        fetch.place(folder, lambda new: _download(reference, artifact, new))
    return _weights(folder)[0]


def _ask(reference: str) -> Any:  # noqa: ANN401 (of an optional package)
    """Return what W&B knows about an artifact."""
    how = f"download its two files and give their path, or {SCHEME}… with a version that is in the cache"
    if fetch.offline() or os.environ.get("WANDB_MODE") in {"offline", "dryrun", "disabled"}:
        name = "TLZOO_OFFLINE" if fetch.offline() else f"WANDB_MODE={os.environ['WANDB_MODE']}"
        raise UserError(f"{reference} must be asked of W&B, and {name} forbids it; unset it, or {how}")
    try:
        import wandb
    except ImportError as error:
        raise UserError(f"{reference} needs the package wandb: pip install tlzoo[wandb]; or {how}") from error
    if not has_key(wandb.setup(wandb.Settings(silent=True)).settings):
        raise UserError(
            f"{reference} needs a key, and there is none: set WANDB_API_KEY, call `wandb login`, or {how}"
        )
    try:
        return wandb.Api().artifact(reference.removeprefix(SCHEME))
    except (wandb.Error, ValueError, OSError) as error:
        raise UserError(
            f"W&B does not give {reference}: {error}. Is there a network, and an artifact of "
            f"that name that the key may read? Else {how}"
        ) from error


def _download(reference: str, artifact: Any, folder: Path) -> None:  # noqa: ANN401
    import wandb

    try:
        artifact.download(root=str(folder))
    except (wandb.Error, ValueError) as error:
        raise UserError(f"{reference} could not be downloaded: {error}") from error
    found = _weights(folder)
    if len(found) != 1:
        there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        wanted = "one .safetensors file and its card"
        raise UserError(f"{reference} is no model of tlzoo: wanted {wanted}, got {there}")


def _weights(folder: Path) -> list[Path]:
    """Return the weights in a folder that have a card."""
    return [path for path in folder.glob("*.safetensors") if path.with_suffix(".json").is_file()]


def has_key(settings: Any) -> bool:  # noqa: ANN401
    """Return whether W&B finds a key where it looks: settings, environment or the netrc file."""
    if settings.api_key or settings.identity_token_file:
        return True
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        entry = netrc.netrc(path).authenticators(urlsplit(settings.base_url).netloc)
    except (OSError, netrc.NetrcParseError):
        return False
    return bool(entry and entry[2])
