"""Weights that packages bring: found, checked, read without running anything, converted once."""

import hashlib
import importlib.metadata
import io
import json
import pickle  # noqa: TID251 (to write what is not to be run)
import shutil
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from tlzoo.cards import library, torch_archive
from tlzoo.cards.card import Card
from tlzoo.errors import UserError

POTENTIALS = ["chgnet", "chgnet-0.2.0", "chgnet-r2scan", "sevennet-0", "sevennet-l3i5"]
FOLDER = library.repository() / "checkpoints"


def installed(name):
    card = library.find(name).card
    if card.package.lacking:
        pytest.skip(f"{name} {card.package.lacking}")
    return card


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def saved(content, *, old=False):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


@pytest.mark.parametrize("old", [False, True])
def test_tensors_are_read_and_nothing_is_run(tmp_path, old):
    weight = torch.arange(24.0).reshape(4, 6)
    views = {"whole": weight, "part": weight[1:3, ::2], "turned": weight.T, "count": torch.tensor(7)}
    views |= {"parameter": torch.nn.Parameter(torch.ones(3)), "double": torch.ones(2).double()}
    state = {**views, "evil": Evil(tmp_path / "ran"), "array": np.arange(3), "scalar": 3}
    further = {"optimizer": [torch.device("cpu"), np.float64(2)], "counts": Counter(a=2)}
    content = saved({"model": {"state_dict": state}, **further}, old=old)
    found = torch_archive.tensors(content, ["model", "state_dict"], "a file")
    assert set(found) == set(views)
    for name, value in views.items():
        assert torch.equal(found[name], value)
    assert not (tmp_path / "ran").exists()
    torch.load(io.BytesIO(content), weights_only=False)  # noqa: TID251 (what it would do elsewhere)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "inside"),
    [
        (b"", []),
        (b"PK\x05\x06" + bytes(18), []),
        (saved([torch.ones(2)]), ["model"]),
        (saved({"model": torch.ones(2)})[:400], []),
        (saved({"model": torch.ones(200)}, old=True)[:-100], []),
        (saved({"model": torch.ones(200)}, old=True)[:120], []),
    ],
)
def test_other_files_hold_no_tensors(content, inside):
    with pytest.raises(UserError, match=r"^a file holds no tensors that torch\.save wrote: "):
        torch_archive.tensors(content, inside, "a file")


@pytest.mark.parametrize("old", [False, True])
def test_what_a_file_does_not_have_is_named(old):
    content = saved({"model": {"a": torch.ones(2)}}, old=old)
    with pytest.raises(
        UserError, match=r"^a file has no nothing, so it is of another --kind; it has model …$"
    ):
        torch_archive.tensors(content, ["nothing"], "a file")


@pytest.mark.parametrize("old", [False, True])
def test_a_tensor_is_no_larger_than_its_numbers(old):
    """Else a file of a few bytes would fill the memory."""
    content = saved({"a": torch.ones(1).expand(10**7)}, old=old)
    with pytest.raises(UserError, match="a tensor is larger than its numbers"):
        torch_archive.tensors(content, [], "a file")


def test_numbers_are_read():
    content = saved({"normalizer": {"mean": 2.5, "std": torch.tensor([0.5]), "name": "gap"}}, old=True)
    assert torch_archive.numbers(content, ["normalizer"], "a file") == {"mean": 2.5, "std": 0.5}


def test_a_damaged_index_is_told():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1})[:-3])
    with pytest.raises(UserError, match="holds no tensors"):
        torch_archive.tensors(file.getvalue(), [], "a file")


@pytest.mark.parametrize("name", POTENTIALS)
def test_the_cards_pin_the_installed_files(name):
    package = installed(name).package
    content = package.read()
    assert hashlib.sha256(content).hexdigest() == package.sha256


