"""Numbers of things in messages."""


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts, in the plural unless there is one.

    >>> counted(1, "crystal"), counted(1203, "crystal")
    ('1 crystal', '1,203 crystals')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
