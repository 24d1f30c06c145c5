"""A study as it is written, and the runs that follow from it."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from tlzoo import zoo
from tlzoo.errors import UserError
from tlzoo.finetune.experiment import merge
from tlzoo.resume import FREE_KEYS
from tlzoo.study.axes import Axes, Axis, Condition, Label, Labels, Tree, combinations, condition, holds, known

SECTIONS: Final = ("base", "axes", "skip", "adjust", "tune", "average")

# Columns of the results; an axis must be called otherwise.
COLUMNS: Final = (
    *(
        "id",
        "status",
        "chosen",
        "property",
        "unit",
        "val_mae",
        "val_rmse",
        "test_mae",
        "test_rmse",
        "test_r2",
    ),
    *("n_train", "n_val", "n_test", "best_epoch", "epochs", "seconds", "training_seconds"),
    *("started_from", "finished", "error"),
)


@dataclass(frozen=True)
class StudyRun:
    """One training of a study.

    Attributes:
        labels: Its value on each axis.
        tree: Its configuration, as `tlzoo fit` takes it.
        started_from: The models it starts from, with the SHA-256 of their weights; empty if missing.
        id: Hash of configuration and weights: another one of either is another run.
    """

    labels: Labels
    tree: Tree
    started_from: tuple[Mapping[str, str], ...]
    id: str


@dataclass(frozen=True)
class Tune:
    """Which axes are tuned, and where.

    Attributes:
        axes: All values of these are tried where ``where`` holds; elsewhere only the best of them.
        where: Values of other axes.
    """

    axes: tuple[str, ...]
    where: Condition


@dataclass(frozen=True)
class Study:
    """A grid of configurations.

    Attributes:
        path: The file.
        base: What all runs share.
        axes: What they differ in.
        skip: Combinations that are left out.
        adjust: Configurations to put on top where a condition holds.
        tune: Axes of which validation chooses.
        average: Axes over which mean and spread are taken.
    """

    path: Path
    base: Tree
    axes: Axes
    skip: tuple[Condition, ...] = ()
    adjust: tuple[tuple[Condition, Tree], ...] = ()
    tune: Tune | None = None
    average: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.stem

    @property
    def folder(self) -> Path:
        """Where its results belong unless another directory is named."""
        return Path("runs") / "studies" / self.name

    @cached_property
    def _runs(self) -> tuple[StudyRun, ...]:
        weights: dict[str, tuple[Mapping[str, str], ...]] = {}
        found = []
        for labels in combinations(self.axes):
            if any(holds(rule, labels) for rule in self.skip):
                continue
            tree = self.tree(labels)
            key = canonical(tree.get("model"))
            if key not in weights:
                weights[key] = _started_from(tree.get("model"))
            found.append(StudyRun(labels, tree, weights[key], identity(tree, weights[key])))
        return tuple(found)

    def runs(self) -> tuple[StudyRun, ...]:
        """Return all runs of the grid, in its order, those included that tuning will not choose."""
        return self._runs

    def tree(self, labels: Labels) -> Tree:
        """Return the configuration of a combination."""
        tree = self.base
        for name, axis in self.axes.items():
            tree = merge(tree, axis.values[labels[name]])
        for rule, config in self.adjust:
            if holds(rule, labels):
                tree = merge(tree, config)
        return deepcopy(tree)

    def only(self, given: Iterable[str]) -> Condition:
        """Return the condition that ``axis=value,value`` expresses.

        Raises:
            UserError: An axis or a value is unknown.
        """
        wanted: dict[str, list[str]] = {}
        for part in given:
            name, equals, values = part.partition("=")
            if not equals or not values:
                raise UserError(f"--only {part}: wanted axis=value or axis=value,value")
            wanted.setdefault(name, []).extend(values.split(","))
        return condition(self.axes, wanted, "--only") if wanted else {}

    def names(self, given: Iterable[str], where: str) -> tuple[str, ...]:
        """Return names of axes.

        Raises:
            UserError: One of them is unknown.
        """
        return tuple(known(self.axes, name, where) for name in given)


def load(path: str | Path) -> Study:
    """Read a study.

    Raises:
        UserError: The file is missing or is no study; the message says what is wrong.
    """
    path = Path(path)
    given = _yaml(path)
    if unknown := [str(name) for name in given if name not in SECTIONS]:
        raise UserError(f"{path}: there is no section {unknown[0]!r}; there are: {', '.join(SECTIONS)}")
    written = given.get("axes")
    if not isinstance(written, Mapping) or not written:
        raise UserError(f"{path}: a study needs axes, each with its values")
    axes = {str(name): _axis(path, str(name), values) for name, values in written.items()}
    study = Study(
        path=path,
        base=_config(path, given.get("base"), "base"),
        axes=axes,
        skip=tuple(condition(axes, rule, f"{path}: skip") for rule in _list(path, given.get("skip"), "skip")),
        adjust=tuple(_adjust(path, axes, rule) for rule in _list(path, given.get("adjust"), "adjust")),
        tune=_tune(path, axes, given.get("tune")),
        average=tuple(
            known(axes, name, f"{path}: average") for name in _list(path, given.get("average"), "average")
        ),
    )
    if not study.runs():
        raise UserError(f"{path}: nothing is left of the grid; skip takes every combination")
    _check_tune(study)
    return study


def identity(tree: Tree, started_from: Iterable[Mapping[str, str]]) -> str:
    """Return the id of a run: 16 hexadecimal digits of a SHA-256."""
    content = {"config": _without(tree, FREE_KEYS), "weights": sorted(str(m["sha256"]) for m in started_from)}
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:16]


def canonical(content: Any) -> str:  # noqa: ANN401 (anything JSON can hold)
    """Return plain data as text that does not depend on the order of keys."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)


