"""Checkpoints share one file of the keys of their training crystals, and know the same as before."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from maintenance import domains
from tlzoo.cards import library
from tlzoo.cards.beside import DOMAIN, KEYS, Beside
from tlzoo.model import trust
from tlzoo.model.domain import read

NAMES = ("cgcnn-bg", "cgcnn-gv", "momentnet-u")


def known(folder, name):
    card = json.loads((folder / f"{name}.json").read_text())
    return card, read(folder / f"{name}.safetensors", card)


def rows(keys):
    return {tuple(one.tobytes() for one in row) for row in zip(*keys.arrays.values(), strict=True)}


@pytest.fixture
def folder(tmp_path):
    """Three checkpoints of the repository, the last two with keys of their own, as they are published."""
    ours = library.repository() / "checkpoints"
    for name in NAMES:
        shutil.copy(ours / f"{name}.json", tmp_path)
    shutil.copy(ours / domains.SHARED, tmp_path)
    for name in NAMES:
        shutil.copy(ours / f"{name}.domain.safetensors", tmp_path)
    for name in NAMES[1:]:
        card, domain = known(tmp_path, name)
        content = replace(domain, keys=domain.keys.select(np.arange(900))).content()
        (tmp_path / f"{name}.domain.safetensors").write_bytes(content)
        card[DOMAIN] = Beside.describing(f"{name}.domain.safetensors", content).fields()
        del card[KEYS]
        (tmp_path / f"{name}.json").write_text(json.dumps(card))
    return tmp_path


@pytest.mark.parametrize("gone", ["keys", "both"])
def test_of_files_that_were_not_copied_along(folder, gone):
    before = known(folder, "cgcnn-bg")[1]
    (folder / domains.SHARED).unlink()
    if gone == "both":
        (folder / "cgcnn-bg.domain.safetensors").unlink()
    domain = known(folder, "cgcnn-bg")[1]
    assert domain.keys is None
    assert domain.measures == (gone == "keys"), "distances need no keys"
    table = {"id": np.array(["a"]), "trust": np.array(["like training"]), "unseen": np.array([""]), "d": None}
    said = trust.said("cgcnn-bg", domain, table)
    assert f"{domains.SHARED} is missing beside its weights" in said
    if gone == "keys":
        assert domain.usual == before.usual
        assert said.startswith("whether cgcnn-bg has learned from any of them is not known: ")


def test_they_know_the_same_as_before(folder, capsys):
    before = {name: known(folder, name)[1] for name in NAMES}
    assert domains.main(folder) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told] == [
        *(f"{name}.domain.safetensors" for name in NAMES[1:]),
        domains.SHARED,
    ]
    for name in NAMES:
        card, domain = known(folder, name)
        assert card[KEYS]["file"] == domains.SHARED
        assert rows(domain.keys) == rows(before[name].keys)
        assert (domain.points == before[name].points).all()
        assert domain.usual == before[name].usual
    everything = (folder / domains.SHARED).read_bytes()
    assert domains.main(folder) == 0
    assert capsys.readouterr().out == "all of them share their keys\n"
    assert (folder / domains.SHARED).read_bytes() == everything
