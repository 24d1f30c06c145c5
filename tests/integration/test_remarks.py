"""What is unusual about a file is said by every command that reads it, on standard error, and once."""

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pymatgen.core import Lattice, Structure

import tlzoo as package
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.sources.problems import remarks_of
from tlzoo.machine.ray_cluster import Place
from tlzoo.screen.ray_shards import Worker
from tlzoo.screen.screen_request import Request
from tlzoo.screen.shards import Shards
from tlzoo.testing import workbench

pytestmark = pytest.mark.usefixtures("quick")

# Rock salt with a = 2.95 Å: its ions 1.475 Å apart, where their radii say 2.68 Å, which is 0.55 of that. Four
# formula units of 58.44 u in 25.67 Å³ are 15.1 g/cm³.
STRANGE = (
    "atoms 1 (Na) and 6 (Cl) of 8 are 1.48 Å apart, 0.55 of the sum of their radii, 2.68 Å; 15.1 g/cm³, "
)
HARDLY = "hardly any crystal has atoms so near"
UNREAD = "1 other file(s) were not read: readme.txt"


@cache
def rock_salt(a: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Forty crystals of the embedded example, one that hardly can be, and a file that is none."""
    crystals, folder = named.load("semiconductors"), tmp_path_factory.mktemp("remarks") / "crystals"
    folder.mkdir()
    structures = {f"c{row}": crystals.structure(row) for row in range(40)}
    for name, structure in {**structures, "dense": rock_salt(2.95)}.items():
        structure.to(filename=str(folder / f"{name}.cif"))
    gaps = [*crystals.column("band_gap")[:40], 1.0]
    pd.DataFrame({"id": [*structures, "dense"], "band_gap": gaps}).to_csv(folder / "labels.csv", index=False)
    (folder / "readme.txt").write_text("about these crystals")
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("run")
    return workbench.fit(workbench.write_config(work / "fit.yaml", folder, {}), work / "run")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """Changes to what is trained for a comparison: an epoch, on crystals that a test does not wait for."""
    path = tmp_path_factory.mktemp("small") / "small.yaml"
    path.write_text("trainer: {max_epochs: 1, accelerator: cpu}\n")
    return path


COMMANDS = {
    "fit": "--config {run}/config.yaml --run_dir {out} --data.source {folder}",
    "validate": "{run}",
    "test": "{run}",
    "predict": "{run} {folder} -o {out}.csv",
    "embed": "{run} {folder} -o {out}.csv",
    "recommend": "{folder} --target band_gap --models {run}",
    "finetune": "{folder} --target band_gap --from {run} --run-dir {out} --config {small} --epochs 1 "
    "--learning-rates 0.001",
    "features": "{folder} --target band_gap --from {run} --estimator ridge -o {out}",
    "screen": "{run} {folder} -o {out}.parquet --jobs 1 --shard 10",
}


@pytest.fixture(scope="module")
def words(folder, run, small) -> Callable[[str, Path], list[str]]:
    """The words of a command that reads the folder, and writes what begins with a path."""
    paths = {"folder": folder, "run": run, "small": small}
    return lambda command, out: [command, *COMMANDS[command].format(**paths, out=out).split()]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_it_once(command, folder, words, tlzoo, tmp_path, caplog):
    asked = words(command, tmp_path / "out")
    strange = f"{folder}: 1 of 41 crystals (dense.cif): {STRANGE}3.21 Å³ per atom: {HARDLY}"
    # what is finished is shown again, and so is what is unusual
    for _ in range(2 if command == "finetune" else 1):
        caplog.clear()
        answer = tlzoo(*asked)
        assert answer.code == 0, answer.err
        said = [(record.levelname, record.getMessage()) for record in caplog.records]
        assert [line for line in said if STRANGE in line[1]] == [("WARNING", strange)]
        assert [line for line in said if UNREAD in line[1]] == [("WARNING", f"{folder}: {UNREAD}")]


@pytest.mark.parametrize("command", ["predict", "fit"])
def test_it_is_said_on_standard_error(command, folder, words, tmp_path):
    """In a process of its own: of a command that speaks of its progress, and of one that does not."""
    asked = [sys.executable, "-m", "tlzoo", *words(command, tmp_path / "out")]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert sum(line.startswith(f"{folder}: 1 of 41 crystals (dense.cif): {STRANGE}") for line in lines) == 1
    assert lines.count(f"{folder}: {UNREAD}") == 1
    assert STRANGE not in done.stdout


def test_data_check_lists_it_once(folder, tlzoo, caplog):
    answer = tlzoo("data", "check", folder, "--target", "band_gap")
    assert answer.code == 0
    assert answer.out.count(f"  {folder}/dense.cif: {STRANGE}") == 1
    assert answer.out.count(UNREAD) == 1
    assert not caplog.records


def table(folder: Path, count: int) -> Path:
    """Write a table in the columnar format of so many crystals, every tenth of which hardly can be."""
    structures = [rock_salt(2.95 if row % 10 == 3 else 5.64) for row in range(count)]
    ids = [f"salt-{row}" for row in range(count)]
    Crystals.from_structures(structures, ids=ids).write_parquet(folder / "pool.parquet")
    return folder / "pool.parquet"


def test_shards_are_added_up(run, tlzoo, tmp_path, caplog):
    pool, out = table(tmp_path, 50), tmp_path / "ranked.parquet"
    asked = ("screen", run, pool, "-o", out, "--shard", 10, "--jobs", 1)
    wanted = f"{pool}: 5 of 50 crystals (salt-3, salt-13, salt-23, …): {STRANGE}"
    for _ in range(2):  # the second time from the shards that are there
        caplog.clear()
        assert tlzoo(*asked).code == 0
        said = [record.getMessage() for record in caplog.records if STRANGE in record.getMessage()]
        # the model has learned from a table with the same fault, of which nobody asked here
        assert len(said) == 1
        assert said[0].startswith(wanted)


def test_a_worker_of_ray_hands_it_over(run, tmp_path):
    folder = Shards(tmp_path / "shards")
    folder.path.mkdir()
    request = Request(models=(str(run),), pool=str(table(tmp_path, 20)), shard=10)
    found = Worker(Place.here(), request, str(folder.path))({"number": np.array([1])})
    answers = pa.ipc.open_stream(found["table"][0]).read_all()
    (remark,) = remarks_of(answers.schema.metadata[b"remarks"]).values()
    assert (remark.size, remark.names) == (1, ("salt-13",))


def test_what_no_solid_is_goes_to_the_problems_of_a_screening(run, tlzoo, tmp_path):
    crystals = Crystals.read_parquet(table(tmp_path, 20))
    crystals.lattice[7] *= 0.3
    crystals.write_parquet(tmp_path / "pool.parquet")
    answer = tlzoo("screen", run, tmp_path / "pool.parquet", "-o", tmp_path / "r.parquet", "--jobs", 1)
    assert answer.code == 0, answer.err
    problems = pd.read_csv(tmp_path / "r-problems.csv")
    assert list(problems["id"]) == ["salt-7"]
    assert "no solid" in problems["problem"][0]


def test_a_named_data_set_is_not_looked_at_again(run, tlzoo, tmp_path, monkeypatch, caplog):
    table(tmp_path, 20)
    monkeypatch.setenv("TLZOO_DATA", str(tmp_path))
    assert tlzoo("predict", run, "pool", "-o", tmp_path / "p.csv").code == 0
    assert tlzoo("screen", run, "pool", "-o", tmp_path / "r.parquet", "--jobs", 1).code == 0
    assert not [record for record in caplog.records if STRANGE in record.getMessage()]


def test_two_inputs_are_told_apart(run, tlzoo, tmp_path, caplog):
    for name in ("one.cif", "other.cif"):
        rock_salt(2.95).to(filename=str(tmp_path / name))
    given = (tmp_path / "one.cif", tmp_path / "other.cif", tmp_path / "one.cif")
    assert tlzoo("predict", run, *given, "-o", tmp_path / "p.csv").code == 0
    said = [record.getMessage() for record in caplog.records]
    assert [text.removeprefix(f"{tmp_path}/").partition(": ")[0] for text in said] == ["one.cif", "other.cif"]


def test_from_python(run, few, tmp_path, caplog):
    """Crystals in memory that are kept in a run directory are read twice, and told of once."""
    structures = [*(named.load("semiconductors").structure(row) for row in range(24)), rock_salt(2.95)]
    frame = pd.DataFrame({"structure": structures, "band_gap": [1.0 + row / 10 for row in range(25)]})
    config = workbench.write_config(tmp_path / "fit.yaml", few, {"run_dir": str(tmp_path / "run")})
    package.fit(config, data=frame)
    (said,) = [record.getMessage() for record in caplog.records if STRANGE in record.getMessage()]
    assert said.startswith(f"the data frame: 1 of 25 crystals (row 25): {STRANGE}")
    caplog.clear()
    package.load(run).predict(structures)
    (said,) = [record.getMessage() for record in caplog.records if STRANGE in record.getMessage()]
    assert said.startswith("the list of structures: 1 of 25 crystals (structure 25): ")
    with pytest.raises(package.UserError, match=r"structures, structure 1: .* no solid is so dense"):
        package.load(run).predict([rock_salt(1.4)])
