"""`tlzoo recommend DATA --target COL`: find out which checkpoint to start from, and how.

Computes features of the crystals with each checkpoint, and descriptors, and fits a small regression to each:
the better it predicts the property, the better the checkpoint is as a start. Estimates how long fine-tuning
would take on this machine by timing a few training steps, and ends with the commands to run.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tlzoo.commands import arguments, say
from tlzoo.transfer.recommend.recommend_request import Request


@dataclass(frozen=True)
class Form:
    """Output.

    Attributes:
        json: Print JSON, for programs.
    """

    json: bool = False


EXAMPLE = "tlzoo recommend mine.csv --target gap"


def main(args: Sequence[str]) -> int:
    """Score, and print the ranking."""
    request, form = arguments.parse(
        args, Request, Form, prog="tlzoo recommend", about=__doc__, example=EXAMPLE
    )
    from tlzoo.transfer.recommend.choosing import recommend

    report = recommend(request)
    content = json.dumps(report.content(), indent=1, ensure_ascii=False, allow_nan=False)
    say(content if form.json else report.text())
    return 0
