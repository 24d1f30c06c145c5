"""Crystals to answer for, from whatever a user names."""

import sys
from collections.abc import Sequence

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.check import element_problems, graph_problems
from tlzoo.data.sources import Problem, read_all
from tlzoo.descriptors.stores import Options
from tlzoo.errors import UserError


def read_inputs(inputs: Sequence[str], options: Sequence[Options], *, skip_bad: bool) -> list[Crystals]:
    """Read everything that the inputs hold, a table each.

    Args:
        inputs: Paths, and names of data sets.
        options: What a model reads of crystals; if several things, each must be there.
        skip_bad: Leave out what cannot be read, and say so, instead of stopping.

    Raises:
        UserError: Something cannot be read and ``skip_bad`` is off; the message names all of it.
    """
    tables, problems = [], []
    for name in inputs:
        crystals, read_problems = (named.load(name), []) if named.known(name) else read_all(name)
        # each crystal once, and an unknown element before what follows from it
        shapeless = [problem for each in options for problem in graph_problems(crystals, each)]
        unfit = {problem.file: problem for problem in (*shapeless, *element_problems(crystals))}
        problems += [problem for problem in (*read_problems, *unfit.values()) if problem.severity == "error"]
        tables.append(crystals.select([i for i in range(len(crystals)) if crystals.origin(i) not in unfit]))
    if problems and not skip_bad:
        raise UserError(listing(problems) + "; correct them, or leave them out with --skip-bad")
    if problems:
        sys.stderr.write(f"tlzoo: left out: {listing(problems)}\n")
    tables = [table for table in tables if len(table)]
    if not tables:
        raise UserError(f"there is no crystal to predict in {', '.join(inputs)}")
    return tables


def listing(problems: Sequence[Problem]) -> str:
    """All problems in one message."""
    return f"{len(problems)} cannot be predicted:\n  " + "\n  ".join(str(problem) for problem in problems)
