"""The table that small networks learn from: put together of what is kept, computed no further than asked."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from maintenance import teaching
from tlzoo.crystals import Crystals
from tlzoo.data.atom_table import hashes
from tlzoo.data.joined_table import base_of
from tlzoo.data.splits import Pretraining
from tlzoo.descriptors.physics_options import ELASTIC
from tlzoo.physics import physics_chunk

pytest.importorskip("chgnet")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def base(tmp_path, monkeypatch):
    """Five rock salts as a data set of its own: one for the test, the last in a large cell."""
    salts = [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [metal, "Cl"], [[0, 0, 0], [0.5] * 3])
        for metal, a in (("Li", 5.1), ("Na", 5.6), ("K", 6.3), ("Rb", 6.6), ("Cs", 7.0))
    ]
    small = [salt.get_primitive_structure() for salt in salts[:4]]
    crystals = Crystals.from_structures([*small, salts[4] * (2, 1, 1)], ids=list("abcde"))
    columns = {
        "gap": np.arange(5.0),
        "part": np.array(["train", "train", "val", "test", "train"], dtype=object),
    }
    replace(crystals, columns=columns).write_parquet(tmp_path / "data" / "tiny.parquet")
    monkeypatch.setenv("TLZOO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TLZOO_WORKERS", "1")
    monkeypatch.setattr(teaching, "BASE", "tiny")
    monkeypatch.setattr(teaching, "PHYSICS", ("elastic:chgnet",))
    physics_chunk.opened.cache_clear()
    yield
    physics_chunk.opened.cache_clear()


def known(path):
    table = Crystals.read_parquet(path)
    return table, set(table.ids[table.known("elastic.g_vrh")])


def test_the_table_grows_by_what_is_asked(base, tmp_path, monkeypatch, capsys):
    out = tmp_path / "table.parquet"
    assert teaching.main(["-o", str(out)]) == 0
    table, physics = known(out)
    assert list(table.ids) == [*"abcde", "a~1", "b~1", "c~1"]
    assert not physics
    assert table.units.items() >= ELASTIC.items()

    assert teaching.main(["-o", str(out), "--compute", "2"]) == 0
    assert "elastic.log10_g_vrh: 2 of 8 crystals" in capsys.readouterr().out
    _, physics = known(out)
    assert len(physics) == 2
    assert physics < {*"abc"}

    # of what is kept nothing is computed again
    with monkeypatch.context() as patch:
        patch.setattr(physics_chunk, "potential", None)
        teaching.main(["-o", str(out), "--compute", "2"])
    assert known(out)[1] == physics

    teaching.main(["-o", str(out), "--compute", "3"])
    table, physics = known(out)
    assert physics == {*"abc"}
    assert (table.columns["elastic.g_vrh"][:3] > 1).all()
    assert base_of(str(out)) == "tiny"
    split = Pretraining().split(table, targets=["gap", "elastic.g_vrh"])
    read = Crystals.read_parquet(tmp_path / "table-small.parquet")
    assert list(read.ids) == [*"abce", "a~1", "b~1", "c~1"]
    assert hashes(read)[4:] == hashes(table)[5:]
    assert [list(table.ids[rows]) for rows in split.parts.values()] == [["a", "b", "e"], ["c"], ["d"]]
