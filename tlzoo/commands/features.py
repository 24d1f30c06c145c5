"""`tlzoo features DATA --target COL --from MODEL[,MODEL|descriptors] -o NAME`: learn from frozen features.

Reads off what the layers of a trained model say of crystals, or computes descriptors, and fits a regression
to that: for a few dozen labels, which a network would learn by heart. Everything that is chosen, scaled or
fitted is so within the folds of a nested cross-validation. Writes NAME.parquet, every prediction of a crystal
that was left out, and NAME.json, the figures.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlzoo.errors import UserError


def main(args: Sequence[str]) -> int:
    """Parse the command line, cross-validate, write, and print the table."""
    given = parser().parse_args(args)
    from tlzoo.machine.files import write_table, write_text
    from tlzoo.transfer.features.learning import Request, check_saved, fit, read, transfer

    request = Request(
        sources=given.sources,
        targets=_targets(given.target, len(given.sources)),
        unit=given.unit,
        features=given.features,
        layer=given.layer,
        estimators=given.estimator,
        cv=given.cv,
        repeats=given.repeats,
        groups=given.group,
        log=given.log,
        seed=given.seed,
        curve=given.curve,
    )
    if given.coverage and not given.save:
        raise UserError("--coverage is of the intervals of what --save FOLDER keeps")
    if given.save:
        check_saved(request.estimators)
    problem = read(request)
    report = transfer(request, problem)
    name = given.output.name.removesuffix(".parquet").removesuffix(".json")
    predictions = given.output.with_name(f"{name}.parquet")
    write_table(report.predictions(), predictions)
    content = json.dumps(report.content(), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(predictions.with_suffix(".json"), content + "\n")
    sys.stdout.write(f"{report.text()}\npredictions: {predictions}\n")
    if given.importance:
        from tlzoo.transfer.features.importance import draw, importance

        table = importance(problem, report)
        path = predictions.with_name(f"{name}-importance.parquet")
        write_table(table, path)
        draw(table, path.with_suffix(".png"), unit="ln" if given.log else report.unit)
        sys.stdout.write(f"importance of the descriptors: {path}, {path.with_suffix('.png')}\n")
    if given.save:
        kept = fit(problem, report, cover=given.coverage)
        kept.save(given.save)
        if given.coverage:
            sys.stdout.write(f"{covered(kept.card)}\n")
        sys.stdout.write(f"fitted to all {len(problem.crystals)} crystals: {given.save}\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    usage = "tlzoo features DATA [DATA ...] --target COL --from MODEL[,MODEL|descriptors] -o NAME"
    more = (__doc__ or "").partition("\n\n")[2]
    parser = argparse.ArgumentParser(prog="tlzoo features", usage=usage, description=more)
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="DATA",
        help="a folder, archive, table or name, as data.source of `tlzoo fit`; several are learned from "
        "together, and of a structure that several hold the first says what is learned",
    )
    add(
        "--target",
        metavar="COL[,COL]",
        help="column to learn (default: the only one); of several tables one for all, or one each",
    )
    add("--unit", help="its unit, where the data do not say")
    add(
        "--from",
        dest="features",
        type=_list,
        default=["descriptors"],
        metavar="NAME[,NAME]",
        help="models, or descriptors (default); with several, a result for each, one for which the model is "
        "chosen within the folds, and one for the mean. A+B puts the features of A and B side by side",
    )
    add(
        "--layer",
        default="auto",
        help="a layer, or auto: chosen within the folds (default); a wrong name lists those there are",
    )
    add(
        "--estimator",
        type=_list,
        default=["bayesian-ridge"],
        metavar="NAME[,NAME]",
        help="bayesian-ridge (default), ridge, gp, forest, boosting",
    )
    add("--cv", default="leave-one-out", help="leave-one-out (default), or 5-fold with any number")
    add("--repeats", type=int, default=1, help="draw the folds so many times (default: 1)")
    add(
        "--group",
        type=_list,
        default=["composition"],
        metavar="NAME[,NAME]",
        help="what is left out together: composition (default), so that polymorphs never straddle, or none",
    )
    add("--log", action="store_true", help="learn the natural logarithm; errors are in it and in the unit")
    add(
        "--curve",
        type=_numbers,
        default=[],
        metavar="N[,N]",
        help="learn from so many crystals, too: a learning curve, each with the same crystals left out",
    )
    add("--seed", type=int, default=0, help="seed of folds and regressions (default: 0)")
    add(
        "--importance",
        action="store_true",
        help="say which descriptors the predictions rest on: NAME-importance.parquet and .png",
    )
    add(
        "--save",
        type=Path,
        metavar="FOLDER",
        help="fit to all crystals too, of several sources the mean, and keep it: tlzoo.features.load(FOLDER)",
    )
    add(
        "--coverage",
        action="store_true",
        help="say how many crystals the intervals of what is saved hold, calibrated without them; takes ten "
        "times as long",
    )
    add(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="NAME",
        help="NAME.parquet and NAME.json are written",
    )
    return parser


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


def _targets(text: str | None, tables: int) -> list[str] | None:
    # a column of a single table may have a comma in its name
    return None if text is None else [text] if tables == 1 else _list(text)


def _list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _numbers(text: str) -> list[int]:
    if wrong := [part for part in _list(text) if not part.isdecimal()]:
        raise argparse.ArgumentTypeError(f"numbers with commas between them are wanted, got {wrong[0]!r}")
    return [int(part) for part in _list(text)]
