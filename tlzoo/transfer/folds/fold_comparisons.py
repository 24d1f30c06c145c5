"""One comparison for each fold; then all of them answer together: `tlzoo finetune --folds K`."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from tlzoo.crystals import with_unit
from tlzoo.errors import UserError
from tlzoo.evaluation.gain import Gain, gain
from tlzoo.evaluation.results import error_text
from tlzoo.machine import latest
from tlzoo.machine.files import read_table, write_text
from tlzoo.machine.lock import held
from tlzoo.machine.remarks import once
from tlzoo.model.cross_conformal import FoldRecord
from tlzoo.model.description import plain
from tlzoo.training.run import Run, read_json, read_yaml
from tlzoo.transfer.finetune import finished, verdict
from tlzoo.transfer.finetune.candidate import read
from tlzoo.transfer.finetune.compare import compare
from tlzoo.transfer.finetune.experiment import draft, merge
from tlzoo.transfer.finetune.finetune_request import LATEST, Request
from tlzoo.transfer.finetune.measure import Measure
from tlzoo.transfer.folds.gathered import Gathered, gather, kept_out, sections

logger = logging.getLogger(__name__)

Values = NDArray[np.float64]
# Validation part of the other folds, as of a single comparison.
VAL: Final = 0.15
# In each fold what answers there: what the models together are no worse than, as a rule.
ANSWER: Final = "answer"


@dataclass(frozen=True)
class Row:
    """A model on crystals that were left out.

    Attributes:
        name: ``answer``, what validation chose in each fold; or as in a :class:`verdict.Row`.
        errors: Mean error of each fold, in the unit of the target.
        gain: What transfer gains over this model on all crystals; None for transfer itself.
    """

    name: str
    errors: Sequence[float]
    gain: Gain | None


@dataclass(frozen=True, eq=False)
class FoldsVerdict:
    """The whole result.

    Attributes:
        folder: The directory: all commands take it as a model.
        verdicts: Those of the folds, as their ``verdict.json`` has them.
        rows: The models.
        gathered: What the answers of all folds are worth together.
    """

    folder: Path
    verdicts: Sequence[Mapping[str, Any]]
    rows: Sequence[Row]
    gathered: Gathered

    @property
    def gain(self) -> Gain:
        """What transfer gains over training from scratch, on all crystals."""
        found = next(row.gain for row in self.rows if row.name == verdict.SCRATCH)
        assert found is not None
        return found

    @property
    def measure(self) -> str:
        """What is compared: ``MAE``, or ``balanced error`` of two classes."""
        return str(self.verdicts[0]["measure"])

    @property
    def unit(self) -> str:
        """Unit of the target; empty if unknown."""
        return str(self.verdicts[0]["unit"])

    def table(self) -> str:
        """The models, as a Markdown table that is aligned for the terminal too."""
        cells = [
            ("", with_unit(f"test {self.measure}", self.unit, "{} ({})"), "gain of transfer", "95 % interval")
        ]
        for row in self.rows:
            several = stdev(row.errors) if len(row.errors) > 1 else None
            cells.append((row.name, error_text(fmean(row.errors), several), *verdict.gain_cells(row.gain)))
        return verdict.markdown(cells)

    def text(self) -> str:
        """The table, the answer and the warnings, as Markdown for people."""
        number, crystals = len(self.verdicts), self.gathered.crystals
        answers = ", ".join(str(each["answers"]) for each in self.verdicts)
        does = "lowers" if self.gain.value >= 0 else "raises"
        over = (
            f"Mean ± standard deviation over {number} folds: each of the {crystals:,} crystals was left out "
            "once, and not looked at before it was tested. The gains are of all of them."
        )
        conclusion = (
            f"Transfer {does} the error by {abs(100 * self.gain.value):.1f} % "
            f"(95 % interval of the gain: {verdict.gain_cells(self.gain)[1]})."
        )
        chosen = (
            f"`answer` is what the validation part chose in each fold: {answers}. `tlzoo predict` gives the "
            f"mean of all {number}."
        )
        warnings = [f"WARNING: {warning}" for warning in self.warnings]
        return "\n\n".join(
            [self.table(), over, conclusion, chosen, *self._tested(), *self.gathered.told(), *warnings]
        )

    @property
    def warnings(self) -> list[str]:
        """What speaks against transfer, or against this comparison."""
        found = []
        if self.gain.value < 0:
            found.append("transfer hurts here: training from scratch has the smaller error.")
        if not self.gain.certain:
            found.append(
                f"with {self.gathered.crystals:,} crystals the difference between transfer and scratch "
                "may be chance."
            )
        seen = [each["seen"] for each in self.verdicts]
        if all(number is not None for number in seen) and sum(seen):
            found.append(
                f"models that this started from have learned from {sum(seen):,} of the crystals: the "
                "comparison flatters transfer."
            )
        return found

    def _tested(self) -> list[str]:
        tested = self.gathered.tested
        if tested is None:
            return []
        known = {"mae": "MAE", "accuracy": "accuracy"}
        name = next((name for name in known if name in tested), None)
        error = "" if name is None else with_unit(f"{known[name]} {tested[name]:.4g}", self.unit)
        number = f"{tested['crystals']:,}"
        return [f"On the {number} crystals of the test part, which is in no fold, all together: {error}."]

    @property
    def facts(self) -> dict[str, Any]:
        """The same as plain data, for ``folds.json``."""
        first = self.verdicts[0]
        return {
            "of": "finetune",
            **{name: first[name] for name in ("source", "target", "unit", "measure")},
            "answers": [each["answers"] for each in self.verdicts],
            "metrics": {
                row.name: {first["measure"].lower().replace(" ", "_"): list(row.errors)} for row in self.rows
            },
            "gain_percent": {
                row.name: plain({key: 100 * value for key, value in vars(row.gain).items()}, row.name)
                for row in self.rows
                if row.gain
            },
            **self.gathered.facts,
            "said": self.text(),
        }


@once()
def compare_folds(request: Request, say: Callable[[str], None] = logger.info) -> FoldsVerdict:
    """Compare as :func:`~tlzoo.transfer.finetune.compare.compare` does, once for each fold.

    Raises:
        UserError: As there, or the directory holds something else.
    """
    if (request.run_dir / "verdict.json").exists() or (request.run_dir / "config.yaml").exists():
        raise UserError(
            f"{request.run_dir} holds another run, without folds; choose another --run-dir, or delete that"
        )
    with held(request.run_dir, "choose another --run-dir"):
        found = _compared(request, say)
    if request.run_dir == request.place():
        latest.point(LATEST, request.run_dir)
    return found


def _compared(request: Request, say: Callable[[str], None]) -> FoldsVerdict:
    assert request.folds is not None
    given: dict[str, Any] = {}
    for path in request.configs:
        given = merge(given, read_yaml(path))
    splits = sections((given.get("data") or {}).get("split"), request.folds, val=VAL)
    names = [f"fold-{number}" for number in range(1, request.folds + 1)]
    requests = [_fold(request, name, split) for name, split in zip(names, splits, strict=True)]
    start = next(iter(request.start_models().values()))
    modules = [read(draft(requests[0], start))]
    modules += [read(draft(each, start), modules[0]) for each in requests[1:]]
    other = kept_out(modules[0])
    test = other.test if other is not None else modules[0].split.test[:0]
    say(
        f"{request.folds} folds of {len(modules[0].used_rows):,} crystals of {request.source}"
        + (f"; the {len(test):,} of the test part are in no fold" if len(test) else "")
    )
    if other is not None and other.warning:
        say(f"WARNING: {other.warning}")
    for number, (each, module) in enumerate(zip(requests, modules, strict=True), start=1):
        which = f"fold {number} of {request.folds}"
        if finished.shown(each) is None:
            say(f"\n{which}")
            # the verdict of each is in its directory, that of all comes at the end
            compare(each, lambda text: None if text.startswith("\n") else say(text), module)
        say(f"{which}: {_short(read_json(each.run_dir / 'verdict.json'))}")
    verdicts = [read_json(each.run_dir / "verdict.json") for each in requests]
    rows = _rows([read_table(each.run_dir / finished.TESTED) for each in requests], verdicts)
    found = FoldsVerdict(request.run_dir, verdicts, rows, gather(request.run_dir, names, modules, test))
    record = found.gathered.folded.record
    FoldRecord(names, record.intervals, found.facts).write(request.run_dir)
    about = f"{verdicts[0]['target']} of {request.source}, from {', '.join(request.starts)}"
    text = f"# {about}, {request.folds} folds\n\n{found.text()}\n"
    write_text(request.run_dir / "verdict.md", text)
    run = Run(request.run_dir)
    run.draw(found.gathered.folded.network, run.predicted())
    say(f"\n{found.text()}\n\nrun directory: {request.run_dir}")
    return found


def _fold(request: Request, name: str, split: Mapping[str, Any]) -> Request:
    """Return the request of one fold, whose split is a configuration on top."""
    path = request.run_dir / f"{name}.yaml"
    write_text(path, yaml.safe_dump({"data": {"split": dict(split)}}, sort_keys=False))
    return replace(request, folds=None, run_dir=request.run_dir / name, configs=(*request.configs, path))


def _short(found: Mapping[str, Any]) -> str:
    """Say in a line what one fold found."""
    errors = ", ".join(
        f"{row['name']} {row['mae']:.4g}" for row in found["results"] if row["name"] in verdict.OURS
    )
    return f"test {found['measure']}: {errors}; what answers: {found['answers']}"


def _rows(tables: Sequence[pd.DataFrame], verdicts: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Compare the models on all crystals that were left out."""
    names = [name for name in tables[0].columns[2:] if all(name in table for table in tables)]
    tables = [
        table.assign(**{ANSWER: table[each["answers"]]}) for table, each in zip(tables, verdicts, strict=True)
    ]
    whole = pd.concat(tables, ignore_index=True)
    classes = verdicts[0]["measure"] != "MAE"

    def costs(table: pd.DataFrame, name: str) -> Values:
        known = table["known"].to_numpy(np.float64)
        return Measure(known, classes)(table[name].to_numpy(np.float64) - known)

    ours = costs(whole, verdict.TRANSFER)
    return [
        Row(
            name,
            [float(costs(table, name).mean()) for table in tables],
            None if name == verdict.TRANSFER else gain(ours, costs(whole, name)),
        )
        for name in (ANSWER, *names)
    ]
