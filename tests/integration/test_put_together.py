"""`tlzoo data perturb`, `embed` and `join`, then training on what they put together."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tlzoo.crystals import Crystals
from tlzoo.machine.files import read_table, write_columns


@pytest.fixture(scope="module")
def base(few, tmp_path_factory):
    """Crystals in three parts, with a gap."""
    crystals = Crystals.read_parquet(few)
    parts = np.array((["train"] * 4 + ["val", "test"]) * 4, dtype=object)
    path = tmp_path_factory.mktemp("base") / "base.parquet"
    replace(crystals, columns={**crystals.columns, "part": parts}).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def table(base, tlzoo, tmp_path_factory):
    """With copies, and a column of numbers of all of them, as `tlzoo embed` writes them."""
    folder = tmp_path_factory.mktemp("table")
    copies, volumes, both = (folder / f"{name}.parquet" for name in ("copies", "volumes", "both"))
    answer = tlzoo("data", "perturb", base, "-o", copies, "--copies", 2, "--parts", "train,val", "--seed", 1)
    assert answer.code == 0, answer.err
    assert answer.out == f"40 copies of 20 of 24 crystals → {copies}\n"
    assert tlzoo("embed", "descriptors", base, copies, "--layer", "structure", "-o", volumes).code == 0
    found = read_table(volumes)
    kept = {"id": found["id"].to_numpy(object), "volume": found["volume_per_atom"].to_numpy()}
    write_columns(kept, volumes, units={"volume": "Å^3"})
    answer = tlzoo("data", "join", base, copies, volumes, "-o", both)
    assert answer.code == 0, answer.err
    assert answer.out == f"64 crystals (40 appended), 6 columns (2 new) → {both}\n"
    return both


def test_what_was_joined_is_there(base, table):
    before, after = Crystals.read_parquet(base), Crystals.read_parquet(table)
    assert list(after.ids[:24]) == list(before.ids)
    assert after.units == {**before.units, "volume": "Å^3"}
    assert [list(after.columns["part"]).count(part) for part in ("train", "val", "test")] == [48, 12, 4]
    volume = np.abs(np.linalg.det(after.lattice)) / after.num_atoms
    np.testing.assert_allclose(after.columns["volume"], volume, rtol=1e-5)
    assert np.isnan(after.columns["band_gap"][24:]).all()


def test_a_network_learns_from_it(table, tlzoo, config, tmp_path):
    targets = ["band_gap", "volume"]
    arguments = {"hidden": [8], "targets": targets, "transform": {"volume": "log10"}}
    path = config(
        {
            "model.head": {"class_path": "MultiProperty", "init_args": arguments},
            "data.source": str(table),
            "data.targets": targets,
            "data.split": {"class_path": "Pretraining"},
        }
    )
    run = tmp_path / "run"
    for command in (("fit", "--config", path, "--run_dir", run), ("test", run)):
        answer = tlzoo(*command)
        assert answer.code == 0, answer.err
    split = json.loads((run / "split.json").read_text())
    assert [len(split[part]) for part in ("train", "val", "test")] == [48, 12, 4]
    spec = json.loads((run / "model.json").read_text())["spec"]["head"]
    assert spec["init_args"]["transform"] == {"volume": "log10"}
    rows = pd.read_csv(run / "predictions.csv").query("property == 'volume'")
    # of a logarithm: no volume is negative, and two epochs are enough for the order of magnitude
    assert rows["prediction"].between(1, 1000).all()


def test_what_is_wrong_is_said_by_file_and_row(base, table, tlzoo, tmp_path):
    out = tmp_path / "out.parquet"
    for arguments, message in (
        ((base, table, "-o", out), f"{table}, row 1: there is a crystal"),
        ((base, table, "-o", tmp_path / "out.csv"), "out.csv must end in .parquet"),
        ((base, "nowhere.parquet", "-o", out), "nowhere.parquet does not exist"),
    ):
        answer = tlzoo("data", "join", *arguments)
        assert answer.code == 2
        assert message in answer.err
    answer = tlzoo("data", "perturb", base, "-o", out, "--parts", "test")
    assert answer.code == 2
    assert "parts are train and val, got 'test'" in answer.err
    assert not out.exists()


@pytest.mark.filterwarnings("ignore")
def test_physics_keeps_its_units(base, tlzoo, tmp_path):
    pytest.importorskip("chgnet")
    crystals = Crystals.read_parquet(base).select([0, 1])
    some, physics, out = (tmp_path / f"{name}.parquet" for name in ("some", "physics", "out"))
    crystals.write_parquet(some)
    assert tlzoo("embed", "elastic:chgnet", some, "-o", physics).code == 0
    assert tlzoo("data", "join", base, physics, "-o", out).code == 0
    table = Crystals.read_parquet(out)
    assert (table.units["elastic.g_vrh"], table.units["elastic.sound"]) == ("GPa", "km/s")
    assert set(table.ids[table.known("elastic.g_vrh")]) == set(crystals.ids)
    found = read_table(physics).set_index("id")["elastic.g_vrh"]
    for row in np.flatnonzero(table.known("elastic.g_vrh")):
        assert table.columns["elastic.g_vrh"][row] == found[table.ids[row]]
