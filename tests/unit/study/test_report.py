"""The page of a study: which runs are compared, with what interval, and what the page says of it."""

import base64
import io
import re
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from tlzoo.commands.study import main
from tlzoo.errors import UserError
from tlzoo.study.document import load
from tlzoo.study.report import measures, study_page
from tlzoo.study.report.charts import drawings
from tlzoo.study.report.error_charts import positions
from tlzoo.study.study_folder import Folder

STUDY = """\
axes:
  target: {gap: {data: {source: a}}, modulus: {data: {source: b}}}
  source: {scratch: {model: {a: 0}}, good: {model: {a: 1}}, bad: {model: {a: 2}}, same: {model: {a: 3}}}
  rate: {key: model.lr, values: [0.1, 0.2]}
  trial: {key: seed, values: [1, 2, 3]}
tune: {axes: [rate], with: {trial: 1}}
average: [trial]
"""
REPORT = """\
report:
  title: Gaps & moduli
  baseline: {source: scratch}
  figures:
    - {figure: heatmap, x: target, y: source}
    - {figure: gain, y: source, panels: target}
    - {figure: bars, x: source, panels: target, title: Bars}
    - {figure: curve, x: source, panels: target}
  reference:
    file: published.csv
    name: Somebody <2020>
    axes:
      target: {gap: {property: Eg}, modulus: {property: G}}
      source: {scratch: {from: "-"}, good: {from: x}}
"""
PUBLISHED = """\
property,from,unit,mae_mean,mae_sd
Eg,-,eV,2.0,0.1
Eg,x,eV,1.5,0.2
G,-,kbar,10,1
G,x,kbar,11,1
"""
UNITS = {"gap": "eV", "modulus": "GPa"}
# Errors of these are those of the baseline times so much.
FACTORS = {"scratch": 1.0, "good": 0.5, "bad": 1.5}
CRYSTALS = 60


def errors(labels):
    """Absolute test errors by crystal; half of the crystals of a trial are those of the one before."""
    first = CRYSTALS // 2 * labels["trial"]
    generator = np.random.default_rng(labels["trial"])
    baseline = generator.exponential(2.0, CRYSTALS)
    noise = np.random.default_rng(10 + labels["trial"]).uniform(0.2, 1.8, CRYSTALS)
    found = baseline * FACTORS.get(labels["source"], noise)
    return pd.Series(found, index=[f"c{i}" for i in range(first, first + CRYSTALS)])


def write(folder, run, known=None, **facts):
    known = errors(run.labels) if known is None else known
    worse = run.labels["rate"] == 0.2
    row = {
        "id": run.id,
        "labels": dict(run.labels),
        "started_from": [],
        "status": "done",
        "property": run.labels["target"],
        "unit": UNITS[run.labels["target"]],
        # the rate that is not chosen would win if test errors chose
        "val_mae": 9.0 if worse else 1.0 + run.labels["trial"],
        "test_mae": 0.01 if worse else float(known.mean()),
        "n_test": len(known),
        "seconds": 2.0,
        "finished": f"2026-01-0{run.labels['trial']}T10:00:00.000+00:00",
    }
    signs = np.where(np.arange(len(known)) % 2, 1, -1)
    target = np.linspace(0, 1, len(known))
    table = pd.DataFrame(
        {"id": known.index, "target": target, "prediction": target + signs * known.to_numpy()}
    )
    # the order of crystals says nothing
    table = table.sample(frac=1, random_state=run.labels["trial"])
    folder.write({**row, **facts}, table)


