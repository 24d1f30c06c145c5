"""Docstrings as Markdown, for the reference on the site: an extension of Griffe (mkdocs.yml)."""

import re
from typing import Any, Final

import griffe

ROLE: Final = re.compile(r":(?:class|func|meth|mod|attr|data):`(?:~[\w.]*?)?(?P<name>\w+(?:\.\w+)*)`")
DOCTEST: Final = re.compile(r"^(?P<code> *>>> .*?)(?=\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)


class Markdown(griffe.Extension):
    """Shows names of Sphinx roles as code, and doctests as blocks of code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401 (Griffe's own)
        """Rewrite the docstring of an object, once all of it is known."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """Return a docstring as Markdown.

    >>> markdown("See :class:`~tlzoo.crystals.Crystals` and :func:`tlzoo.load`.")
    'See `Crystals` and `tlzoo.load`.'
    """
    text = ROLE.sub(r"`\g<name>`", text)
    return DOCTEST.sub(lambda found: f"```pycon\n{found['code']}\n```", text)
