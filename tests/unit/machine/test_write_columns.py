"""A table written without pandas has the bytes that pandas would have written."""

import numpy as np
import pandas as pd
import pytest

from tlzoo.machine import files
from tlzoo.machine.files import write_columns, write_table

NUMBERS = [-2.1536994, 1e-5, 1.25e-7, 123456789.0, 1e16, 0.1, 3.0, np.nan, np.inf, -0.0]
IDS = ["plain", "with, comma", 'with "quotes"', "007", "NA", "ü/Å", " space", "two\nlines", "nan", "-1"]


@pytest.mark.parametrize("rows", [4096, 3])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_bytes_are_those_of_pandas(ending, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROWS", rows)
    columns = {
        "id": np.array(IDS, dtype=object),
        "energy": np.array(NUMBERS, dtype=np.float32),
        "conv.0, wide": np.array(NUMBERS, dtype=np.float64),
    }
    write_columns(columns, tmp_path / "new" / f"ours.{ending}")
    write_table(pd.DataFrame(columns), tmp_path / f"theirs.{ending}")
    assert (tmp_path / "new" / f"ours.{ending}").read_bytes() == (tmp_path / f"theirs.{ending}").read_bytes()
