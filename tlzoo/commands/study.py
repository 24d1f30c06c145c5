"""`tlzoo study COMMAND FILE`: run and compare many trainings: a grid of settings, tuned on validation."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tlzoo.commands import arguments, say
from tlzoo.errors import UserError

if TYPE_CHECKING:
    from tlzoo.study.axes import Condition
    from tlzoo.study.backends import Backend
    from tlzoo.study.grid import Study
    from tlzoo.study.study_folder import Folder

SPELLED = {"by": "--by A,B…", "choose": "--choose A,B…", "folder": "--dir DIR", "id": "--id ID"}


def main(args: Sequence[str]) -> int:
    """Run one of the commands."""
    return arguments.dispatch(args, COMMANDS, prog="tlzoo study", about=__doc__, spelled=SPELLED)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which runs of which study.

    Attributes:
        file: The study: a YAML file such as those in configs/studies.
        folder: Directory of the results; by default runs/studies/NAME.
        only: Only the runs with these values, for example size=100,200 seed=0.
    """

    file: Path
    folder: Path | None = None
    only: Sequence[str] = ()

    def opened(self) -> "tuple[Study, Folder]":
        """Return the study and where its results are."""
        from tlzoo.study import document
        from tlzoo.study.study_folder import Folder

        study = document.load(self.file)
        return study, Folder(self.folder or study.folder)


@dataclass(frozen=True, kw_only=True)
class Run(Asked):
    """Train and test what is not done yet; if stopped, the same command continues.

    Attributes:
        jobs: Number of runs at a time; if more than one, each uses one thread. By default one per core, as
            far as memory has room, on a GPU one, and on Ray as many as fit.
        limit: Stop after this many runs.
        id: Only the run with this id, as the agents of a W&B sweep pass it.
        retry: Also repeat trainings that diverged, which otherwise count as done.
        backend: Where to run: processes on this machine, or a Ray cluster.
        address: Address of the Ray cluster; by default $RAY_ADDRESS, otherwise Ray on this machine.
        cpus_per_run: Cores per run on Ray (default: 1).
        gpus_per_run: GPUs per run on Ray, for example 0.25 to share one among four (default: 0).
    """

    jobs: int | None = None
    limit: int | None = None
    id: str | None = None
    retry: bool = False
    backend: Literal["processes", "ray"] = "processes"
    address: str | None = None
    cpus_per_run: float | None = None
    gpus_per_run: float | None = None

    def __call__(self) -> int:
        """Train and test."""
        for name in ("jobs", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name} must be at least 1, got {value}")
        from tlzoo.study import execution

        study, folder = self.opened()
        only = {**study.only(self.only), **(study.named(self.id) if self.id else {})}
        backend = self.backend_of(study, folder, only)
        done = execution.Execution(study, folder, backend, say, only, self.limit, self.retry).run()
        say(f"{study.name}: {done.line()}\nresults: {folder.results}")
        if self.id and os.environ.get("WANDB_SWEEP_ID"):
            from tlzoo.training import tracking

            row = folder.rows().get(self.id, {})
            tracking.tell_sweep(dict(row.get("labels", {})), row)
        return 1 if done.failed else 0

    def backend_of(self, study: "Study", folder: "Folder", only: "Condition") -> "Backend":
        """Return who computes.

        Raises:
            UserError: Options of Ray are given without it, or make no sense.
        """
        from tlzoo.study import backends

        about_ray = {"address": self.address, "cpus": self.cpus_per_run, "gpus": self.gpus_per_run}
        options: dict[str, Any] = {name: value for name, value in about_ray.items() if value is not None}
        if self.backend == "ray":
            if options.get("cpus", 1) <= 0 or options.get("gpus", 0) < 0:
                raise UserError("--cpus-per-run must be more than 0, --gpus-per-run 0 or more")
            from tlzoo.study.ray_runs import Ray

            return Ray(self.jobs, **options)
        if options:
            raise UserError("--address, --cpus-per-run and --gpus-per-run are about Ray: add --backend ray")
        jobs = self.jobs or self._at_a_time(study, folder, only)
        return backends.Processes(jobs) if jobs > 1 else backends.Here()

    def _at_a_time(self, study: "Study", folder: "Folder", only: "Condition") -> int:
        """Return how many runs to compute at a time: a single one has all threads."""
        from tlzoo.machine import device, runtime
        from tlzoo.study.progress import Progress

        left = Progress.of(study, folder.rows(), only)
        runs = left.total - left.done
        if device.shared(run.tree.get("trainer") or {} for run in study.runs()):
            return 1
        return max(1, min(runtime.processes(), runs, self.limit or runs))


