"""The exceptions that mean: the user can mend this."""

import re
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in input, configuration or environment that the user can mend.

    The message names the thing, what came, what was wanted and what to do. The command line prints it
    without a traceback and exits with code 2.
    """


class DivergedError(UserError):
    """The training loss is no number any more; a lower learning rate would train."""


def redacted(text: str) -> str:
    """Return a text without the passwords, and the keys in queries, of the addresses in it.

    >>> redacted("no answer from https://me:secret@host/a.json?token=x#sha256=1")
    'no answer from https://***@host/a.json?***#sha256=1'
    """
    text = re.sub(r"(?<=://)[^/\s?#]*@", "***@", text)
    return re.sub(r"(?<=://)([^\s?#]*)\?[^\s#]*", r"\1?***", text)


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message without its full stop; its kind if there is none.

    >>> first_line(ValueError("no room.\nfor it")), first_line(ValueError())
    ('no room', 'ValueError')
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__).removesuffix(".")


def printable(text: str) -> str:
    r"""Return a text without characters that a terminal would obey: they are shown as escapes.

    >>> printable("two\nlines\x1b[2J")
    'two\nlines\\x1b[2J'
    """
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)


def no_such(kind: str, name: str, known: Iterable[object]) -> str:
    """Return the message on an unknown name, with all that there are.

    >>> no_such("column", "band_gpa", ["density", "band_gap"])
    "there is no column 'band_gpa'; there are: density, band_gap; did you mean 'band_gap'?"
    """
    there = [str(one) for one in known]
    return f"there is no {kind} {name!r}; there are: {', '.join(there) or 'none'}{did_you_mean(name, there)}"


def did_you_mean(name: str, known: Iterable[object]) -> str:
    """Return what to add to a message on an unknown name: the nearest that there is, if one is near.

    >>> did_you_mean("band_gpa", ["formation_energy", "band_gap"])
    "; did you mean 'band_gap'?"
    >>> did_you_mean("density", ["formation_energy", "band_gap"])
    ''
    """
    import difflib

    spelled = {str(one).lower(): str(one) for one in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=1)
    return f"; did you mean {spelled[near[0]]!r}?" if near else ""
