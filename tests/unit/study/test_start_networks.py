"""Networks that a study trains first: their ids, and which training waits for which."""

import pytest

from tlzoo.errors import UserError
from tlzoo.study import execution
from tlzoo.study.backends import Backend
from tlzoo.study.document import load
from tlzoo.study.execution import Execution
from tlzoo.study.job import Outcome, Returned, ending, heading
from tlzoo.study.study_folder import Folder

STUDY = """\
sources:
  small: {model: {x: 1}, data: {size: 10}}
  further: {model: {backbone: {name: "source:small"}}, data: {size: 20}}
axes:
  start:
    scratch: {model: {backbone: {dim: 8}}}
    small: {model: {backbone: {name: "source:small"}}}
    further: {model: {backbone: {name: "source:further"}}}
  trial: {key: seed, values: [1, 2]}
average: [trial]
"""


class Trains(Backend):
    """Finishes the training that waits longest, and leaves a model of it where one is to be kept."""

    def __init__(self, slots=1, failing=()):
        self.slots, self.failing = slots, failing
        self.jobs, self.done, self.together = [], [], []

    def submit(self, jobs):
        self.jobs.append(jobs)
        self.together.append(len(jobs))

    def finished(self):
        jobs = self.jobs.pop(0)
        return [Returned(jobs, [self.outcome(job) for job in jobs])]

    def outcome(self, job):
        name = " ".join(map(str, job.labels.values()))
        self.done.append((name, job.tree["model"].get("backbone", {}).get("name")))
        if name in self.failing:
            return Outcome(
                {**heading(job), "status": "failed", "error": "no", "seconds": 1.0, **ending()}, None
            )
        if job.keep is not None:
            job.keep.mkdir(parents=True)
            (job.keep / "model.safetensors").touch()
        facts = {"status": "done", "val_mae": 1.0, "unit": "eV", "seconds": 60.0}
        return Outcome({**heading(job), **facts, **ending()}, None)

    def close(self):
        pass


@pytest.fixture
def write(tmp_path):
    def written(text=STUDY):
        (tmp_path / "s.yaml").write_text(text)
        return load(tmp_path / "s.yaml")

    return written


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "check", lambda _: None)  # what is made up is no configuration

    def ran(study, backend, **options):
        lines = []
        progress = Execution(study, Folder(tmp_path / "results"), backend, lines.append, **options).run()
        return progress, lines

    return ran


@pytest.mark.parametrize("slots", [1, 2, 9])
def test_a_source_is_trained_before_what_starts_from_it(write, run, slots, tmp_path):
    study, backend = write(), Trains(slots)
    progress, lines = run(study, backend)
    place = {name: str(tmp_path / "results" / "models" / source.id) for name, source in study.sources.items()}
    order = [name for name, _ in backend.done]
    assert order.index("small") < min(order.index("further"), order.index("small 1"), order.index("small 2"))
    assert order.index("further") < min(order.index("further 1"), order.index("further 2"))
    assert sorted(order) == sorted(
        ["small", "further", *(f"{s} {t}" for s in study.axes["start"].values for t in (1, 2))]
    )
    started = dict(backend.done)
    assert started["small 1"] == started["further"] == place["small"]
    assert started["further 2"] == place["further"]
    assert started["scratch 1"] is None
    assert (progress.done, progress.total) == (6, 6)
    assert (
        any(line.startswith("[2/6] source network=small: validation MAE 1 eV") for line in lines) or slots > 1
    )


def test_a_trained_source_is_not_trained_again_unless_its_model_is_gone(write, run, tmp_path):
    run(write(), Trains())
    study, backend = write(STUDY.replace("[1, 2]", "[1, 2, 3]")), Trains()
    run(study, backend)
    assert [name for name, _ in backend.done] == ["scratch 3", "small 3", "further 3"]
    (tmp_path / "results" / "models" / study.sources["further"].id / "model.safetensors").unlink()
    (tmp_path / "results" / "models" / study.sources["further"].id).rmdir()
    study, backend = write(STUDY.replace("[1, 2]", "[1, 2, 3, 4]")), Trains()
    run(study, backend)
    assert [name for name, _ in backend.done] == ["scratch 4", "small 4", "further", "further 4"]


def test_only_sources_that_are_needed_are_trained(write, run):
    study, backend = write(), Trains()
    run(study, backend, only=study.only(["start=small"]))
    assert [name for name, _ in backend.done] == ["small", "small 1", "small 2"]


def test_the_sources_of_sources_are_checked_before_anything_is_trained(write, run, monkeypatch):
    checked = []
    monkeypatch.setattr(execution, "check", lambda runs: checked.extend(run.labels for run in runs))
    study = write()
    Execution(
        study, Folder(study.path.parent / "results"), Trains(), print, study.only(["start=further"])
    ).run()
    names = [labels.get("source network") or f"{labels['start']} {labels['trial']}" for labels in checked]
    assert names == ["small", "further", "further 1", "further 2"]


def test_what_starts_from_a_source_that_failed_says_so(write, run):
    progress, lines = run(write(), Trains(failing={"further", "further 1", "further 2"}))
    assert (progress.done, progress.failed) == (4, 2)
    assert sum("source network=further: failed: no" in line for line in lines) == 1
    again = Trains()
    progress, _ = run(write(), again)
    assert [name for name, _ in again.done] == ["further", "further 1", "further 2"]
    assert (progress.done, progress.failed) == (6, 0)


def ids(study):
    return {(run.labels["start"], run.labels["trial"]): run.id for run in study.runs()}


def test_ids_follow_what_a_source_is_trained_from_and_not_its_name(write):
    before = ids(write())
    assert ids(write(STUDY.replace("small:", "tiny:").replace("source:small", "source:tiny"))) == {
        (start.replace("small", "tiny"), trial): name for (start, trial), name in before.items()
    }
    after = ids(write(STUDY.replace("{size: 10}", "{size: 11}")))
    changed = {start for (start, _), name in before.items() if after[start, 1] != before[start, 1]}
    assert changed == {"small", "further"}, "what the other starts from is part of it"
    after = ids(write(STUDY.replace("{size: 20}", "{size: 21}")))
    assert {start for (start, _) in before if after[start, 1] != before[start, 1]} == {"further"}


def test_sources_have_their_place_in_the_results(write):
    run = next(run for run in write().runs() if run.labels["start"] == "further")
    assert [model["name"] for model in run.started_from] == ["source:further"]
    assert run.tree["model"]["backbone"]["name"] == "source:further"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'name: "source:small"}}}\n    further',
            'name: "source:smal"}}}\n    further',
            "no source 'smal'; there are: small, further",
        ),
        (
            'name: "source:small"}}, data: {size: 20',
            'name: "source:last"}}, data: {size: 20',
            "sources: there is no source 'last'",
        ),
    ],
)
def test_mistakes(write, old, new, message):
    assert old in STUDY
    with pytest.raises(UserError, match=message):
        write(STUDY.replace(old, new))


def test_sources_need_names(write):
    with pytest.raises(UserError, match=r"sources: wanted a configuration for each name, got \[1\]"):
        write("sources: [1]\naxes: {trial: {key: seed, values: [1]}}\n")
