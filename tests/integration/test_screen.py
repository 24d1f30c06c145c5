"""`tlzoo screen`: as `tlzoo predict`, whatever the number of processes, and wherever it was stopped."""

import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.machine.ray_cluster import Place
from tlzoo.screen.ray_shards import Worker
from tlzoo.screen.screen_request import Request
from tlzoo.screen.shards import Shards
from tlzoo.transfer.features.saved import load

ROOT = Path(__file__).parents[2]
SHOWN = 15
# The command in a process of its own, with the same shorter page.
ELSEWHERE = [
    *(sys.executable, "-c"),
    (
        f"import sys; from tlzoo.screen import ranking_page; ranking_page.SHOWN = {SHOWN}; "
        "from tlzoo.__main__ import main; sys.exit(main(sys.argv[1:]))"
    ),
]


@pytest.fixture(scope="module", autouse=True)
def page(quick):
    """A shorter page: the structure type of a crystal takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlzoo.screen.ranking_page.SHOWN", SHOWN)
        yield


@pytest.fixture
def plain(monkeypatch):
    """No figures on the page."""
    monkeypatch.setattr("tlzoo.screen.ranking_page._figures", lambda *_: ())


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """The example and five crystals that no network can read, in the middle."""
    crystals = named.load("semiconductors")
    rows = [*range(100), *range(5), *range(100, len(crystals))]
    pool = crystals.select(rows)
    pool.lattice[100:104] *= 30
    pool.numbers[pool.offsets[104]] = 118
    pool.ids[100:105] = [f"bad-{i}" for i in range(5)]
    path = tmp_path_factory.mktemp("pool") / "pool.parquet"
    pool.write_parquet(path)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory, few, tlzoo):
    """Two short trainings, one with an uncertainty of its own."""
    folder = tmp_path_factory.mktemp("runs")
    for name, head in (("one", "Regression"), ("two", "Gaussian")):
        tree = {
            "seed_everything": 0,
            "model": {
                "backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}},
                "head": {"class_path": head, "init_args": {"hidden": [8]}},
            },
            "data": {
                "source": str(few),
                "targets": ["band_gap"],
                "split": {"class_path": "Random", "init_args": {"val": 4, "test": 4}},
            },
            "trainer": {"max_epochs": 2, "enable_progress_bar": False, "enable_model_summary": False},
        }
        config = folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump(tree))
        done = tlzoo("fit", "--config", config, "--run_dir", folder / name)
        assert done.code == 0, done.err
    return folder


def shards(output):
    return {path.name: path.read_bytes() for path in output.with_suffix(".shards").glob("shards/*.parquet")}


@pytest.fixture(scope="module")
def straight(tmp_path_factory, pool, runs, tlzoo):
    """A screening without a break, in one process."""
    output = tmp_path_factory.mktemp("straight") / "ranked.parquet"
    done = tlzoo("screen", f"{runs}/one,{runs}/two", pool, "-o", output, "--shard", 20, "--jobs", 1)
    assert done.code == 0, done.err
    return output, done.out


def test_as_predict(straight, runs, pool, tlzoo, tmp_path):
    output, said = straight
    table = pd.read_parquet(output)
    assert table["rank"].tolist() == list(range(1, 204))
    assert table["band_gap"].is_monotonic_decreasing
    columns = {}
    for name in ("one", "two"):
        assert tlzoo("predict", runs / name, "semiconductors", "-o", tmp_path / "p.csv").code == 0
        predicted = pd.read_csv(tmp_path / "p.csv").set_index("id").loc[table["id"]]
        columns[name] = predicted["band_gap"].to_numpy()
        np.testing.assert_allclose(table[f"band_gap:{runs}/{name}"], columns[name], rtol=1e-4)
    np.testing.assert_allclose(table["band_gap"], (columns["one"] + columns["two"]) / 2, rtol=1e-4)
    widths = {
        name: json.loads((runs / name / "model.json").read_text())["intervals"]["band_gap"]["widths"]["0.95"]
        for name in ("one", "two")
    }
    # one states nothing itself, the other a deviation; both were measured on validation crystals
    halves = (widths["one"], widths["two"] * predicted["band_gap_std"].to_numpy())
    spread = np.abs(columns["one"] - columns["two"]) / 2
    half = np.sqrt((halves[0] ** 2 + halves[1] ** 2) / 2 + (1.96 * spread) ** 2)
    np.testing.assert_allclose(table["band_gap_upper"] - table["band_gap"], half, rtol=1e-3)
    first, others = table.iloc[:SHOWN], table.iloc[SHOWN:]
    assert first["prototype"].notna().all()
    assert others["prototype"].isna().all()
    assert first.loc[first["prototype"] == "AB_cF8_216_a_c", "structure_type"].unique() == ["zinc blende"]
    schema = pq.read_schema(output)
    assert schema.field("band_gap_spread").metadata == {b"unit": b"eV"}
    assert "208 crystals of" in said


def test_names_say_what_a_number_is(straight, runs, few, tlzoo, tmp_path):
    """Two models of which one states a deviation; and two that state none, of which there is a spread."""
    columns = json.loads(pq.read_schema(straight[0]).metadata[b"tlzoo"])["columns"]
    assert columns["band_gap_spread"] == "standard deviation of the predictions of 2 models; no interval"
    assert columns["band_gap_upper"] == (
        "upper end, by what 2 of the models say of themselves, and their spread; nobody calibrated it"
    )
    for name in ("first", "again"):
        card = Path(shutil.copytree(runs / "one", tmp_path / name)) / "model.json"
        # as one of before
        card.write_text(json.dumps({**json.loads(card.read_text()), "intervals": {}}))
    output = tmp_path / "ranked.parquet"
    done = tlzoo("screen", f"{tmp_path}/first,{tmp_path}/again", few, "-o", output, "--jobs", 1)
    assert done.code == 0, done.err
    schema = pq.read_schema(output)
    assert list(json.loads(schema.metadata[b"tlzoo"])["columns"]) == ["band_gap_spread"]
    assert not {"band_gap_lower", "band_gap_upper"} & set(schema.names)
    page = output.with_suffix(".html").read_text()
    assert "spread of 2 models (eV)" in page
    assert "It is no interval" in page
    assert "95 %" not in page


def test_what_cannot_be_predicted_is_named(straight):
    output, said = straight
    problems = pd.read_csv(output.with_name("ranked-problems.csv"))
    assert problems["id"].tolist() == [f"bad-{i}" for i in range(5)]
    assert problems["problem"].str.contains("no neighbour within").tolist() == [True] * 4 + [False]
    assert "no features for Og" in problems["problem"].iloc[4]
    assert "5 could not be predicted" in said


def test_training_crystals_are_marked(straight, runs, few):
    table = pd.read_parquet(straight[0]).set_index("id")
    train = yaml.safe_load((runs / "one" / "split.json").read_text())["train"]
    assert table.loc[train, "in_training"].all()
    elements = {symbol for row in Crystals.read_parquet(few).formulas for symbol in row.split("-")}
    assert elements
    uranium = table.loc[table["formula"] == "UO2"]
    assert uranium["unseen_elements"].tolist() == ["O, U"] or uranium["unseen_elements"].tolist() == ["U"]
    assert uranium["out_of_domain"].all()
    assert not table["in_training"].all()
    assert (table["distance"] > 0).all()


def test_the_page(straight):
    text = straight[0].with_suffix(".html").read_text()
    table = pd.read_parquet(straight[0])
    assert text.count("<tr") == SHOWN + 1
    shown = re.findall(r'<td[^>]*data-value="([^"]*)">([^<]*)</td>', text)
    assert all((name, name) in shown for name in table["id"][:SHOWN])
    least, most = (f"{table['band_gap'][row]:.4g}" for row in (SHOWN - 1, 0))
    assert {least, most} <= {said for _, said in shown}
    assert set(re.findall(r'class="(?:number )?bad"', text)) == {'class="number bad"', 'class="bad"'}
    assert text.count("data:image/png;base64,") == 3
    assert "(216)" in text
    assert re.search('<td title="AB_cF8_216_a_c" data-value="zinc blende">zinc blende</td>', text)
    assert not re.search("https?:", text)


@pytest.mark.usefixtures("plain")
def test_same_bytes_whatever_the_number_of_processes(straight, runs, pool, tlzoo, tmp_path):
    output = tmp_path / "ranked.parquet"
    done = tlzoo("screen", f"{runs}/one,{runs}/two", pool, "-o", output, "--shard", 20, "--jobs", 3)
    assert done.code == 0, done.err
    assert shards(output) == shards(straight[0])
    assert output.read_bytes() == straight[0].read_bytes()


@pytest.mark.usefixtures("plain")
def test_what_is_done_is_not_done_again(straight, runs, pool, tlzoo):
    output, _ = straight
    before, ranked = shards(output), output.read_bytes()
    missing = output.with_suffix(".shards") / "shards" / "00003.parquet"
    missing.unlink()
    arguments = ("screen", f"{runs}/one,{runs}/two", pool, "-o", output, "--shard", 20, "--jobs", 1)
    assert "20 of them now" in tlzoo(*arguments).out
    assert shards(output) == before
    assert output.read_bytes() == ranked
    assert "all done before" in tlzoo(*arguments).out
    best = tlzoo(*arguments, "--top", 3, "--ascending")
    assert "the first 3" in best.out
    assert pd.read_parquet(output)["band_gap"].is_monotonic_increasing
    assert tlzoo(*arguments).code == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"--where": "density < 5"}, "where: None → 'density < 5'"), ({"--shard": 21}, "shard: 20 → 21")],
)
def test_another_screening_is_refused(straight, runs, pool, tlzoo, changed, message):
    options = {"-o": straight[0], "--shard": 20, **changed}
    done = tlzoo(
        "screen", f"{runs}/one,{runs}/two", pool, *(part for pair in options.items() for part in pair)
    )
    assert done.code == 2
    assert message in done.err


def test_another_model_is_refused(straight, runs, pool, tlzoo):
    done = tlzoo("screen", runs / "one", pool, "-o", straight[0], "--shard", 20)
    assert "holds another screening" in done.err


@pytest.mark.usefixtures("plain")
def test_filters(runs, tlzoo, tmp_path):
    output = tmp_path / "ranked.parquet"
    where = "diamond_like and has(N, C) and band_gap > 0.1"
    done = tlzoo("screen", runs / "one", "semiconductors", "-o", output, "--where", where, "--top", 4)
    assert done.code == 0, done.err
    assert "do not meet the condition" in done.out
    table = pd.read_parquet(output)
    assert len(table) == 4
    assert set(table["formula"]) <= {"C", "SiC", "BN", "AlN", "GaN", "InN"}
    empty = tlzoo(
        "screen", runs / "one", "semiconductors", "-o", tmp_path / "e.parquet", "--where", "nsites > 999"
    )
    assert empty.code == 0, empty.err
    assert len(pd.read_parquet(tmp_path / "e.parquet")) == 0


@pytest.mark.slow
def test_same_bytes_by_ray(straight, runs, pool, tmp_path):
    pytest.importorskip("ray")
    output = tmp_path / "ranked.parquet"
    command = [*ELSEWHERE, "screen", f"{runs}/one,{runs}/two", str(pool)]
    command += ["-o", str(output), "--shard", "20", "--jobs", "2", "--engine", "ray"]
    subprocess.run(command, cwd=ROOT, check=True)
    assert shards(output) == shards(straight[0])
    assert output.read_bytes() == straight[0].read_bytes()


def test_a_worker_of_ray_hands_over_whole_shards(straight, runs, pool, tmp_path):
    """Schema, metadata and all: written elsewhere it has the bytes of a screening without Ray."""
    request = Request(models=[f"{runs}/one", f"{runs}/two"], pool=str(pool), shard=20)
    worker = Worker(Place.here(), request, str(straight[0].with_suffix(".shards")))
    found = worker({"number": np.array([5, 10])})
    assert found["number"].tolist() == [5, 10]
    assert found["read"].tolist() == [20, 8]
    written = Shards(tmp_path)
    (tmp_path / "shards").mkdir()
    for number, table in zip(found["number"], found["table"], strict=True):
        written.write(number, pa.ipc.open_stream(table).read_all())
        assert written.shard(number).read_bytes() == shards(straight[0])[written.shard(number).name]


def test_ray_is_an_extra(runs, pool, tlzoo, tmp_path, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("tlzoo.machine.ray_cluster.importlib.metadata.version", missing)
    done = tlzoo("screen", runs / "one", pool, "-o", tmp_path / "r.parquet", "--engine", "ray")
    assert done.code == 2
    assert "pip install tlzoo[ray]" in done.err


@pytest.mark.slow
def test_killed(straight, runs, pool, tmp_path):
    """With SIGKILL, in the middle: the same command gives the same bytes as a run without a break."""
    output = tmp_path / "ranked.parquet"
    command = [*ELSEWHERE, "screen", f"{runs}/one,{runs}/two", str(pool)]
    command += ["-o", str(output), "--shard", "20", "--jobs", "2"]
    process = subprocess.Popen(command, cwd=ROOT)
    done = output.with_suffix(".shards") / "shards"
    until = time.monotonic() + 300
    while len(list(done.glob("*.parquet"))) < 2 and time.monotonic() < until:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists()
    there = {path: path.stat().st_mtime_ns for path in done.glob("*.parquet")}
    assert 2 <= len(there) < 11
    subprocess.run(command, cwd=ROOT, check=True)
    assert all(path.stat().st_mtime_ns == before for path, before in there.items())
    assert shards(output) == shards(straight[0])
    assert output.read_bytes() == straight[0].read_bytes()


@pytest.fixture(scope="module")
def saved(runs, tlzoo, tmp_path_factory):
    """A regression on what a network and descriptors say."""
    folder = tmp_path_factory.mktemp("regression")
    features = f"{runs}/one+descriptors"
    done = tlzoo(
        "features", "semiconductors", "--target", "band_gap", "--from", features, "--layer", "embedding",
        "--cv", "2-fold", "-o", folder / "figures", "--save", folder / "saved",
    )  # fmt: skip
    assert done.code == 0, done.err
    return folder / "saved"


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.usefixtures("plain")
def test_regression_on_frozen_features(saved, runs, tlzoo, tmp_path, jobs):
    """As the regression itself predicts, also of graphs and descriptors at once, and beside a network."""
    output = tmp_path / "ranked.parquet"
    done = tlzoo(
        "screen", f"{saved},{runs}/one", "semiconductors", "-o", output, "--jobs", jobs, "--shard", 64
    )
    assert done.code == 0, done.err
    table = pd.read_parquet(output)
    wanted = load(saved).predict(named.load("semiconductors")).set_index("id").loc[table["id"]]
    np.testing.assert_allclose(table[f"band_gap:{saved}"], wanted["band_gap"], rtol=1e-3, atol=1e-3)
    assert (table["band_gap_upper"] - table["band_gap"] > 1.95 * table["band_gap_spread"]).all()
    assert table["in_training"].all()
