"""Loggers by the names that a command line or a configuration may give them; light to import."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tlzoo.errors import UserError, no_such

# Every run keeps its curves as CSV, history.csv: no logger is needed for it.
NAMES: Final[Mapping[str, str | None]] = {
    "wandb": "tlzoo.tracking.Wandb",
    "tensorboard": "tlzoo.tracking.TensorBoard",
    "mlflow": "tlzoo.tracking.MLflow",
    "csv": None,
}


def named(logger: Any) -> Any:  # noqa: ANN401 (whatever a configuration says)
    """Return what a configuration says of loggers with class paths instead of names.

    >>> named("tensorboard"), named("csv"), named(False)
    ({'class_path': 'tlzoo.tracking.TensorBoard'}, False, False)
    >>> named(["wandb", "csv"])
    [{'class_path': 'tlzoo.tracking.Wandb'}]
    """
    if isinstance(logger, list):
        return [each for each in map(named, logger) if each is not False]
    if not isinstance(logger, str) or "." in logger or logger not in NAMES:
        return logger
    path = NAMES[logger]
    return {"class_path": path} if path else False


def is_name(text: str) -> bool:
    """Whether a text names loggers, with commas between them.

    >>> is_name("wandb,csv"), is_name("tlzoo.tracking.Wandb"), is_name("false")
    (True, False, False)
    """
    return all(word in NAMES for word in text.split(","))


def chosen(names: Sequence[str]) -> Any:  # noqa: ANN401 (part of a configuration)
    """Return the loggers of a command line by their names.

    Raises:
        UserError: There is no such logger.
    """
    if strange := [name for name in names if name not in NAMES]:
        raise UserError(no_such("logger", strange[0], NAMES))
    found = [each for each in map(named, names) if each is not False]
    return found if len(found) > 1 else found[0] if found else False
