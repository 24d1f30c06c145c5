"""Shards of a pool are the crystals of the whole table, however it lies on the disk."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from tlzoo.data import named
from tlzoo.errors import UserError
from tlzoo.screen.pool import MemoryPool, ParquetPool, open_pool


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(100))


@pytest.mark.parametrize("group", [1, 7, 30, 1000])
@pytest.mark.parametrize("size", [16, 30, 200])
def test_slices(crystals, group, size, tmp_path):
    path = tmp_path / "pool.parquet"
    crystals.write_parquet(path)
    pq.write_table(pq.read_table(path), path, row_group_size=group)
    pool = open_pool(str(path))
    assert isinstance(pool, ParquetPool)
    assert len(pool) == 100
    assert "band_gap" in pool.columns
    last = -(-100 // size)
    for wanted in (range(last), range(1, last, 2), [last - 1]):
        found = list(pool.slices(size, set(wanted), ["band_gap"]))
        assert [part.number for part in found] == list(wanted)
        for part in found:
            rows = np.arange(part.first, min(part.first + size, 100))
            assert part.first == part.number * size
            assert part.crystals.ids.tolist() == crystals.ids[rows].tolist()
            assert part.crystals.formulas == crystals.select(rows).formulas
            np.testing.assert_array_equal(part.crystals.lattice, crystals.lattice[rows])
            np.testing.assert_array_equal(part.crystals.column("band_gap"), crystals.column("band_gap")[rows])


def test_other_sources_are_read_as_a_whole(crystals, tmp_path):
    (tmp_path / "good.cif").write_text(crystals.structure(0).to(fmt="cif"))
    (tmp_path / "bad.cif").write_text("no structure")
    pool = open_pool(str(tmp_path))
    assert isinstance(pool, MemoryPool)
    assert len(pool) == 1
    [(place, _)] = pool.unreadable
    assert place.endswith("bad.cif")


def test_identity_is_the_content(crystals):
    one, other = MemoryPool("a", crystals), MemoryPool("b", crystals.select(np.arange(99)))
    assert one.identity == MemoryPool("b", crystals).identity != other.identity


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "pool.parquet"
    path.write_bytes(b"PAR1 and so on")
    with pytest.raises(UserError, match="cannot be read as parquet"):
        open_pool(str(path))
