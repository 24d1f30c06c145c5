"""The exceptions that mean: the user can mend this."""


class UserError(ValueError):
    """A mistake in input, configuration or environment that the user can mend.

    The message names the thing, what came, what was wanted and what to do. The command line prints it
    without a traceback and exits with code 2.
    """


class DivergedError(UserError):
    """The training loss is no number any more; a lower learning rate would train."""


def first_line(error: Exception) -> str:
    r"""Return the first line of an error's message without its full stop; its kind if there is none.

    >>> first_line(ValueError("no room.\nfor it")), first_line(ValueError())
    ('no room', 'ValueError')
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__).removesuffix(".")
