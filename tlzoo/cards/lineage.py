"""Which models a configuration begins with; models as artifacts of Weights & Biases."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlzoo.cards.artifact import SCHEME
from tlzoo.cards.beside import files
from tlzoo.cards.library import beside, is_checkpoint, locate, pinned


def started_from(model: Mapping[str, Any], *, before_rounding: bool = False) -> list[dict[str, str]]:
    """Name the models whose weights a section ``model`` begins with, and the SHA-256 of those weights.

    Or of the weights before they were rounded, if they were. The cards alone are read.
    """
    found = {}
    for part in ("backbone", "head"):
        given = model.get(part) or {}
        if str(given.get("class_path")).startswith("tlzoo.zoo."):
            name = given["init_args"]["name"]
            card = _card(beside(name))
            sha256 = (card.get("rounded_from") if before_rounding else None) or card["sha256"]
            found[name] = {"name": pinned(name), "sha256": str(sha256)}
    return list(found.values())


def model_artifact(name: str, weights: Path) -> Any:  # noqa: ANN401 (of an optional package)
    """Return the files of a model as an artifact; the same content is the same version on W&B."""
    import wandb

    facts = _card(weights)
    metadata = {key: facts[key] for key in ("targets", "units", "elements", "sha256") if key in facts}
    artifact = wandb.Artifact(name, type="model", metadata=metadata)
    for path in files(weights):
        artifact.add_file(str(path), skip_cache=True)
    return artifact


def input_artifact(name: str) -> Any:  # noqa: ANN401
    """Return a model that a configuration names, under the name by which it was logged, if it was.

    A checkpoint and an artifact have a name, a run directory says its W&B id; other files go by their hash.

    Raises:
        UserError: There is no such model.
    """
    weights = locate(name)
    identity = weights.parent / "wandb-id.txt"
    if name.startswith(SCHEME):
        title = name.rpartition("/")[2].partition(":")[0]
    elif is_checkpoint(name):
        title = name
    elif identity.exists():
        title = f"model-{identity.read_text(encoding='utf-8').strip()}"
    else:
        title = f"model-{_card(weights)['sha256'][:8]}"
    return model_artifact(title, weights)


def _card(weights: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    return content
