"""Networks that a study trains itself, before the runs that start from them.

Where a configuration names a model, ``source:NAME`` is the one that the section ``sources`` calls NAME. Its
id follows from its configuration, so the ids of runs that start from it are known before it is trained.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tlzoo.errors import UserError, no_such
from tlzoo.study.axes import Labels, Tree
from tlzoo.study.identity import identity, published

PREFIX: Final = "source:"


@dataclass(frozen=True)
class Source:
    """One network to start from.

    Attributes:
        name: What the study calls it.
        tree: Its configuration, as `tlzoo fit` takes it, but for the names of other sources.
        started_from: The models it starts from itself, with what tells their weights.
        needs: The sources among them.
        id: Hash of what it is trained from.
    """

    name: str
    tree: Tree
    started_from: "Models"
    needs: tuple["Source", ...]
    id: str

    @property
    def labels(self) -> Labels:
        """What its row and messages call it."""
        return {"source network": self.name}


Sources = Mapping[str, Source]
Models = tuple[Mapping[str, str], ...]


def declared(trees: Mapping[str, Tree]) -> Sources:
    """Return the sources of a study; one may start from those before it.

    Raises:
        UserError: One starts from a source that is not there, or comes later.
    """
    found: dict[str, Source] = {}
    for name, tree in trees.items():
        models, needs = starts(tree.get("model"), found)
        found[name] = Source(name, tree, models, needs, key(tree, models, needs))
    return found


def starts(model: Any, sources: Sources) -> tuple[Models, tuple[Source, ...]]:  # noqa: ANN401 (what a user wrote)
    """Return the models that a section ``model`` starts from, and the sources among them.

    In the place of the SHA-256 of its weights a source has its id: they need not be there yet.

    Raises:
        UserError: It starts from a source that is not there.
    """
    needs = {source.name: source for source in _named(model, sources)}
    ours = [{"name": PREFIX + name, "sha256": source.id} for name, source in needs.items()]
    others = model if not needs else {k: v for k, v in model.items() if not list(_named(v, sources))}
    return (*ours, *published(others)), tuple(needs.values())


def before(needs: Iterable[Source]) -> tuple[Source, ...]:
    """Return sources and all that they start from, each once, in an order in which they can be trained."""
    found: dict[str, Source] = {}
    for source in needs:
        found |= {one.id: one for one in (*before(source.needs), source)}
    return tuple(found.values())


def key(tree: Tree, models: Models, needs: Iterable[Source]) -> str:
    """Return the id of a training; what the study calls its sources does not matter."""
    return identity(resolved(tree, lambda source: PREFIX + source.id, needs), models)


def resolved(tree: Tree, place: Callable[[Source], str], needs: Iterable[Source]) -> Tree:
    """Return a configuration with something else in the place of the names of sources."""
    places = {PREFIX + source.name: place(source) for source in needs}

    def replaced(part: Any) -> Any:  # noqa: ANN401 (what a user wrote)
        if isinstance(part, dict):
            return {key: replaced(value) for key, value in part.items()}
        if isinstance(part, list):
            return [replaced(value) for value in part]
        return places.get(part, part) if isinstance(part, str) else part

    return {**tree, "model": replaced(tree["model"])} if places else tree


def _named(part: Any, sources: Sources) -> Iterator[Source]:  # noqa: ANN401 (what a user wrote)
    """Yield the sources that a part of a configuration names."""
    if isinstance(part, dict | list):
        for each in part.values() if isinstance(part, dict) else part:
            yield from _named(each, sources)
    elif isinstance(part, str) and part.startswith(PREFIX):
        name = part.removeprefix(PREFIX)
        if name not in sources:
            raise UserError(no_such("source", name, sources))
        yield sources[name]