def _without(tree: Tree, keys: Iterable[str]) -> Tree:
    """Return a configuration without what does not change its results."""
    tree = deepcopy(tree)
    for key in keys:
        *parents, last = key.split(".")
        branch: Any = tree
        for parent in parents:
            branch = branch.get(parent) if isinstance(branch, dict) else None
        if isinstance(branch, dict):
            branch.pop(last, None)
    return tree


def _started_from(model: Any) -> tuple[Mapping[str, str], ...]:  # noqa: ANN401 (what a user wrote)
    if not isinstance(model, Mapping):
        return ()
    found: dict[str, Mapping[str, str]] = {}
    for part, given in model.items():
        try:
            models = zoo.started_from({part: given})
        except (AttributeError, LookupError, OSError, TypeError, ValueError):
            # the run itself will say what is wrong; with the weights there, it is another run
            models = [{"name": str(given), "sha256": ""}]
        found.update({one["name"]: one for one in models})
    return tuple(found.values())


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 and the other configurations of tlzoo do."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _yaml(path: Path) -> Tree:
    try:
        given = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (a safe loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(given, dict):
        raise UserError(f"{path}: wanted sections, got {type(given).__name__}")
    return given


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
        tree: Tree = {}
        for key in keys:
            tree = merge(tree, _nested(key, value))
        values[value] = tree
    return Axis(name, values)


def _nested(key: str, value: Label) -> Tree:
    tree: Any = value
    for part in reversed(key.split(".")):
        tree = {part: tree}
    nested: Tree = tree
    return nested


def _list(path: Path, given: Any, where: str) -> list[Any]:  # noqa: ANN401 (what a user wrote)
    if given is None:
        return []
    if not isinstance(given, list):
        raise UserError(f"{path}: {where}: wanted a list, got {given!r}")
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


def _check_tune(study: Study) -> None:
    """Refuse a grid in which nothing can be tried where it should be."""
    tune = study.tune
    if tune is None:
        return
    if both := set(tune.axes) & set(study.average):
        raise UserError(f"{study.path}: {both.pop()} cannot be both tuned and averaged over")
    tried = {tuning_group(study, run.labels) for run in study.runs() if holds(tune.where, run.labels)}
    for run in study.runs():
        if (group := tuning_group(study, run.labels)) not in tried:
            place = ", ".join(f"{name}={'|'.join(map(str, v))}" for name, v in tune.where.items())
            what = ", ".join(f"{name}={value}" for name, value in group)
            raise UserError(
                f"{study.path}: tune: nothing can be tried for {what}: skip takes all with {place}"
            )


def tuning_group(study: Study, labels: Labels) -> tuple[tuple[str, Label], ...]:
    """Return what the runs have in common of which tuning chooses one; without tuning, all labels."""
    fixed = {*study.tune.axes, *study.tune.where} if study.tune else set()
    return tuple((name, value) for name, value in labels.items() if name not in fixed)
