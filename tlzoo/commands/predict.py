"""`tlzoo predict MODEL INPUT… [-o FILE]`: predict properties of crystals, which need no labels.

Shows the first predictions with units and intervals, and marks crystals that the model knows or is not made
for; -o writes all predictions to a file.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial

from tlzoo.commands import arguments, say
from tlzoo.commands.answer_requests import Inputs, Predicted, Shown
from tlzoo.errors import UserError
from tlzoo.machine.plural import counted
from tlzoo.transfer import features

EXAMPLE = "tlzoo predict momentnet-all Si.cif crystals/ -o predictions.csv"


def main(args: Sequence[str]) -> int:
    """Predict, and show or write the answers."""
    asked, given, shown = arguments.parse(
        args, Predicted, Inputs, Shown, prog="tlzoo predict", about=__doc__, example=EXAMPLE
    )
    shown.check()
    if shown.per_atom:
        from tlzoo.commands import per_atom

        return per_atom.show(asked, given, shown.output)
    # torch, scikit-learn and pandas take seconds to import, and the help needs none of them
    from tlzoo.commands import answer_table
    from tlzoo.crystals import Crystals, with_unit
    from tlzoo.machine.device import device
    from tlzoo.machine.files import write_columns, write_csv
    from tlzoo.model import trust
    from tlzoo.model.answering import Columns, Stores, answer_inputs
    from tlzoo.transfer.finetune.chosen import load

    if features.is_saved(asked.model) and asked.flags:
        raise UserError(
            f"{asked.model} is a regression on frozen features, which knows no {next(iter(asked.flags))}"
        )
    where = device(asked.device)
    trained = load(asked.model).to(where)
    answer: Callable[[Crystals, Stores], Columns] = partial(trained.judged, **asked.limits)
    table = answer_inputs(
        given.inputs, trained.options, answer, skip_bad=given.skip_bad, reading=given.reading
    )
    doubts = trust.said(asked.model, trained.domain, table)
    if shown.output is None and sys.stdout.isatty():
        say(answer_table.text(asked.model, trained.card, trained.units, table))
    elif shown.output is None:
        write_csv(table, sys.stdout)
    else:
        write_columns(table, shown.output)
        told = ", ".join(with_unit(name, unit, "{} in {}") for name, unit in trained.units.items())
        say(f"{counted(len(table['id']), 'crystal')}: {told} → {shown.output}")
        for line in answer_table.classes(trained.units, table):
            say(line)
    if doubts:
        sys.stderr.write(f"tlzoo: {doubts}\n")
    return 0