@pytest.fixture(scope="module", autouse=True)
def nowhere():
    """No reference folder but those that a test names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TLZOO_REFERENCE", raising=False)
        patch.delenv("TLZOO_DATA", raising=False)
        yield patch


def make(path, text=STUDY + REPORT, leave=lambda _: False, published=PUBLISHED):
    """Write a study and its results, all but those that ``leave`` takes; return both."""
    (path / "s.yaml").write_text(text)
    if published:
        (path / "published.csv").write_text(published)
    study, folder = load(path / "s.yaml"), Folder(path / "results")
    folder.make()
    for run in study.runs():
        meant = run.labels["rate"] == 0.1 or run.labels["trial"] == 1
        if meant and not leave(run.labels):
            write(folder, run)
    return study, folder


@pytest.fixture
def made(tmp_path):
    return partial(make, tmp_path)


@pytest.fixture
def no_figures(monkeypatch):
    """A page of tables: figures take most of its time."""
    monkeypatch.setattr("tlzoo.study.report.study_page.drawings", lambda *_, **__: [])


def rows(study, folder, **options):
    found = measures.measure(study, folder, {}, resamples=500, **options)
    return {found.key(row): row for row in measures.rows(found.table)}


def run_of(study, **labels):
    return next(run for run in study.runs() if {**run.labels, **labels} == run.labels)


def test_a_gain_is_that_of_all_pairs_of_trials_over_the_same_crystals(made):
    found = rows(*made())
    assert found["gap", "good"]["gain"] == pytest.approx(0.5)
    assert found["gap", "bad"]["gain"] == pytest.approx(-0.5)
    assert (found["gap", "good"]["pairs"], found["gap", "good"]["better"]) == (3, 3)
    assert found["gap", "bad"]["better"] == 0
    row = found["modulus", "same"]
    ours, theirs = (
        [errors({"source": source, "trial": trial}) for trial in (1, 2, 3)] for source in ("same", "scratch")
    )
    sums = [sum(one.sum() for one in several) for several in (ours, theirs)]
    assert row["gain"] == pytest.approx(1 - sums[0] / sums[1])
    assert row["better"] == sum(one.mean() < other.mean() for one, other in zip(ours, theirs, strict=True))


def test_the_interval_is_that_of_drawing_crystals(made):
    """A slow bootstrap: a crystal is drawn with all its errors, in whatever trials it is tested."""
    row = rows(*made())["gap", "same"]
    table = {}
    for source in ("same", "scratch"):
        for trial in (1, 2, 3):
            for crystal, error in errors({"source": source, "trial": trial}).items():
                table.setdefault(crystal, {"same": 0.0, "scratch": 0.0})[source] += error
    assert len(table) == 2 * CRYSTALS, "trials share crystals"
    crystals, generator, gains = list(table.values()), np.random.default_rng(5), []
    for _ in range(1500):
        drawn = [crystals[place] for place in generator.integers(0, len(crystals), len(crystals))]
        gains.append(1 - sum(one["same"] for one in drawn) / sum(one["scratch"] for one in drawn))
    low, high = np.percentile(gains, [2.5, 97.5])
    assert (row["gain_low"], row["gain_high"]) == (
        pytest.approx(low, abs=0.03),
        pytest.approx(high, abs=0.03),
    )
    assert row["gain_low"] < 0 < row["gain_high"]


def test_only_what_validation_chose_counts(made):
    row = rows(*made())["gap", "good"]
    expected = [errors({"source": "good", "trial": trial}).mean() for trial in (1, 2, 3)]
    assert row["rate"] == 0.1
    assert row["test_mae"] == pytest.approx(np.mean(expected))
    assert row["test_mae_sd"] == pytest.approx(np.std(expected, ddof=1))


def test_a_trial_without_a_baseline_is_not_compared(made):
    study, folder = made(leave=lambda labels: labels["source"] == "scratch" and labels["trial"] == 3)
    row = rows(study, folder)["gap", "same"]
    ours, theirs = (
        sum(errors({"source": source, "trial": trial}).sum() for trial in (1, 2))
        for source in ("same", "scratch")
    )
    assert row["pairs"] == 2
    assert row["gain"] == pytest.approx(1 - ours / theirs)
    assert row["runs"] == 3


def test_why_there_is_no_gain_or_interval(made):
    study, folder = made(leave=lambda labels: labels["source"] == "scratch" and labels["target"] == "modulus")
    folder.predictions(run_of(study, target="gap", source="good", trial=2, rate=0.1).id).unlink()
    other = run_of(study, target="gap", source="bad", trial=1, rate=0.1)
    write(folder, other, errors(other.labels).rename(lambda name: f"other-{name}"))
    broken = run_of(study, target="gap", source="same", trial=1, rate=0.1)
    write(
        folder, broken, errors(broken.labels) * np.where(np.arange(CRYSTALS) == 3, np.nan, 1.0), test_mae=1.0
    )
    found = rows(study, folder)
    assert found["gap", "scratch"]["note"] == measures.BASELINE
    assert np.isnan(found["gap", "scratch"]["gain"])
    assert found["modulus", "good"]["note"] == measures.NO_BASELINE
    assert found["gap", "good"]["note"] == measures.NO_PREDICTIONS
    assert found["gap", "good"]["gain"] == pytest.approx(0.5)
    assert np.isnan(found["gap", "good"]["gain_low"])
    assert found["gap", "bad"]["note"] == measures.OTHER_CRYSTALS
    assert np.isnan(found["gap", "bad"]["gain"])
    assert np.isnan(found["gap", "same"]["gain"]), "a crystal without a prediction is not passed over"


def test_published_numbers_stand_beside_in_the_same_unit_alone(made, tmp_path, nowhere):
    study, folder = made()
    found = rows(study, folder)
    assert (found["gap", "good"]["published_mae"], found["gap", "good"]["published_sd"]) == (1.5, 0.2)
    assert found["gap", "good"]["published_gain"] == pytest.approx(0.25)
    assert np.isnan(found["modulus", "good"]["published_mae"]), "kbar are no GPa"
    assert found["modulus", "good"]["published_gain"] == pytest.approx(-0.1)
    assert np.isnan(found["gap", "bad"]["published_mae"])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "published.csv").rename(tmp_path / "elsewhere/published.csv")
    assert measures.measure(study, folder, {}).published is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLZOO_REFERENCE", str(tmp_path / "elsewhere"))
        assert rows(study, folder)["gap", "good"]["published_mae"] == 1.5


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (PUBLISHED + "Eg,x,eV,1.4,0.2\n", r"2 lines have property=Eg, from=x; report\.reference must say"),
        ("property,unit\nEg,eV\n", r"wanted the columns .*; there is no from, mae_mean, mae_sd"),
    ],
)
def test_a_reference_that_does_not_fit(table, message, made):
    with pytest.raises(UserError, match=message):
        rows(*made(published=table))


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("[1]", r"report: wanted keys with values, got \[1\]"),
        ("{colour: red}", "report: there is no 'colour'; there are: title, baseline, figures, reference"),
        ("{baseline: {sauce: 1}}", "report: baseline: there is no axis 'sauce'"),
        ("{baseline: {source: [good, bad]}}", "baseline: wanted one value of source, got good, bad"),
        ("{baseline: {trial: 1}}", "baseline: the axis trial is averaged over or tuned and cannot be shown"),
        ("{figures: {x: source}}", r"figures: wanted a list, got \{'x': 'source'\}"),
        ("{figures: [{figure: pie}]}", r"figure 1: wanted \{figure: heatmap\|gain\|curve\|bars, …\}, got"),
        (
            "{figures: [{figure: bars, y: source}]}",
            "figure 1: there is no 'y'; there are: figure, title, where",
        ),
        ("{figures: [{figure: bars}]}", "figure 1: a bars needs x: one of the axes target, source"),
        ("{figures: [{figure: bars, x: rate}]}", "figure 1: the axis rate is averaged over or tuned"),
        ("{figures: [{figure: bars, x: source, panels: source}]}", "figure 1: the axis source has two roles"),
        ("{figures: [{figure: gain, y: source}]}", "figure 1: a gain shows gains over a baseline; say which"),
        (
            "{figures: [{figure: bars, x: source, where: {source: x}}]}",
            "where: the axis source has no value 'x'",
        ),
        ("{reference: {name: x}}", r"reference: wanted \{file: TABLE\.csv, …\}"),
        (
            "{reference: {file: x, axes: {source: {x: {a: 1}}}}}",
            "axes.source: the axis source has no value 'x'",
        ),
        ("{reference: {file: x, axes: {source: {good: 1}}}}", r"axes\.source\.good: wanted keys with values"),
    ],
)
def test_outlines_that_are_wrong(report, message, tmp_path):
    (tmp_path / "s.yaml").write_text(f"{STUDY}report: {report}\n")
    with pytest.raises(UserError, match=message):
        load(tmp_path / "s.yaml")


def test_an_outline_is_no_part_of_a_run_and_can_be_extended(tmp_path):
    (tmp_path / "plain.yaml").write_text(STUDY)
    (tmp_path / "s.yaml").write_text(STUDY + REPORT)
    (tmp_path / "more.yaml").write_text("extends: s.yaml\nreport: {title: More}\n")
    plain, study, more = (load(tmp_path / name) for name in ("plain.yaml", "s.yaml", "more.yaml"))
    assert [run.id for run in plain.runs()] == [run.id for run in study.runs()]
    assert (more.report.title, more.report.plans) == ("More", study.report.plans)
    assert [(plan.kind, dict(plan.roles)) for plan in plain.report.plans] == [
        ("bars", {"x": "source", "panels": "target"})
    ]


def drawn(study, folder, only=()):
    only = study.only(only)
    return {one.name: one for one in drawings(measures.measure(study, folder, only, resamples=500), only)}


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_heat_map_says_what_is_negative_and_what_unsure_without_colour(made):
    figure = drawn(*made())["figure-1"].figure
    ours, published = figure.axes[:2]
    assert [label.get_text() for label in ours.get_yticklabels()] == ["good", "bad", "same"]
    told = {
        (round(text.get_position()[0]), round(text.get_position()[1])): text.get_text()
        for text in ours.texts
        if "…" not in text.get_text()
    }
    assert told[0, 0] == "+50 %"
    assert told[0, 1] == "−50 %"
    assert re.fullmatch(r"\([+−].+ %\)", told[0, 2])
    hatched = {
        (round(patch.get_x() + 0.47), round(patch.get_y() + 0.46))
        for patch in ours.patches
        if patch.get_hatch()
    }
    assert hatched == {place for place, text in told.items() if "−" in text}
    assert {(0, 1), (1, 1)} <= hatched
    assert [text.get_text() for text in published.texts] == ["+25 %", "−10 %"]


def test_intervals_have_other_markers_for_better_worse_and_unsure(made):
    figure = drawn(*made())["figure-2"].figure
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert {"gain", "negative transfer", "interval contains zero", "Somebody <2020>"} <= set(labels)


def test_bars_show_mean_trials_baseline_and_published(made):
    axes = drawn(*made())["figure-3"].figure.axes[0]
    assert axes.get_ylabel() == "test MAE (eV)"
    assert axes.get_title() == "gap"
    expected = {
        source: np.mean([errors({"source": source, "trial": trial}).mean() for trial in (1, 2, 3)])
        for source in ("scratch", "good", "bad", "same")
    }
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches}
    assert list(heights.values()) == pytest.approx(list(expected.values()))
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["scratch"].get_ydata()) == pytest.approx([expected["scratch"]] * 2)
    assert len(lines["single trial"].get_ydata()) == 3
    assert {text.split()[0] for text in texts(axes.figure)} >= {"+50", "−50"}


CURVE = """\
axes:
  source: {scratch: {model: {a: 0}}, fe: {model: {a: 1}}}
  size: {"1K": {data: {n: 1}}, "10K": {data: {n: 2}}, "100K": {data: {n: 3}}}
  rate: {key: lr, values: [0.1]}
  target: {gap: {}, modulus: {}}
  trial: {key: seed, values: [1, 2]}
