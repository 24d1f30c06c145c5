"""Packages that add classes: found by their metadata, never because a file names them."""

import json
import logging
import sys
from argparse import ArgumentParser

import numpy as np
import pytest
import torch

from tlzoo import plugins
from tlzoo.backbones import CGCNN
from tlzoo.data import sources
from tlzoo.data.learned_from import _splitter
from tlzoo.data.splits import Random, Splitter
from tlzoo.errors import UserError
from tlzoo.heads import Head, Regression
from tlzoo.model import checkpoint
from tlzoo.training.explanation import explained

HEADS = """
from tlzoo.heads import Regression

class Mild(Regression):
    def __init__(self, *, mildness: float = 1.0):
        super().__init__(hidden=())
        self.mildness = mildness
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package on the path as pip would: its modules and its metadata."""
    modules = set(sys.modules)

    def forget():
        plugins.registered.cache_clear()
        plugins.load.cache_clear()

    def add(code, *, name="lab-heads", version="1.2", module="lab_heads", entry=None):
        folder = tmp_path / f"{name}-{version}"
        metadata = folder / f"{module}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (folder / f"{module}.py").write_text(code)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        entry = f"[tlzoo.plugins]\nlab = {module}\n" if entry is None else entry
        (metadata / "entry_points.txt").write_text(entry)
        monkeypatch.syspath_prepend(folder)
        forget()
        return folder

    forget()
    yield add
    monkeypatch.undo()
    forget()
    for added in set(sys.modules) - modules:
        if added.startswith("lab_"):
            del sys.modules[added]


def mild(**arguments):
    return plugins.find("lab_heads.Mild", Head)(**arguments)


@pytest.fixture
def stored(install, tmp_path):
    """A stored model whose head is of a plug-in."""
    install(HEADS)
    checkpoint.save(tmp_path / "model", CGCNN(dim=4, depth=1), mild(mildness=0.5).bind(4), {"targets": ["y"]})
    return tmp_path / "model"


def test_nothing_is_imported_before_it_is_asked_for(install):
    install(HEADS)
    assert plugins.registered() == (plugins.Plugin("lab-heads", "1.2", "lab_heads"),)
    assert "lab_heads" not in sys.modules
    assert [cls.__name__ for cls in plugins.classes(Head)] == ["Mild"]


def test_a_stored_model_names_the_package(stored):
    head = json.loads(stored.with_suffix(".json").read_text())["spec"]["head"]
    assert head["class_path"] == "lab_heads.Mild"
    assert head["init_args"] == {"mildness": 0.5}
    assert head["package"] == {"name": "lab-heads", "version": "1.2"}
    loaded = checkpoint.load(stored)
    assert type(loaded.head) is type(mild())
    assert loaded.head.mildness == 0.5
    assert "package" not in loaded.card["spec"]["backbone"]


def test_the_backbone_as_a_part_of_a_configuration_has_no_package(stored):
    loaded = checkpoint.load(stored)
    part = {**loaded.card["spec"]["backbone"], "package": {"name": "x", "version": "1"}}
    network = checkpoint.Loaded(loaded.backbone, loaded.head, {"spec": {"backbone": part}}).network
    assert network == loaded.card["spec"]["backbone"]


def test_without_the_package_the_message_says_what_to_install(stored, monkeypatch):
    monkeypatch.undo()
    plugins.registered.cache_clear()
    with pytest.raises(
        UserError, match=r"needs the package lab-heads \(version 1\.2\), which is not installed"
    ):
        checkpoint.load(stored)


def test_an_installed_package_that_does_not_register(stored, install, monkeypatch):
    monkeypatch.undo()
    install(HEADS, version="1.1", entry="")
    wanted = (
        r"needs lab_heads\.Mild of the package lab-heads \(version 1\.2\); version 1\.1, which is installed"
    )
    with pytest.raises(UserError, match=wanted):
        checkpoint.load(stored)


def test_another_version_is_said(stored, install, monkeypatch, caplog):
    checkpoint.load(stored)
    assert not caplog.records
    monkeypatch.undo()
    install(HEADS, version="2.0")
    checkpoint.load(stored)
    wanted = "lab_heads.Mild was stored with lab-heads 1.2, here is lab-heads 2.0: it may answer otherwise"
    assert caplog.messages == [wanted]


@pytest.mark.parametrize("name", ["x; rm -rf /", "--index-url=http://evil", "", "a b", 7, None])
def test_what_no_package_can_be_called_is_not_repeated_as_a_command(name):
    with pytest.raises(UserError, match="is no class of tlzoo; for safety nothing else is built") as error:
        plugins.find("lab_gone.Net", Head, package={"name": name, "version": "1; x"})
    assert "pip" not in str(error.value)


def test_only_names_of_the_registered_module_are_built(install):
    folder = install(HEADS + "\nimport os\n")
    (folder / "lab_other.py").write_text("raise SystemExit('imported because a file says so')")
    for path in ("lab_heads.os", "lab_heads.Missing", "lab_heads.Regression.__init__"):
        with pytest.raises(UserError):
            plugins.find(path, Head)
    for path in ("lab_other.Mild", "lab_heads.os.system", "os.system"):
        with pytest.raises(UserError, match="is no class of tlzoo"):
            plugins.find(path, Head)
    assert "lab_other" not in sys.modules
    with pytest.raises(UserError, match=r"the package lab-heads 1\.2 has no Splitter Mild"):
        plugins.find("lab_heads.Mild", Splitter)


