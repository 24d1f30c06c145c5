"""`tlzoo recommend DATA --target COL`: which checkpoint to start from, and how.

Embeds the crystals with each model and fits the head for small data to the embeddings, and to descriptors:
the more of the property can be read off them, the better a start. Says what fine-tuning each model costs on
this machine, from a few of its steps, and ends with commands.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tlzoo.commands import arguments, say
from tlzoo.transfer.recommend.recommend_request import Request


@dataclass(frozen=True)
class Form:
    """How the ranking is printed.

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
