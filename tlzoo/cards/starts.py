"""Which models a configuration begins with."""

import json
from collections.abc import Mapping
from typing import Any

from tlzoo.cards.library import locate


def started_from(model: Mapping[str, Any]) -> list[dict[str, str]]:
    """Name the models whose weights a section ``model`` begins with, and the SHA-256 of those weights."""
    found = {}
    for part in ("backbone", "head"):
        given = model.get(part) or {}
        if str(given.get("class_path")).startswith("tlzoo.zoo."):
            name = given["init_args"]["name"]
            card = json.loads(locate(name).with_suffix(".json").read_text(encoding="utf-8"))
            found[name] = {"name": name, "sha256": card["sha256"]}
    return list(found.values())
