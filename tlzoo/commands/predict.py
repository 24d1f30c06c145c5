"""`tlzoo predict MODEL INPUT… -o FILE`: answers for crystals that need no labels."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tlzoo.commands import arguments
from tlzoo.commands.answer_requests import Inputs, Predicted
from tlzoo.errors import UserError
from tlzoo.transfer import features

if TYPE_CHECKING:
    # torch, scikit-learn and pandas take seconds to import, and the help needs none of them
    from numpy.typing import NDArray

    from tlzoo.model.answering import Stores
    from tlzoo.model.trained import Model
    from tlzoo.transfer.features.saved import SavedFeatures


def main(args: Sequence[str]) -> int:
    """Predict, and write the answers."""
    asked, given = arguments.parse(args, Predicted, Inputs, prog="tlzoo predict", about=__doc__)
    from tlzoo.machine.files import write_columns

    if features.is_saved(asked.model):
        if asked.flags:
            raise UserError(
                f"{asked.model} is a regression on frozen features, which knows no {next(iter(asked.flags))}"
            )
        trained: Model | SavedFeatures = features.load(asked.model)
    else:
        from tlzoo.model.trained import load

        trained = load(asked.model)
    table = predict_inputs(trained, given.inputs, asked.limits, skip_bad=given.skip_bad)
    write_columns(table, given.output)
    told = ", ".join(f"{name} in {unit}" if unit else name for name, unit in trained.units.items())
    sys.stdout.write(f"{len(table['id'])} crystals: {told} → {given.output}\n")
    return 0


def predict_inputs(
    model: "Model | SavedFeatures", inputs: Sequence[str], limits: dict[str, Any], *, skip_bad: bool
) -> "dict[str, NDArray[Any]]":
    """Predict everything that the inputs hold, in their order; return ids and predictions by column.

    Args:
        model: The network, or regression on frozen features.
        inputs: Paths, and names of data sets.
        limits: ``batch_size`` and ``max_rows`` of :meth:`~tlzoo.model.Model.predict`, if not the usual ones.
        skip_bad: Leave out what cannot be read or predicted.

    Raises:
        UserError: Something cannot be and ``skip_bad`` is off; the message names all of it.
    """
    from tlzoo.model.answering import answer_inputs, joined

    answer: Callable[[Stores], dict[str, NDArray[Any]]] = partial(model.answers, **limits)
    ids, found = answer_inputs(inputs, model.options, answer, skip_bad=skip_bad)
    return {"id": ids, **joined(found, model.columns)}