skip: [{source: scratch, size: [10K, 100K]}]
average: [trial, rate]
report:
  baseline: {source: scratch, size: 1K}
  figures: [{figure: curve, x: size, lines: source, panels: target}]
"""


def test_a_curve_has_its_baseline_at_all_sizes(made):
    text = CURVE.replace("gap: {}, modulus: {}", "gap: {data: {source: a}}, modulus: {data: {source: b}}")
    axes = drawn(*made(text))["figure-1"].figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines) == {"scratch, 1K", "fe"}
    lines["scratch"] = lines["scratch, 1K"]
    assert list(lines["scratch"].get_xdata()) == list(lines["fe"].get_xdata()) == [1e3, 1e4, 1e5]
    baseline = np.mean([errors({"source": "scratch", "trial": trial}).mean() for trial in (1, 2)])
    assert list(lines["scratch"].get_ydata()) == pytest.approx([baseline] * 3)
    assert lines["scratch"].get_linestyle() == "--"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1K", "10K", "100K"]


def test_an_axis_without_a_role_gives_a_figure_for_each_value(made):
    text = STUDY + "report: {baseline: {source: scratch}, figures: [{figure: bars, x: source, title: T}]}"
    found = drawn(*made(text))
    assert {name: one.title for name, one in found.items()} == {
        "figure-1-1": "T: target gap",
        "figure-1-2": "T: target modulus",
    }


def test_choose_takes_the_least_validation_error(made):
    text = STUDY + "report: {figures: [{figure: bars, x: target, choose: [source], where: {target: gap}}]}"
    study, folder = made(text)
    for trial in (1, 2, 3):
        run = run_of(study, target="gap", source="bad", trial=trial, rate=0.1)
        write(folder, run, val_mae=0.5)
    (bar,) = drawn(study, folder)["figure-1"].figure.axes[0].patches
    assert bar.get_height() == pytest.approx(
        np.mean([errors({"source": "bad", "trial": t}).mean() for t in (1, 2, 3)])
    )


def test_units_do_not_mix_in_a_panel(made):
    text = STUDY + "report: {figures: [{figure: bars, x: source, lines: target}]}"
    with pytest.raises(UserError, match=r"a panel of bars would have errors in GPa and in eV; give the axis"):
        drawn(*made(text))


def test_places_on_an_axis():
    assert positions([100, 800]) == ([100, 800], True)
    assert positions(["0", "10"]) == ([0, 1], False)


class Reader(HTMLParser):
    """Checks that tags are closed in order; collects ids, references, pictures and texts."""

    VOID = ("meta", "link", "br", "img", "input")

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.sources, self.pictures, self.text = [], [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("href", "xlink:href") if name in given]
        self.sources += [given["src"]] if "src" in given else []
        assert tag != "img" or given["alt"]
        if tag == "svg":
            self.pictures.append((given["role"], given["aria-labelledby"]))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A page of a study that is not finished, and of which a run failed; not to be changed."""
    path = tmp_path_factory.mktemp("written")
    study, folder = make(path, leave=lambda labels: labels["source"] == "same" and labels["trial"] == 3)
    failed = run_of(study, target="modulus", source="good", trial=2, rate=0.1)
    row = {"id": failed.id, "labels": dict(failed.labels), "started_from": [], "status": "failed"}
    folder.predictions(failed.id).unlink()
    folder.write(
        {**row, "error": "loss <nan> & more", "seconds": 1.0, "finished": "2026-01-09T11:12:13"}, None
    )
    files = study_page.write(study, folder, path / "out/page.html", {}, "tlzoo study report s.yaml")
    return study, folder, files


