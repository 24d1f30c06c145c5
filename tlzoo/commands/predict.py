"""`tlzoo predict MODEL INPUT… -o FILE`: answers for crystals that need no labels."""

import sys
from collections.abc import Callable, Sequence
from functools import partial

from tlzoo.commands import arguments, say
from tlzoo.commands.answer_requests import Inputs, Predicted
from tlzoo.errors import UserError
from tlzoo.transfer import features


def main(args: Sequence[str]) -> int:
    """Predict, and write the answers."""
    asked, given = arguments.parse(args, Predicted, Inputs, prog="tlzoo predict", about=__doc__)
    given.check_file()
    # torch, scikit-learn and pandas take seconds to import, and the help needs none of them
    from tlzoo.crystals import Crystals, with_unit
    from tlzoo.machine.files import write_columns
    from tlzoo.model import trust
    from tlzoo.model.answering import Columns, Stores, answer_inputs
    from tlzoo.transfer.finetune.chosen import load

    if features.is_saved(asked.model) and asked.flags:
        raise UserError(
            f"{asked.model} is a regression on frozen features, which knows no {next(iter(asked.flags))}"
        )
    trained = load(asked.model)
    answer: Callable[[Crystals, Stores], Columns] = partial(trained.judged, **asked.limits)
    table = answer_inputs(
        given.inputs, trained.options, answer, skip_bad=given.skip_bad, reading=given.reading
    )
    write_columns(table, given.output)
    if doubts := trust.said(asked.model, trained.domain, table):
        sys.stderr.write(f"tlzoo: {doubts}\n")
    told = ", ".join(with_unit(name, unit, "{} in {}") for name, unit in trained.units.items())
    say(f"{len(table['id'])} crystals: {told} → {given.output}")
    return 0
