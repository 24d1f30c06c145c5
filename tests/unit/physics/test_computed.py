"""What was computed stays: after a kill, from two processes at once, and in the commands."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.descriptors.physics_options import PHONONS, PhysicsOptions
from tlzoo.errors import UserError
from tlzoo.graphs.workers import NoGraphError
from tlzoo.physics.computed import computed, fill
from tlzoo.physics.database import Database
from tlzoo.physics.physics_chunk import KINDS, opened
from tlzoo.transfer.features.layers import source

pytest.importorskip("chgnet")
pytestmark = pytest.mark.filterwarnings("ignore")

SCRIPT = """
import sys
from pathlib import Path
from tlzoo.crystals import Crystals
from tlzoo.physics.computed import computed
computed(Crystals.read_parquet(sys.argv[1]), "phonons:chgnet", cache_dir=Path(sys.argv[2]), workers=1)
"""


@pytest.fixture(scope="module")
def crystals(tmp_path_factory):
    """Twelve rock salts, in a file, too."""
    names = ["Li", "Na", "K"], ["F", "Cl"], [4.2, 5.4]
    structures = [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [metal, other], [[0, 0, 0], [0.5] * 3])
        for metal in names[0]
        for other in names[1]
        for a in names[2]
    ]
    path = tmp_path_factory.mktemp("salts") / "salts.parquet"
    Crystals.from_structures([each.get_primitive_structure() for each in structures]).write_parquet(path)
    return Crystals.read_parquet(path), path


@pytest.fixture(scope="module")
def straight(crystals, tmp_path_factory):
    return computed(crystals[0], "phonons:chgnet", cache_dir=tmp_path_factory.mktemp("straight"), workers=1)


def alike(one, other):
    # batches of other crystals round otherwise
    for name in PHONONS:
        np.testing.assert_allclose(one[name], other[name], rtol=2e-3, atol=0.3, err_msg=name)


def started(path, folder):
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", SCRIPT, path, folder])


def known(folder):
    database = opened(PhysicsOptions("phonons", "chgnet", str(folder)))
    return database.known(KINDS["phonons"].label)


def test_what_was_killed_goes_on(crystals, straight, tmp_path):
    with started(crystals[1], tmp_path) as process:
        while not known(tmp_path) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert 0 < len(known(tmp_path)) < len(crystals[0])
    alike(computed(crystals[0], "phonons:chgnet", cache_dir=tmp_path, workers=2), straight)


def test_two_processes_at_once(crystals, straight, tmp_path):
    few, path = crystals[0].select(np.arange(6)), tmp_path / "few.parquet"
    few.write_parquet(path)
    with started(path, tmp_path) as one, started(path, tmp_path) as other:
        assert (one.wait(), other.wait()) == (0, 0)
    assert len(known(tmp_path)) == len(few)
    found = computed(few, "phonons:chgnet", cache_dir=tmp_path, workers=1)
    alike(found, {name: values[:6] for name, values in straight.items()})


def test_a_crystal_that_fails_is_named_and_the_rest_is_kept(crystals, tmp_path):
    lonely = Structure(Lattice.cubic(15), ["Ar"], [[0, 0, 0]])
    table = Crystals.concatenated([crystals[0].select([0]), Crystals.from_structures([lonely], ids=["far"])])
    with pytest.raises(
        NoGraphError, match=r"no phonons can be made of 1 of 2 crystals:\n.*'far'.*no neighbour"
    ):
        computed(table, "phonons:chgnet", cache_dir=tmp_path, workers=1)
    assert len(known(tmp_path)) == 1


@pytest.mark.parametrize("kind", ["phonons", "elastic"])
def test_elements_that_a_potential_does_not_know_are_named(kind, tmp_path):
    americium = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.89), ["Am"], [[0, 0, 0]])
    with pytest.raises(NoGraphError, match="the network does not know Am; take another one"):
        computed(Crystals.from_structures([americium]), f"{kind}:chgnet", cache_dir=tmp_path, workers=1)


def test_a_source_of_features(crystals, straight, monkeypatch, tmp_path):
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("TLZOO_WORKERS", "1")
    here = source("phonons:chgnet")
    assert here.units("physics")["phonons.highest"] == "1/cm"
    values = here.activations(crystals[0].select([0, 3]), ["physics"])["physics"]
    column = here.columns("physics").index("phonons.highest")
    np.testing.assert_allclose(values[:, column], straight["phonons.highest"][[0, 3]], rtol=1e-3)
    # with descriptors beside it
    joined = source("phonons:chgnet+descriptors")
    (layer,) = joined.layers
    assert joined.activations(crystals[0].select([0]), [layer])[layer].shape[1] == len(joined.columns(layer))
    assert not fill(crystals[0].select([3]), PhysicsOptions("phonons", "chgnet"))


def test_names_that_are_none():
    with pytest.raises(UserError, match="there is no potential 'chgnett'"):
        source("phonons:chgnett")


def test_a_damaged_file_is_named(tmp_path, crystals):
    computed(crystals[0].select([0]), "phonons:chgnet", cache_dir=tmp_path, workers=1)
    (path,) = (tmp_path / "physics").glob("*.sqlite")
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match="delete it if it is damaged"):
        computed(crystals[0].select([0]), "phonons:chgnet", cache_dir=tmp_path, workers=1)


def test_a_damaged_row_is_named(tmp_path):
    database = Database(tmp_path / "some.sqlite")
    database.put("a", "what", {"values": np.arange(3)})
    np.testing.assert_array_equal(database.get("a", "what")["values"], np.arange(3))
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute("UPDATE computed SET arrays = ?", (b"nothing",))
    with pytest.raises(UserError, match=r"some\.sqlite: .*delete it if it is damaged"):
        database.get("a", "what")
