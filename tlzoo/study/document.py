"""A study as it is written: a YAML file, read and checked."""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tlzoo.errors import UserError, no_such
from tlzoo.machine import yaml_text
from tlzoo.study.axes import Axes, Axis, Condition, Label, Tree, condition, holds, known
from tlzoo.study.grid import COLUMNS, Study, Tune
from tlzoo.study.report.outline import outline
from tlzoo.study.selection import tuning_group
from tlzoo.study.start_networks import Sources, declared
from tlzoo.transfer.finetune.experiment import merge

SECTIONS: Final = (
    *("extends", "base", "sources", "axes", "skip", "adjust", "tune", "average", "ensemble"),
    *("baselines", "report"),
)


def load(path: str | Path) -> Study:
    """Read a study from its YAML file.

    Raises:
        UserError: The file is missing or is no study; the message says what is wrong.
    """
    path = Path(path)
    given = _sections(path)
    written = given.get("axes")
    if not isinstance(written, Mapping) or not written:
        raise UserError(f"{path}: a study needs axes, each with its values")
    axes = {str(name): _axis(path, str(name), values) for name, values in written.items()}
    tune = _tune(path, axes, given.get("tune"))
    average, ensemble = (
        tuple(known(axes, name, f"{path}: {part}") for name in _list(path, given.get(part), part))
        for part in ("average", "ensemble")
    )
    study = Study(
        path=path,
        base=_config(path, given.get("base"), "base"),
        axes=axes,
        skip=tuple(condition(axes, rule, f"{path}: skip") for rule in _list(path, given.get("skip"), "skip")),
        adjust=tuple(_adjust(path, axes, rule) for rule in _list(path, given.get("adjust"), "adjust")),
        tune=tune,
        average=average,
        ensemble=ensemble,
        report=outline(
            axes, {*average, *ensemble, *(tune.axes if tune else ())}, given.get("report"), f"{path}: report"
        ),
        baselines=_baselines(path, given.get("baselines", False)),
        sources=_sources(path, given.get("sources")),
    )
    try:
        runs = study.runs()
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if not runs:
        raise UserError(f"{path}: nothing is left of the grid; skip takes every combination")
    _check_axes(study)
    _check_tune(study)
    return study


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 and the other configurations of tlzoo do."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _yaml(path: Path) -> Tree:
    try:
        given = yaml_text.parsed(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(given, dict):
        raise UserError(f"{path}: wanted sections, got {type(given).__name__}")
    return given


def _sections(path: Path, below: tuple[Path, ...] = ()) -> Tree:
    """Return what a study says, on top of what the study says that it extends.

    Configurations and axes are merged, lists follow each other, `tune` and the report's `baseline` take the
    place of the other ones.
    """
    given = _yaml(path)
    if unknown := [str(name) for name in given if name not in SECTIONS]:
        raise UserError(f"{path}: {no_such('section', unknown[0], SECTIONS)}")
    other = given.pop("extends", None)
    if other is None:
        return given
    if not isinstance(other, str):
        raise UserError(f"{path}: extends: wanted the file of a study, got {other!r}")
    file = _file(path, other, "extends")
    if file.resolve() in (both := (*below, path.resolve())):
        raise UserError(f"{path}: extends: {file} extends this study itself")
    under = _sections(file, both)
    for name, more in given.items():
        below_it = under.get(name)
        if (
            name in ("base", "sources", "axes", "report")
            and isinstance(more, Mapping)
            and isinstance(below_it, Mapping)
        ):
            # a baseline is one condition: half of the other one would be none
            kept = {key: value for key, value in below_it.items() if key != "baseline" or key not in more}
            under[name] = merge(kept, dict(more))
        elif name in ("base", "skip", "adjust", "average", "ensemble") and below_it is not None:
            under[name] = [*_as_list(below_it), *_as_list(more)]
        else:
            under[name] = more
    return under


def _as_list(given: Any) -> list[Any]:  # noqa: ANN401 (what a user wrote)
    return given if isinstance(given, list) else [given]


def _sources(path: Path, given: object) -> Sources:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UserError(f"{path}: sources: wanted a configuration for each name, got {given!r}")
    trees = {str(name): _config(path, config, f"sources.{name}") for name, config in given.items()}
    try:
        return declared(trees)
    except UserError as error:
        raise UserError(f"{path}: sources: {error}; a source may start from those before it") from error


def _config(path: Path, given: Any, where: str) -> Tree:  # noqa: ANN401 (what a user wrote)
    """Return a configuration: a tree, a file, or a list of both, the later on top."""
    tree: Tree = {}
    for part in given if isinstance(given, list) else [given]:
        if isinstance(part, str):
            tree = merge(tree, _yaml(_file(path, part, where)))
        elif isinstance(part, dict):
            tree = merge(tree, part)
        elif part is not None:
            raise UserError(
                f"{path}: {where}: wanted a configuration (sections such as model, data, trainer) "
                f"or a file with one, got {part!r}"
            )
    return tree


def _file(path: Path, name: str, where: str) -> Path:
    looked = [path.parent / name, Path(name)]
    for file in looked:
        if file.is_file():
            return file
    raise UserError(f"{path}: {where}: there is no file {' or '.join(map(str, looked))}")


def _axis(path: Path, name: str, given: Any) -> Axis:  # noqa: ANN401 (what a user wrote)
    where = f"axes.{name}"
    if name in COLUMNS:
        raise UserError(f"{path}: {where}: the results have a column of this name; call the axis otherwise")
    if not isinstance(given, Mapping) or not given:
        raise UserError(
            f"{path}: {where}: wanted a configuration for each value, or {{key: …, values: […]}}, "
            f"got {given!r}"
        )
    if set(given) == {"key", "values"}:
        return _scalars(path, name, given)
    values: dict[Label, Tree] = {}
    for label, config in given.items():
        if not isinstance(label, str | int | float):
            raise UserError(f"{path}: {where}: {label!r} cannot be the name of a value; put it in quotes")
        values[label] = _config(path, config, f"{where}.{label}")
    return Axis(name, values)


def _scalars(path: Path, name: str, given: Mapping[str, Any]) -> Axis:
    """Return an axis in its short form: a key, or several that go together, and the values it takes."""
    keys = given["key"] if isinstance(given["key"], list) else [given["key"]]
    scalars = given["values"]
    good = isinstance(scalars, list) and scalars and all(isinstance(v, str | int | float) for v in scalars)
    if not good or not all(isinstance(key, str) and key for key in keys):
        raise UserError(f"{path}: axes.{name}: wanted a key such as data.batch_size and a list of values")
    if len(set(map(str, scalars))) < len(scalars):
        raise UserError(f"{path}: axes.{name}: a value is there twice: {', '.join(map(str, scalars))}")
    values: dict[Label, Tree] = {}
    for value in scalars:
        values[value] = {}
        for key in keys:
            nested: Any = value
            for part in reversed(key.split(".")):
                nested = {part: nested}
            values[value] = merge(values[value], nested)
    return Axis(name, values)


def _list(path: Path, given: Any, where: str) -> list[Any]:  # noqa: ANN401 (what a user wrote)
    if given is None:
        return []
    if not isinstance(given, list):
        raise UserError(f"{path}: {where}: wanted a list, got {given!r}")
    return given


def _baselines(path: Path, given: object) -> bool:
    if not isinstance(given, bool):
        raise UserError(f"{path}: baselines: wanted true or false, got {given!r}")
    return given


def _adjust(path: Path, axes: Axes, rule: Any) -> tuple[Condition, Tree]:  # noqa: ANN401 (what a user wrote)
    if not isinstance(rule, Mapping) or set(rule) != {"when", "config"}:
        raise UserError(f"{path}: adjust: wanted {{when: {{axis: value}}, config: …}}, got {rule!r}")
    return condition(axes, rule["when"], f"{path}: adjust"), _config(path, rule["config"], "adjust")


def _tune(path: Path, axes: Axes, given: Any) -> Tune | None:  # noqa: ANN401 (what a user wrote)
    if given is None:
        return None
    where = f"{path}: tune"
    if not isinstance(given, Mapping) or not {"axes"} <= set(given) <= {"axes", "with"}:
        raise UserError(f"{where}: wanted {{axes: [axis], with: {{axis: value}}}}, got {given!r}")
    tuned = tuple(known(axes, name, where) for name in _list(path, given["axes"], "tune.axes"))
    place = condition(axes, given["with"], where) if given.get("with") else {}
    if not tuned or set(tuned) & set(place):
        raise UserError(f"{where}: wanted axes to tune, and in `with` values of others")
    return Tune(tuned, place)


def _check_axes(study: Study) -> None:
    """Refuse an axis with two roles."""
    roles = {"tuned": study.tuned, "averaged over": study.average, "an ensemble": study.ensemble}
    for (one, names), (other, others) in itertools.combinations(roles.items(), 2):
        if both := [name for name in names if name in others]:
            raise UserError(f"{study.path}: {both[0]} cannot be both {one} and {other}")


def _check_tune(study: Study) -> None:
    """Refuse a grid in which nothing can be tried where it should be."""
    tune = study.tune
    if tune is None:
        return
    tried = {tuning_group(study, run.labels) for run in study.runs() if holds(tune.where, run.labels)}
    for run in study.runs():
        if (group := tuning_group(study, run.labels)) not in tried:
            place = ", ".join(f"{name}={'|'.join(map(str, v))}" for name, v in tune.where.items())
            what = ", ".join(f"{name}={value}" for name, value in group)
            raise UserError(
                f"{study.path}: tune: nothing can be tried for {what}: skip takes all with {place}"
            )
