"""What is known about a published checkpoint: ``<name>.json`` beside ``<name>.safetensors``."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, field

from tlzoo.cards.beside import Beside, Sha256
from tlzoo.cards.package import Package, Text
from tlzoo.cards.schema import Record, parse
from tlzoo.errors import UserError

LARGEST: Final = sys.float_info.max
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")

Name = Annotated[str, Meta(pattern=rf"\A{NAME.pattern}\Z", description="a-z, 0-9, '.', '_' and '-'")]
Count = Annotated[int, Meta(ge=1, description="a positive integer")]
Size = Annotated[int, Meta(ge=0, description="an integer, 0 or more")]
Finite = Annotated[float, Meta(ge=-LARGEST, le=LARGEST, description="a finite number")]
Positive = Annotated[float, Meta(ge=0, le=LARGEST, description="a finite number, 0 or more")]
Spread = Annotated[float, Meta(gt=0, le=LARGEST, description="a finite number above 0")]


Kind = Literal["absolute", "factor", "std", "quantiles"]


class Part(Record, frozen=True, kw_only=True):
    """Crystals of one part of the split.

    Attributes:
        crystals: How many.
        ids_sha256: SHA-256 of their ids, sorted, one a line.
    """

    crystals: Size
    ids_sha256: Sha256


class Excluded(Record, frozen=True, kw_only=True):
    """Crystals of the data set that no part of the split may hold.

    Attributes:
        crystals: How many.
        ids_sha256: SHA-256 of their ids, sorted, one a line.
        published_list: Name of the list of them.
    """

    crystals: Count
    ids_sha256: Sha256
    published_list: Text


class Teacher(Record, frozen=True, kw_only=True):
    """A model whose numbers of atoms the network has learned, beside its labels.

    Attributes:
        name: As it was given: name of a checkpoint, run directory, file or address.
        sha256: SHA-256 of its weights.
        learned: What it has learned itself, and from what; empty if nobody says so.
        table: SHA-256 of what it says, as it was learned (:mod:`tlzoo.data.atom_table`).
        crystals: Of how many training crystals it says something.
    """

    name: Text
    sha256: Sha256
    learned: str
    table: Sha256
    crystals: Count


class Training(Record, frozen=True, kw_only=True):
    """What the network learned from, and at what cost.

    Attributes:
        source: Name or path of the data set.
        data_sha256: SHA-256 of its structures.
        train: Crystals the network learned from.
        val: Crystals that chose the best epoch.
        test: Crystals of the metrics; never seen.
        excluded: Crystals kept out altogether, for example those of other test sets; null if there are none.
        epochs: Epochs trained.
        seconds: Time they took; null if it was not recorded.
        machine: What they ran on.
        versions: Version of each package that matters.
        started: When training began, ISO 8601.
        base: The data set that the source was joined to; empty if it is none of that kind.
    """

    source: Text
    data_sha256: Sha256
    train: Part
    val: Part
    test: Part
    excluded: Excluded | None
    epochs: Count
    seconds: Positive | None
    machine: Text
    versions: dict[str, str]
    started: Text
    base: str = ""


class Scale(Record, frozen=True, kw_only=True):
    """How a target is scaled: (f(y) - mean) / std.

    Attributes:
        transform: f: ``standard`` for y itself, ``log10``, or ``none``, which leaves y as it is.
        mean: Mean of the training labels, transformed.
        std: Their standard deviation.
    """

    transform: Text
    mean: Finite
    std: Spread


class Measured(Record, frozen=True, kw_only=True):
    """Errors of one target, in its unit: on the test part, or on those of a cross-validation.

    Attributes:
        mae: Mean absolute error.
        rmse: Root of the mean squared error.
        r2: Coefficient of determination; null where all labels are equal.
        n: Crystals with a label.
    """

    mae: Positive
    rmse: Positive
    r2: Finite | None
    n: Count


class Held(Record, frozen=True, kw_only=True):
    """How many test crystals the interval held that is to hold 90 %.

    Attributes:
        held: As many.
        crystals: Of as many.
    """

    held: Size
    crystals: Count

    def __post_init__(self) -> None:
        if self.held > self.crystals:
            raise UserError(f"held is {self.held}, wanted at most crystals, {self.crystals}")


class Interval(Record, frozen=True, kw_only=True):
    """How wide the interval around a prediction is, from crystals that were left out of training.

    Attributes:
        kind: What is as wide as that: ``absolute``, the error in the unit of the property; ``factor``, its
            decimal logarithm; ``std``, in deviations that the head states; ``quantiles``, beyond its own.
        widths: Half widths by the share of crystals that intervals hold, such as ``0.9``.
        crystals: How many were left out.
        left_out: Which ones.
        test: What it held of the test part; null where there is none.
    """

    kind: Kind
    widths: dict[str, Finite]
    crystals: Count
    left_out: Text
    test: Held | None = None

    def __post_init__(self) -> None:
        # quantiles that were too wide are drawn together; and 10**38 is the largest power in fp32
        least, most = (
            (-LARGEST if self.kind == "quantiles" else 0.0),
            38.0 if self.kind == "factor" else LARGEST,
        )
        for level, width in self.widths.items():
            if not least <= width <= most:
                raise UserError(f"widths.{level} is {width}, wanted {least:g} to {most:g}")


class Imported(Record, frozen=True, kw_only=True):
    """Weights that were trained elsewhere, read from a file of the code that trained them.

    Attributes:
        kind: Whose file it is, as :func:`tlzoo.zoo.importing.import_weights` calls it.
        file: Its name.
        sha256: Its SHA-256.
        learned: What the network has learned, and from what.
    """

    kind: Text
    file: Text
    sha256: Sha256
    learned: Text


class Base(Record, frozen=True, kw_only=True):
    """The model that weights are stored as a difference to.

    Attributes:
        name: As it was given.
        sha256: SHA-256 of its weights.
        tensors: Names of those tensors of the network that are the base's, changed or not.
    """

    name: Text
    sha256: Sha256
    tensors: list[str]


class Origin(Record, frozen=True, kw_only=True):
    """A model whose weights the training began with.

    Attributes:
        name: As it was given: name of a checkpoint, run directory, file or address; on the Hugging Face Hub
            by commit and hash.
        sha256: SHA-256 of its weights.
        within: Whether all that it has learned from is among the training crystals of the network itself.
    """

    name: Text
    sha256: Sha256
    within: bool = False


class Spec(Record, frozen=True, kw_only=True):
    """The network: classes and the arguments of their constructors.

    Attributes:
        backbone: From crystals to embeddings; its argument ``graph``, if it reads one, says what that is made
            of.
        head: From embeddings to predictions.
    """

    backbone: dict[str, Any]
    head: dict[str, Any]


class Card(Record, frozen=True, kw_only=True):
    """A published checkpoint.

    Attributes:
        name: Its name: lower-case letters, digits, ``.``, ``_`` and ``-``.
        description: What it is good for, in a sentence.
        targets: Names of what it predicts, in order.
        units: Unit of each target; ``"1"`` is dimensionless.
        spec: Architecture and graph settings.
        parameters: Number of learned parameters.
        scaler: How each target is scaled, by name.
        elements: Symbols of the elements in the training part.
        training: What it learned from, and at what cost; null where others trained it.
        recipe: The resolved configuration of the run.
        started_from: Models whose weights training began with; empty for training from scratch.
        metrics: Errors on the test part, by target; without those that have no label there.
        golden: Predictions for the reference crystals (:mod:`tlzoo.zoo.reference`) by crystal and column, in
            the units of the targets, computed in fp32 on a CPU.
        citation: Work to cite for the data.
        licence: Licence of the data.
        created: When the card was made, ISO 8601.
        tlzoo: Version of tlzoo that made it.
        format: Version of the format of both files.
        sha256: SHA-256 of the weights' file.
        bytes: Its size.
        cross_validation: Where the network has learned from every crystal: the test parts of the runs with
            the same recipe that its metrics are of, each trained without its part; or of the checkpoint that
            it was trained further from, whose metrics it has. Empty for a test part.
        domain: The file that says how training crystals look to the network; null if there is none.
        structures: The file with the keys of their structures, where that is another one.
        teacher_map: The file that says how its states become what it says of the numbers of its teacher, the
            layer ``teacher``; null if there is none.
        teacher_numbers: The file with the part of that which students of one teacher share, where that is
            another one.
        package: The package that brings the weights; null where they are beside the card.
        imported: The file of others that the weights are from; null where tlzoo trained them.
        base: What the weights are a difference to; null where they are whole.
        teacher: Whose numbers of atoms it has learned, beside labels; null if there is no such model.
        theory: By which method the labels of each target were had, such as ``PBE`` or ``measured``, as far as
            that is known.
        intervals: How wide intervals around predictions are, by target; empty if nobody has measured it.
        rounded_from: SHA-256 of the weights' file before its matrices were rounded to 16 bits; null if they
            were not.
    """

    name: Name
    description: Text
    targets: list[Text]
    units: list[Text]
    spec: Spec
    parameters: Count
    scaler: dict[str, Scale]
    elements: list[Text]
    training: Training | None
    recipe: dict[str, Any]
    started_from: list[Origin]
    metrics: dict[str, Measured]
    golden: dict[str, dict[str, Finite]]
    citation: Text
    licence: Text
    created: Text
    tlzoo: Text
    format: Count
    sha256: Sha256
    bytes: Count
    cross_validation: list[Part] = field(default_factory=list)
    domain: Beside | None = None
    structures: Beside | None = None
    teacher_map: Beside | None = None
    teacher_numbers: Beside | None = None
    package: Package | None = None
    imported: Imported | None = None
    base: Base | None = None
    teacher: Teacher | None = None
    theory: dict[str, Text] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    rounded_from: Sha256 | None = None

    def __post_init__(self) -> None:
        if not self.targets or len(self.units) != len(self.targets):
            raise UserError(f"units has {len(self.units)} entries, wanted one for each of {self.targets}")
        if set(self.scaler) != set(self.targets):
            raise UserError(f"scaler is about {', '.join(self.scaler)}, wanted {', '.join(self.targets)}")
        elsewhere = self.package or self.imported
        if (self.training is None) != (elsewhere is not None) or (self.package and self.imported):
            raise UserError("training is for checkpoints of neither a package nor others, which need it")
        measured = bool(self.metrics) or elsewhere is not None
        if not measured or (strange := set(self.metrics) - set(self.targets)):
            about = ", ".join(sorted(strange)) if self.metrics else "nothing"
            raise UserError(f"metrics is about {about}, wanted some of {', '.join(self.targets)}")
        if strange := set(self.intervals) - set(self.targets):
            about = ", ".join(sorted(strange))
            raise UserError(f"intervals is about {about}, wanted some of {', '.join(self.targets)}")
        for crystal, predicted in self.golden.items():
            # columns of a classification are called TARGET_probability
            if lacking := [
                name for name in self.targets if not any(key.startswith(name) for key in predicted)
            ]:
                raise UserError(f"golden.{crystal} lacks {lacking[0]}")

    @classmethod
    def of(cls, content: Mapping[str, Any], where: str | Path) -> "Card":
        """Check the content of a card, of a file or by the name ``where``.

        Raises:
            UserError: It is no card; the message names the first field that is wrong.
        """
        try:
            return parse(cls, content)
        except UserError as error:
            raise UserError(f"{where} is no card of a published checkpoint: {error}") from error

    @classmethod
    def read(cls, path: Path) -> "Card":
        """Read and check a card.

        Raises:
            UserError: It cannot be read or is no card of the checkpoint that its file name says.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is no JSON: {error}") from error
        card = cls.of(content, path)
        if path.name != f"{card.name}.json":
            raise UserError(f"{path} is no card of a published checkpoint: name is {card.name!r}")
        return card

    def text(self) -> str:
        """The card as text for a terminal."""
        rows = [("network", f"{_short(self.spec.backbone)}, {self.parameters:,} parameters")]
        if graph := self.spec.backbone.get("init_args", {}).get("graph"):
            rows += [("graph", _arguments(graph))]
        units = zip(self.targets, self.units, strict=True)
        rows += [("predicts", f"{self.called(name, unit)}: {self.score(name)}") for name, unit in units]
        rows += self._history(self.training) if self.training else []
        if self.package:
            versions = " or ".join(self.package.versions)
            rows += [("learned", self.package.learned), ("overlap", self.package.overlap)]
            rows += [("package", f"{self.package.name} {versions}: {self.package.command}")]
        if self.imported:
            where = f"{self.imported.file} of {self.imported.kind}, SHA-256 {self.imported.sha256[:12]}…"
            rows += [("learned", self.imported.learned), ("from", where)]
        rows += [("elements", f"{len(self.elements)}: {' '.join(self.elements)}")]
        rows += [("cite", self.citation), ("licence", self.licence), ("sha256", self.sha256)]
        lines = [
            fill(text, 100, initial_indent=f"  {key:<9} ", subsequent_indent=" " * 12, break_on_hyphens=False)
            for key, text in rows
        ]
        description = self.description.replace("\n", " ")
        return "\n".join([f"{self.name}: {description}", *lines])

    def _history(self, training: Training) -> list[tuple[str, str]]:
        """Say what the network learned from, and at what cost."""
        parts = f"{training.train.crystals:,} crystals to learn from, "
        last = self.recipe.get("model", {}).get("keep") == "last"
        parts += f"{training.val.crystals:,} {'for validation' if last else 'to choose the epoch'}"
        if self.cross_validation:
            parts += f"; errors {self.tested_by}, so it is made to predict"
        else:
            parts += f", {training.test.crystals:,} for the test"
        base = f" ({training.base} and more)" if training.base else ""
        rows = [("data", f"{training.source}{base}: {parts}")]
        if training.excluded:
            kept_out = training.excluded
            number = "1 crystal" if kept_out.crystals == 1 else f"{kept_out.crystals:,} crystals"
            rows += [("left out", f"{number}, listed in {kept_out.published_list}")]
        rows += [("from", ", ".join(origin.name for origin in self.started_from) or "scratch")]
        rows += (
            [("difference to", f"{self.base.name}, SHA-256 {self.base.sha256[:12]}…")] if self.base else []
        )
        rows += [("teacher", self.taught)] if self.teacher else []
        time = f" in {duration(training.seconds)}" if training.seconds is not None else ""
        return [*rows, ("trained", f"{training.epochs} epochs{time} on {training.machine}")]

    @property
    def taught(self) -> str:
        """Say who the teacher is; empty if there is none."""
        if self.teacher is None:
            return ""
        one = self.teacher
        learned = f", which has learned {one.learned}" if one.learned else ""
        return (
            f"{one.name} (SHA-256 {one.sha256[:12]}…){learned}; what it says of the atoms of "
            f"{one.crystals:,} training crystals (SHA-256 {one.table[:12]}…)"
        )

    @property
    def tested_by(self) -> str:
        """Say how errors were measured if the network has learned from every crystal; else nothing."""
        if len(self.cross_validation) == 1:
            return "measured before it learned from them"
        folds = len(self.cross_validation)
        return f"measured by {folds}-fold cross-validation" if folds else ""

    def called(self, target: str, unit: str) -> str:
        """Return the name of a target with its unit, and by which method its labels were had."""
        about = ", ".join(filter(None, ("" if unit == "1" else unit, self.theory.get(target))))
        return f"{target} ({about})" if about else target

    def score(self, target: str) -> str:
        """Say the errors of a target on the test part."""
        measured = self.metrics.get(target)
        if measured is None:
            return "no test of tlzoo's" if self.package or self.imported else "no label in the test part"
        r2 = f", R² {measured.r2:.3f}" if measured.r2 is not None else ""
        how = f" ({self.tested_by})" if self.cross_validation else ""
        return f"MAE {measured.mae:.4g}, RMSE {measured.rmse:.4g}{r2} on {measured.n:,} crystals{how}"


def duration(seconds: float) -> str:
    """Say a time for people.

    >>> duration(4.2), duration(42.4), duration(3_000), duration(7_500)
    ('4.2 s', '42 s', '50 min', '2.1 h')
    """
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"


def _short(part: Mapping[str, Any]) -> str:
    """Say a class and its plain arguments in one line."""
    arguments = {key: v for key, v in part.get("init_args", {}).items() if not isinstance(v, dict)}
    return f"{str(part.get('class_path')).rpartition('.')[2]}({_arguments(arguments)})"


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
