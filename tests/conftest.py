"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real data sets; tests that need it are skipped without it."""
    folder = os.environ.get("TLZOO_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TLZOO_DATA does not name a folder with the real data sets")
    return Path(folder)