def test_the_page_is_well_formed_and_asks_nothing_of_the_net(written):
    _, _, files = written
    text = files[0].read_text()
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert reader.sources == []
    assert all(link.startswith(("#", "data:")) for link in reader.links)
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(reader.ids)
    assert len(reader.pictures) == 4
    assert all(role == "img" and name in reader.ids for role, name in reader.pictures)
    assert len(text) < 5e6
    assert "$" not in text.partition("<script>")[0].replace("${", "")
    assert {"Gaps & moduli", "Somebody <2020>, beside the study's own"} <= set(reader.text)


def test_the_page_says_what_is_done_failed_and_missing(written):
    _, _, files = written
    text = files[0].read_text()
    assert "29 of 32 done" in text
    assert "1 failed" in text
    assert "2 missing" in text
    assert "<li>target=gap source=same: rate=0.1 trial=3</li>" in text
    assert "loss &lt;nan&gt; &amp; more" in text
    assert "2026-01-09 11:12 UTC" in text
    assert "<code>tlzoo study report s.yaml</code>" in text
    assert "Test errors chose nothing" in text


def test_negative_transfer_is_listed(written):
    text = written[2][0].read_text()
    part = text.partition("<h3>Negative transfer</h3>")[2].partition("</ul>")[0]
    assert re.findall(r"<li>(.*?):", part) == ["target=gap source=bad", "target=modulus source=bad"]
    assert text.count(">▼ negative transfer<") == 2
    assert ">≈ contains zero<" in text


