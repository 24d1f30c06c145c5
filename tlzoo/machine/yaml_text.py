"""YAML of people and of strangers: what a text may ask for is bounded before anything is made of it."""

from typing import Any, Final

import yaml

# A configuration has ten levels. PyYAML builds each in a call of its own, in C without a limit.
DEEPEST: Final = 100
# Values that aliases repeat: a few lines of them can stand for more than any memory holds.
REPEATED: Final = 100_000


def parsed(text: str, loader: Any = yaml.SafeLoader) -> Any:  # noqa: ANN401 (a class of PyYAML; what a file says)
    """Return what a text says, by a safe loader.

    Raises:
        yaml.YAMLError: It is no YAML, nested too deep, or repeats itself without measure.
    """
    check(text)
    return yaml.load(text, loader)  # noqa: S506 (a safe loader)


def check(text: str) -> None:
    """Refuse a text that asks for too much; what else is wrong with it is left to its loader.

    Raises:
        yaml.YAMLError: As :func:`parsed`.
    """
    if len(text) <= DEEPEST and "*" not in text:  # each level has a character
        return
    inside: list[tuple[str | None, int]] = []  # the anchors of collections that are open, and their values
    sizes: dict[str | None, int] = {}
    repeated = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            inside.append((event.anchor, 1))
            if len(inside) > DEEPEST:
                raise yaml.YAMLError(f"it is nested more than {DEEPEST} levels deep")
            continue
        size = _size(event, inside, sizes)
        repeated += size if isinstance(event, yaml.AliasEvent) else 0
        if repeated > REPEATED:
            raise yaml.YAMLError(f"its aliases repeat more than {REPEATED:,} values")
        if inside:
            anchor, before = inside[-1]
            inside[-1] = (anchor, before + size)


def _size(event: Any, inside: list[tuple[str | None, int]], sizes: dict[str | None, int]) -> int:  # noqa: ANN401
    """Return how many values an event adds to the collection that it is in, or closes."""
    if isinstance(event, yaml.CollectionEndEvent):
        anchor, size = inside.pop()
        sizes[anchor] = size
        return size
    if isinstance(event, yaml.AliasEvent):
        if event.anchor in (anchor for anchor, _ in inside):
            raise yaml.YAMLError(f"what is called &{event.anchor} contains itself")
        return sizes.get(event.anchor, 1)
    return 1
