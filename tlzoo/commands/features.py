"""`tlzoo features DATA --target COL --from MODEL[,MODEL|descriptors] -o NAME`: learn from frozen features.

Computes features of the crystals with a layer of a pretrained model, or descriptors, and fits a regression to
them. The pretrained model itself stays as it is ("frozen"), so a few dozen labels are enough, where training
a network would overfit. The errors come from a nested cross-validation: whatever is chosen, scaled or fitted
uses the training folds alone. Writes NAME.parquet with a prediction of each crystal from when it was left
out, and NAME.json with the errors.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlzoo.commands import arguments, say
from tlzoo.errors import UserError
from tlzoo.transfer.features.features_request import Request

SPELLED = {
    "curve": "--curve N,…",
    "estimators": "--estimator NAME,…",
    "groups": "--group NAME,…",
    "output": "-o --output NAME",
    "save": "--save FOLDER",
}


@dataclass(frozen=True, kw_only=True)
class Written:
    """Output.

    Attributes:
        output: Name of the results without an ending: NAME.parquet and NAME.json are written.
        importance: Find out which descriptors the predictions depend on most; writes NAME-importance.parquet
            and NAME-importance.png.
        save: Also fit to all crystals and save the model in this folder, for tlzoo.features.load(FOLDER) and
            `tlzoo predict FOLDER`. If there are several sources of features, their mixture is saved.
        coverage: Measure how often the intervals of the saved model contain the true value, on crystals left
            out of their calibration. Takes ten times as long.
    """

    output: Path
    importance: bool = False
    save: Path | None = None
    coverage: bool = False


EXAMPLE = "tlzoo features mine.csv --target gap --from momentnet-u,descriptors -o learned"


def main(args: Sequence[str]) -> int:
    """Cross-validate, write, and print the table."""
    request, written = arguments.parse(
        args, Request, Written, prog="tlzoo features", about=__doc__, example=EXAMPLE, spelled=SPELLED
    )
    request = replace(request, targets=columns(request))
    from tlzoo.machine.files import write_table, write_text
    from tlzoo.transfer.features.learning import check, fit, read, transfer

    check(request)
    check_written(request, written)
    problem = read(request)
    report = transfer(request, problem)
    name = written.output.name.removesuffix(".parquet").removesuffix(".json")
    predictions = written.output.with_name(f"{name}.parquet")
    write_table(report.predictions(), predictions)
    content = json.dumps(report.content(), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(predictions.with_suffix(".json"), content + "\n")
    say(f"{report.text()}\npredictions: {predictions}")
    if written.importance:
        from tlzoo.transfer.features.importance import draw, importance

        table = importance(problem, report)
        path = predictions.with_name(f"{name}-importance.parquet")
        write_table(table, path)
        draw(table, path.with_suffix(".png"), unit="ln" if request.log else report.unit)
        say(f"importance of the descriptors: {path}, {path.with_suffix('.png')}")
    if written.save:
        kept = fit(problem, report, cover=written.coverage)
        kept.save(written.save)
        if written.coverage:
            say(f"{covered(kept.card)}")
        say(f"fitted to all {len(problem.crystals)} crystals: {written.save}")
    return 0


def columns(request: Request) -> Sequence[str] | None:
    """Return the columns to learn as they are named; one of a single table may have a comma in its name.

    Raises:
        UserError: Several are named of a single table.
    """
    targets = request.targets
    if targets and len(request.sources) > 1:
        return ",".join(targets).split(",")
    if targets and len(set(targets)) > 1:
        raise UserError(f"--target: a single table has one column to learn, got {' and '.join(targets)}")
    return targets[:1] if targets else None


def check_written(request: Request, written: Written) -> None:
    """Refuse what cannot be written in the end.

    Raises:
        UserError: There is such a thing.
    """
    if written.coverage and not written.save:
        raise UserError("--coverage is of the intervals of what --save FOLDER keeps")
    if written.save:
        from tlzoo.transfer.features.learning import check_saved

        check_saved(request.estimators)
        if written.save.exists() and not written.save.is_dir():
            raise UserError(f"--save {written.save} is a file, wanted a folder; choose another one")
    if written.importance:
        from tlzoo.transfer.features.importance import replaceable

        if request.base:
            raise UserError("--importance is that of descriptors alone: leave out --base")

        replaceable(request.features)


def covered(card: Mapping[str, Any]) -> str:
    """Say what calibrated intervals hold."""
    if "calibration" not in card:
        return f"{card['estimator']} states no intervals"
    found = card["calibration"]["coverage"]
    texts = [
        f"{float(level):.0%}: {share:.1%} (as stated by the regression {found['as stated'][level]:.1%})"
        for level, share in found["calibrated"].items()
    ]
    return f"of crystals left out lie in intervals for {', '.join(texts)}"