@pytest.mark.usefixtures("no_figures")
def test_against_something_else_than_scratch_no_transfer_is_negative(made, tmp_path):
    study, folder = made(STUDY + REPORT.replace("baseline: {source: scratch}", "baseline: {source: same}"))
    text = study_page.write(study, folder, tmp_path / "page.html", {}, "tlzoo")[0].read_text()
    assert "What is better than source=same, what is worse" in text
    assert text.count(">▼ worse<") == 2
    assert "negative transfer" not in text.lower()


def test_the_table_can_be_had_as_csv(written):
    study, folder, files = written
    text = files[0].read_text()
    csvs = [base64.b64decode(found) for found in re.findall(r'href="data:text/csv;base64,([^"]*)"', text)]
    table, runs = (pd.read_csv(io.BytesIO(found)) for found in csvs)
    expected = measures.measure(study, folder, {}).table
    np.testing.assert_allclose(table["gain"], expected["gain"])
    np.testing.assert_allclose(table["test_mae"], expected["test_mae"])
    assert len(runs) == 30
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    for row in measures.rows(expected):
        assert f"{row['test_mae']:.4g} ± {row['test_mae_sd']:.2g}" in cells


def test_figures_lie_beside_the_page_and_are_the_same_each_time(written, tmp_path):
    study, folder, files = written
    assert {file.name for file in files} == {"page.html"} | {
        f"page-figure-{number}.{end}" for number in (1, 2, 3, 4) for end in ("png", "svg")
    }
    again = study_page.write(study, folder, tmp_path / "page.html", {}, "tlzoo study report s.yaml")
    for file, other in zip(files, again, strict=True):
        assert file.read_bytes() == other.read_bytes(), file.name
        assert file.suffix != ".png" or file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("no_figures")
