"""What tells a training of a study from all others: a hash of what it computes from."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, Final

from tlzoo.cards.lineage import started_from
from tlzoo.cards.removed import REMOVED
from tlzoo.study.axes import Tree
from tlzoo.training.resume import FREE_KEYS

# What a trained network is called in a configuration.
TRAINED: Final = "tlzoo.zoo.backbone"
# Arguments of the data module that change neither table nor split.
BATCHES: Final = ("batch_size", "max_rows", "oversample", "cache_dir")


def identity(tree: Tree, started_from: Iterable[Mapping[str, str]]) -> str:
    """Return the id of a training: 16 hexadecimal digits of a SHA-256 of configuration and weights."""
    content = {"config": _without(tree, FREE_KEYS), "weights": sorted(str(m["sha256"]) for m in started_from)}
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:16]


def of_split(section: Tree) -> Tree:
    """Return of a section ``data`` what decides about table, split and labels."""
    return {key: value for key, value in section.items() if key not in BATCHES}


def kind(tree: Tree) -> str | None:
    """Return what trainings have in common that may be one, as far as their configurations tell.

    Whether they can be shows when they are built (:func:`tlzoo.training.bundle.shape`). None if there is no
    network.
    """
    network = dict((tree.get("model") or {}).get("backbone") or {})
    if not network:
        return None
    given = dict(network.get("init_args") or {})
    if str(network.get("class_path")) == TRAINED:
        given = {}  # another start is the same network, as a rule
    given.pop("pooling", None)
    data = {name: value for name, value in (tree.get("data") or {}).items() if name != "split"}
    return canonical([network.get("class_path"), given, data, tree.get("trainer")])


def canonical(content: Any) -> str:  # noqa: ANN401 (anything JSON can hold)
    """Return plain data as text that does not depend on the order of keys."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)


def published(model: Any) -> tuple[Mapping[str, str], ...]:  # noqa: ANN401 (what a user wrote)
    """Return the models that a section ``model`` starts from; the SHA-256 is empty if one is missing.

    Rounding to 16 bits makes no other run: the SHA-256 is that of the weights before it.
    """
    if not isinstance(model, Mapping):
        return ()
    found: dict[str, Mapping[str, str]] = {}
    for part, given in model.items():
        try:
            models = started_from({part: given}, before_rounding=True)
        except (AttributeError, LookupError, OSError, TypeError, ValueError):
            # the run itself will say what is wrong; with the weights there, it is another run
            models = [_missing(given)]
        found.update({one["name"]: one for one in models})
    return tuple(found.values())


def _missing(given: Any) -> dict[str, str]:  # noqa: ANN401 (what a user wrote)
    """Name a model that is not there; the SHA-256 of one that was published once is known."""
    try:
        name = given["init_args"]["name"]
        return {"name": name, "sha256": REMOVED[name].sha256}
    except (LookupError, TypeError):
        return {"name": str(given), "sha256": ""}


def _without(tree: Tree, keys: Iterable[str]) -> Tree:
    """Return a configuration without what does not change its results."""
    tree = deepcopy(tree)
    for key in keys:
        *parents, last = key.split(".")
        branch: Any = tree
        for parent in parents:
            branch = branch.get(parent) if isinstance(branch, dict) else None
        if isinstance(branch, dict):
            branch.pop(last, None)
    return tree