@pytest.mark.parametrize("name", POTENTIALS)
def test_what_is_read_is_what_torch_reads(name):
    package = installed(name).package
    found = torch_archive.tensors(package.read(), package.inside, name)
    trusted = torch.load(io.BytesIO(package.read()), map_location="cpu", weights_only=False)  # noqa: TID251 (its hash was checked)
    for key in package.inside:
        trusted = trusted[key]
    assert found.keys() == trusted.keys()
    assert all(torch.equal(found[key], value) for key, value in trusted.items())


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A package of two files on the path, its card in a folder of checkpoints."""
    content = saved({"state": {"weight": torch.ones(2, 3), "constant": torch.ones(4)}})
    site = tmp_path / "site"
    (site / "fakepot-1.2.dist-info").mkdir(parents=True)
    (site / "fakepot-1.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: fakepot\nVersion: 1.2\n"
    )
    (site / "fakepot").mkdir()
    (site / "fakepot" / "weights.pth").write_bytes(content)
    (site / "fakepot" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "cache"))
    document = json.loads((FOLDER / "chgnet.json").read_text())
    document["name"] = "fake"
    document["package"] |= {
        "name": "fakepot",
        "versions": ["1.2"],
        "file": "fakepot/weights.pth",
        "sha256": hashlib.sha256(content).hexdigest(),
        "inside": ["state"],
        "prefix": "network.",
        "without": ["const*"],
    }
    document["spec"]["head"]["in_dim"] = 3
    from tlzoo.cards.packaged import content as made

    draft = Card.of(document, "fake")
    document["sha256"] = hashlib.sha256(made(draft, draft.package)).hexdigest()
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    (zoo / "fake.json").write_text(json.dumps(document))
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(zoo))
    return site


def test_weights_are_converted_once_and_the_package_is_not_imported(fake):
    import safetensors.torch

    path = library.locate("fake")
    assert path.name == "fake.safetensors"
    assert path.with_suffix(".json").is_file()
    tensors = safetensors.torch.load_file(path)
    assert torch.equal(tensors["backbone.network.weight"], torch.ones(2, 3))
    assert not [name for name in tensors if "constant" in name]
    assert tensors["head.outs.0.weight"].tolist() == [[0, 0, 1]]
    assert "fakepot" not in sys.modules
    before = path.stat().st_mtime_ns
    (fake / "fakepot" / "weights.pth").unlink()  # what is in the cache needs it no more
    assert library.locate("fake") == path
    assert path.stat().st_mtime_ns == before


def test_a_tampered_cache_is_made_anew(fake):
    path = library.locate("fake")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert library.locate("fake") == path
    assert path.read_bytes() != content
    shutil.rmtree(path.parent)
    (fake / "fakepot" / "weights.pth").write_bytes(b"other")
    with pytest.raises(
        UserError, match=r"weights\.pth is not the file that the card pins: SHA-256 d9298a10d1b0…"
    ):
        library.locate("fake")
    assert not path.exists()


def test_another_version_is_not_read(fake):
    (fake / "fakepot-1.2.dist-info").rename(fake / "fakepot-1.3.dist-info")
    meta = fake / "fakepot-1.3.dist-info" / "METADATA"
    meta.write_text(meta.read_text().replace("1.2", "1.3"))
    with pytest.raises(
        UserError, match=r"needs the package fakepot 1\.2, here is 1\.3: pip install 'tlzoo\[fakepot\]'"
    ):
        library.locate("fake")


def test_a_missing_package_is_named_with_the_command(fake, tlzoo, monkeypatch):
    shutil.rmtree(fake / "fakepot-1.2.dist-info")
    told = "needs the package fakepot: pip install 'tlzoo[fakepot]'"
    listed = next(line for line in tlzoo("zoo", "list").out.splitlines() if line.startswith("fake "))
    assert listed.endswith(told)
    verified = tlzoo("zoo", "verify", "fake")
    assert (verified.code, verified.out) == (0, f"fake: skipped, it {told}\n")
    refused = tlzoo("predict", "fake", "semiconductors", "-o", "p.csv")
    assert refused.code == 2
    assert told in refused.err


def test_nothing_of_a_package_is_imported_to_find_it():
    for name in POTENTIALS:
        package = library.find(name).card.package
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(importlib, "import_module", None)
            assert isinstance(package.lacking, str)