def test_a_broken_package_is_named(install, caplog):
    install("import lab_missing", name="lab-broken", module="lab_broken")
    install(HEADS)
    broken = r"the plug-in package lab-broken 1\.2 cannot be imported \(ModuleNotFoundError: No module named"
    with pytest.raises(UserError, match=broken):
        plugins.find("lab_broken.Net", Head)
    with caplog.at_level(logging.WARNING):
        (problem,) = plugins.load()
    assert problem in caplog.text
    assert [cls.__name__ for cls in plugins.classes(Head)] == ["Mild"]
    message = explained('key "model.head": no dot import path string: Nothing', ArgumentParser())
    assert message.startswith(
        "model.head: there is no class 'Nothing'; there are: Classification, Gaussian, Mild,"
    )
    assert message.endswith(f"; {problem}")


def test_own_classes_are_found_without_looking_for_others(monkeypatch):
    def refuse(**_):
        raise AssertionError("looked for plug-ins")

    plugins.registered.cache_clear()
    monkeypatch.setattr("importlib.metadata.entry_points", refuse)
    assert checkpoint.build(checkpoint.describe(CGCNN(dim=4, depth=1))).dim == 4
    plugins.registered.cache_clear()


def test_a_reader_of_another_ending(install, tmp_path):
    install("""
from tlzoo.crystals import Crystals
from tlzoo.data.sources import Reader
import numpy as np

class Cubes(Reader):
    endings = (".cubes",)

    def read(self, path):
        edges = np.array([float(line) for line in path.read_text().split()])
        return Crystals(
            ids=np.array([f"cube-{i}" for i in range(len(edges))], dtype=object),
            lattice=edges[:, None, None] * np.eye(3),
            offsets=np.arange(len(edges) + 1),
            numbers=np.full(len(edges), 84, dtype=np.uint8),
            frac_coords=np.zeros((len(edges), 3)),
            columns={"edge": edges},
        )
""")
    path = tmp_path / "two.cubes"
    path.write_text("3.3 3.4")
    crystals = sources.read(path, targets=["edge"])
    np.testing.assert_array_equal(crystals.column("edge"), [3.3, 3.4])
    assert list(crystals.ids) == ["cube-0", "cube-1"]
    assert crystals.origins[1] == f"{path}, crystal 2"
    with pytest.raises(UserError, match=r"is of no known kind; wanted a folder"):
        sources.read(path.rename(tmp_path / "two.spheres"))


def test_a_splitter_is_named_by_its_path(install):
    install("""
from dataclasses import dataclass
import numpy as np
from tlzoo.data.splits import Splitter

@dataclass(frozen=True)
class Halves(Splitter):
    shift: int = 0

    def divide(self, table):
        rows = np.roll(np.arange(len(table.crystals)), self.shift)
        return {"train": rows[::2], "val": rows[1::2], "test": rows[:0]}
""")
    kind = _splitter("lab_heads.Halves")
    assert kind(shift=1).spec() == {"class_path": "lab_heads.Halves", "init_args": {"shift": 1}}
    assert _splitter("tlzoo.data.splits.Random") is _splitter("Random") is Random
    assert Random().spec()["class_path"] == "tlzoo.data.splits.Random"
    for path in ("tlzoo.data.splits.Halves", "np", "lab_gone.Halves"):
        with pytest.raises(UserError, match=r"there is no splitter|is no class of tlzoo"):
            _splitter(path)


class Foreign(Regression):
    """A head of no package."""


class Forgetful(Regression):
    """A head that does not keep what it was given."""

    def __init__(self, *, width: int = 3):
        super().__init__(hidden=(width,))


def test_what_could_not_be_stored_is_refused(install):
    backbone = CGCNN(dim=4, depth=1)
    with pytest.raises(UserError, match=r"Foreign cannot be stored: .*entry point .*--model\.export false"):
        checkpoint.check_storable(backbone, Foreign().bind(4))
    checkpoint.check_storable(backbone, Foreign().bind(4), export=False)
    for export in (False, True):
        with pytest.raises(UserError, match="Forgetful does not keep its argument 'width'"):
            checkpoint.check_storable(backbone, Forgetful().bind(4), export=export)


def test_what_is_built_again_must_be_the_same(install):
    install("""
from tlzoo.heads import Regression

class Wider(Regression):
    def __init__(self, *, width: int = 3):
        super().__init__(hidden=(width,))
        self.width = width + 1

class Choosy(Regression):
    def __init__(self, *, width: int = 3):
        if width < 0:
            raise KeyError("width")
        super().__init__(hidden=(3,))
        self.width = -width
""")
    backbone = CGCNN(dim=4, depth=1)
    wider, choosy = (plugins.find(f"lab_heads.{name}", Head)().bind(4) for name in ("Wider", "Choosy"))
    before = torch.get_rng_state()
    wanted = (
        r"Wider built again from \{'width': 4\} has other weights: outs\.0\.weight is float32\[1, 4\], not"
    )
    with pytest.raises(UserError, match=wanted):
        checkpoint.check_storable(backbone, wider)
    with pytest.raises(UserError, match=r"Choosy cannot be built again from \{'width': -3\}: 'width'"):
        checkpoint.check_storable(backbone, choosy)
    assert torch.equal(torch.get_rng_state(), before)


def test_modules_beside_a_configuration(tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "config.yaml").write_text("{}")
        (folder / "lab_beside.py").write_text(f"HERE = {folder.name!r}")
        (folder / "tabnanny.py").write_text("raise SystemExit('in the place of an installed module')")
    path = list(sys.path)
    for folder in [*folders, folders[0]]:
        with plugins.beside(folder / "config.yaml", folder / "gone.yaml", '{"a": 1}' * 1000):
            import lab_beside

            assert folder.name == lab_beside.HERE
            assert sys.path == [*path, str(folder)]
            sys.modules.pop("tabnanny", None)
            __import__("tabnanny")
        assert sys.path == path
        del lab_beside
    sys.modules.pop("lab_beside")
