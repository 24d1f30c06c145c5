"""Progress on standard error, with the time that is left; nothing where that is no terminal."""

from typing import Any, Final

from tqdm import tqdm

# Seconds before a bar is shown: what is done by then needs none.
PATIENCE: Final = 2.0


def bar(
    total: int | None,
    what: str,
    unit: str = "crystal",
    *,
    hidden: bool = False,
    **more: Any,  # noqa: ANN401 (tqdm's own arguments)
) -> "tqdm[Any]":
    """Return a bar that counts to a total; it is taken away when it is closed.

    Args:
        total: How many there are; None if nobody knows.
        what: What is done, in a word or two.
        unit: What is counted.
        hidden: Show nothing in any case.
        **more: Further arguments of tqdm.
    """
    given = {"delay": PATIENCE, "leave": False, "dynamic_ncols": True, **more}
    return tqdm(total=total, desc=what, unit=f" {unit}s", disable=True if hidden else None, **given)