@dataclass(frozen=True, kw_only=True)
class Status(Asked):
    """Show what is done, what failed, and how long the rest will take."""

    def __call__(self) -> int:
        """Say it."""
        from tlzoo.study.progress import Progress

        study, folder = self.opened()
        progress = Progress.of(study, folder.rows(), study.only(self.only))
        say(f"{study.name}: {progress.line(folder.claimed())}\n\n{progress.by_axis()}")
        if failures := progress.failures():
            say(f"\nfailed:\n{failures}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Table(Asked):
    """Print the test errors as a table: mean ± standard deviation.

    Attributes:
        by: Settings (axes of the grid) to list in the rows; the others are in the columns.
        choose: For these settings, show only the value with the smallest mean validation error.
        baselines: Show the trivial baselines on the same splits instead.
        format: Format of the table.
    """

    by: Sequence[str] = ()
    choose: Sequence[str] = ()
    baselines: bool = False
    format: Literal["text", "markdown", "csv"] = "text"

    def __call__(self) -> int:
        """Print the table."""
        from tlzoo.study import summary
        from tlzoo.study.ensembles import ensembles
        from tlzoo.study.gathering import baselines, column, results

        study, folder = self.opened()
        if self.baselines:
            trivial = baselines(study, folder)
            if trivial.empty:
                how = f"say `baselines: true` in {self.file}, then run it"
                raise UserError(f"there are no baselines in {folder.path}; {how}")
            say(summary.trivial(study, trivial, self.format))
            return 0
        by, choose = study.names(self.by, "--by"), study.names(self.choose, "--choose")
        summary.check_by(study, by)
        found, only = results(study, folder), study.only(self.only)
        for name, values in only.items():
            found = found[found[name].isin([column(study.axes[name], value) for value in values])]
        table = summary.summary(study, ensembles(study, folder, found, only), choose)
        if table.empty:
            raise UserError(f"there are no results yet in {folder.path}; begin: tlzoo study run {self.file}")
        say(summary.render(study, table, by, choose, self.format))
        return 0


@dataclass(frozen=True, kw_only=True)
class Report(Asked):
    """Write a page with figures and all numbers.

    Attributes:
        output: Page to write (.html), with the figures beside it; by default report.html in the directory of
            the results.
    """

    output: Path | None = None

    def __call__(self) -> int:
        """Write the page."""
        if self.output is not None and self.output.suffix != ".html":
            raise UserError(f"-o {self.output}: wanted the name of a page, such as report.html")
        from tlzoo.study.report import study_page

        study, folder = self.opened()
        command = ["tlzoo", "study", "report", str(self.file)]
        command += ["--dir", str(self.folder)] if self.folder else []
        command += ["-o", str(self.output)] if self.output else []
        command += ["--only", *self.only] if self.only else []
        output = self.output or folder.path / "report.html"
        written = study_page.write(study, folder, output, study.only(self.only), shlex.join(command))
        say("\n".join(map(str, written)))
        return 0


@dataclass(frozen=True, kw_only=True)
class Sweep(Asked):
    """Write the runs that are not done yet as a W&B sweep, for its agents to run.

    Attributes:
        output: Sweep to write (.yaml), for `wandb sweep`.
    """

    output: Path

    def __call__(self) -> int:
        """Write the sweep."""
        import yaml

        from tlzoo.machine.files import write_text
        from tlzoo.study.progress import Progress
        from tlzoo.study.sweep import sweep

        study, folder = self.opened()
        progress = Progress.of(study, folder.rows(), study.only(self.only))
        if not progress.missing:
            raise UserError(f"nothing is left for a sweep: {progress.line()}")
        write_text(self.output, yaml.safe_dump(sweep(study, folder, progress), sort_keys=False))
        say(f"{len(progress.missing)} runs in {self.output}; begin: wandb sweep {self.output}")
        if progress.undecided:
            say(f"{len(progress.undecided)} more wait until tuning has chosen: write another one then")
        return 0


@dataclass(frozen=True, kw_only=True)
class Pack(Asked):
    """Write all results into one file, to pass them on.

    Attributes:
        output: File to write (.parquet).
    """

    output: Path

    def __call__(self) -> int:
        """Write the file."""
        if self.output.suffix != ".parquet":
            raise UserError(f"-o {self.output}: wanted the name of a table, such as results.parquet")
        from tlzoo.study.packed import pack

        say(f"{pack(*self.opened(), self.output)} runs in {self.output}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Unpack(Asked):
    """Take over results from such files, so that they need not be computed again.

    Attributes:
        packed: Files written by `tlzoo study pack`.
    """

    packed: Sequence[Path]

    def __call__(self) -> int:
        """Take it over."""
        from tlzoo.study.packed import unpack

        study, folder = self.opened()
        for path in self.packed:
            say(f"{unpack(study, folder, path)} runs taken over from {path}")
        return Status(file=self.file, folder=self.folder, only=self.only)()


COMMANDS = (Run, Status, Table, Report, Sweep, Pack, Unpack)