def test_a_part_of_a_study_keeps_its_baseline(made, tmp_path):
    study, folder = made()
    file = tmp_path / "part.html"
    study_page.write(study, folder, file, study.only(["source=good", "target=gap"]), "")
    text = file.read_text()
    assert text.count("<tr>") == 1 + 1
    assert "+50 %" in text
    assert "<dt>Runs</dt><dd>4 of 4 done</dd>" in text


def test_what_the_command_refuses(made, tmp_path, capsys):
    made(leave=lambda _: True)
    with pytest.raises(UserError, match=r"-o x\.pdf: wanted the name of a page, such as report\.html"):
        main(["report", "s.yaml", "-o", "x.pdf"])
    with pytest.raises(UserError, match=r"there are no results yet in .*results; begin: tlzoo study run"):
        main(["report", str(tmp_path / "s.yaml"), "--dir", str(tmp_path / "results")])


def test_the_command_writes_into_the_directory_of_the_results(made, tmp_path, capsys):
    made(STUDY)
    assert main(["report", str(tmp_path / "s.yaml"), "--dir", str(tmp_path / "results")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "results" / name)
        for name in ("report.html", "report-figure-1.png", "report-figure-1.svg")
    ]
    text = (tmp_path / "results/report.html").read_text()
    assert f"tlzoo study report {tmp_path}/s.yaml --dir {tmp_path}/results" in text
    assert "gain over" not in text
    assert ">gain<" not in text, "there is no baseline"


def test_the_baselines_that_were_asked_for_are_on_the_page(tmp_path, no_figures):
    study, folder = make(tmp_path, STUDY + REPORT + "baselines: true\n")
    page = tmp_path / "page.html"

    def section():
        study_page.write(study, folder, page, {}, "tlzoo study report")
        return re.search(r'<h2 id="trivial">.*?</section>', page.read_text(), re.DOTALL)[0]

    assert "None of them is there yet" in section()
    for run, mae in zip(study.trivial, (3.5, 7.25), strict=True):
        found = {"mean": {"val": {"mae": 2.0}, "test": {"mae": mae}}}
        facts = {"property": run.labels["target"], "unit": UNITS[run.labels["target"]], "baselines": found}
        folder.write(
            {"id": run.id, "labels": dict(run.labels), "status": "done", "seconds": 1.0, **facts}, None
        )
    cells = re.findall(r"<td[^>]*>(.*?)</td>", section())
    assert cells == ["gap", "mean", "1", "eV", "2", "3.5", "modulus", "mean", "1", "GPa", "2", "7.25"]
    # of one property alone
    study_page.write(study, folder, page, study.only(["target=gap"]), "tlzoo study report")
    assert "7.25" not in page.read_text()
    assert "3.5" in page.read_text()
    # who asks for none sees none
    plain, folder = make(tmp_path)
    study_page.write(plain, folder, page, {}, "tlzoo study report")
    assert "Trivial baselines" not in page.read_text()
