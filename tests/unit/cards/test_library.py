"""Where models are looked for, and what is said when there are none."""

import importlib.metadata
import os
import tomllib
from pathlib import Path, PurePosixPath

import pytest

from tlzoo.cards import fetch, library
from tlzoo.errors import UserError


def test_this_repository():
    root = library.repository()
    assert root == Path(__file__).parents[3]
    assert root / "checkpoints" in library.folders()


def test_a_name(bare, put):
    path = put("net.v1")
    assert library.names() == ["net.v1"]
    assert library.locate("net.v1") == path
    found = library.find("net.v1")
    assert (found.card.name, found.path) == ("net.v1", path)


def test_the_users_folder_comes_first(bare, put, monkeypatch, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setattr(library, "repository", lambda: root)
    put("one", "root/checkpoints")
    second = put("two", "root/checkpoints")
    first = put("one")
    assert library.folders() == [tmp_path / "mine", root / "checkpoints"]
    assert library.names() == ["one", "two"]
    assert library.names(root / "checkpoints") == ["one", "two"]
    assert library.locate("one") == first
    assert library.locate("two") == second


def test_no_checkpoints_yet(bare, tmp_path, monkeypatch):
    assert library.names() == []
    assert library.there_are() == f"there are no checkpoints yet in {tmp_path / 'mine'}"
    with pytest.raises(UserError, match="there is no checkpoint 'net'; there are no checkpoints yet in"):
        library.find("net")
    monkeypatch.delenv("TLZOO_CHECKPOINTS")
    assert library.there_are() == "there are no checkpoints yet"


def test_other_files_are_no_checkpoints(bare, put, tmp_path):
    put("net")
    (tmp_path / "mine" / "README.md").write_text("x")
    (tmp_path / "mine" / "Other Thing.json").write_text("{}")
    assert library.names() == ["net"]


def test_unknown_names(bare, put):
    put("net")
    meant = r"there are: net; did you mean 'net'\?$"
    with pytest.raises(UserError, match=rf"there is no checkpoint 'nett'; {meant}"):
        library.find("nett")
    with pytest.raises(
        UserError, match=rf"nett is no model: give a checkpoint, a run directory, or a .* {meant}"
    ):
        library.locate("nett")


def test_damaged_card(bare, put):
    put("net").with_suffix(".json").write_text('{"name": "net"}')
    with pytest.raises(
        UserError, match=r"net\.json is no card of a published checkpoint: description is missing"
    ):
        library.locate("net")


def test_paths(bare, put, tmp_path, monkeypatch):
    put("net")
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "net"
    run.mkdir()
    (run / "model.safetensors").touch()
    assert library.locate("net") == tmp_path / "mine" / "net.safetensors", "names win"
    assert library.locate("./net") == Path("net/model.safetensors")
    assert library.locate("net/model.safetensors") == Path("net/model.safetensors")
    with pytest.raises(UserError, match=r"there is no model other\.safetensors; a run directory holds one"):
        library.locate("other.safetensors")
    with pytest.raises(UserError, match=r"there is no model .*once `tlzoo fit` has finished"):
        library.locate(str(tmp_path / "mine"))


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "best.ckpt", "m.pkl", "m.bin", "checkpoint_300.tar"])
def test_pickles_are_refused_by_name(bare, name):
    with pytest.raises(UserError, match=r"is a pickled file or archive, which can run code when it is read"):
        library.locate(name)


def test_weights_that_are_elsewhere(bare, put, tmp_path, monkeypatch):
    path = put("net", weights=False)
    with pytest.raises(
        UserError, match=r"the weights of net .* do not come with the package.*zoo pull net --from PLACE`"
    ):
        library.locate("net")
    asked = []

    def receive(url, take, _):
        asked.append(url)
        (tmp_path / "answer").write_bytes(b"mine/net")
        with (tmp_path / "answer").open("rb") as answer:
            take(answer)

    monkeypatch.setattr(fetch, "_ask", receive)
    monkeypatch.setenv("TLZOO_CHECKPOINTS_URL", "https://host/v1/")
    found = library.locate("net")
    assert found.read_bytes() == b"mine/net"
    assert found.with_suffix(".json").read_bytes() == path.with_suffix(".json").read_bytes()
    assert asked == ["https://host/v1/net.safetensors"], "the card is there already"
    assert library.locate("net") == found
    assert len(asked) == 1


def test_addresses_and_artifacts_are_handed_on(bare, monkeypatch):
    monkeypatch.setattr(library, "fetch", lambda address: Path(address.url))
    monkeypatch.setattr(library, "fetch_artifact", Path)
    url = "https://host/net.safetensors"
    assert library.locate(f"{url}#sha256={'0' * 64}") == Path(url)
    assert library.locate("wandb:e/p/n:v0") == Path("wandb:e/p/n:v0")


class Listed(PurePosixPath):
    """A file of an installed package, as importlib.metadata lists it."""

    packages: Path

    def locate(self):
        return self.packages / self


def test_installed_package(monkeypatch, tmp_path):
    class Here(Listed):
        packages = tmp_path / "lib" / "python3" / "site-packages"

    Here.packages.mkdir(parents=True)
    listed = [
        "tlzoo/crystals.py",
        *(f"../../../share/tlzoo/checkpoints/net.{end}" for end in ("json", "safetensors")),
    ]
    monkeypatch.setattr(importlib.metadata, "files", lambda _: [Here(path) for path in listed])
    assert library._installed() == [tmp_path / "share" / "tlzoo" / "checkpoints"]
    monkeypatch.setattr(importlib.metadata, "files", lambda _: None)
    assert library._installed() == []

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    assert library._installed() == []


def test_a_wheel_brings_all_cards_and_the_weights_of_small_networks():
    root = library.repository()
    project = tomllib.loads((root / "pyproject.toml").read_text())
    (patterns,) = project["tool"]["setuptools"]["data-files"].values()
    brought = {path for pattern in patterns for path in root.glob(pattern)}
    folder = root / "checkpoints"
    assert {*folder.glob("*.json")} <= brought
    cards = [library.Card.read(folder / f"{name}.json") for name in library.names(folder)]
    large = {card.name for card in cards if card.bytes > 4e6 and not card.package}
    assert large
    files = {*folder.glob("*.safetensors")}
    assert files - brought == {path for path in files if path.name.partition(".")[0] in large}


def test_a_package_elsewhere_is_no_repository(monkeypatch, tmp_path):
    for folder in ("tlzoo", "checkpoints"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(library.tlzoo, "__file__", str(tmp_path / "tlzoo" / "__init__.py"))
    monkeypatch.setattr(library, "_installed", lambda: [Path("share")])
    monkeypatch.delenv("TLZOO_CHECKPOINTS", raising=False)
    assert library.repository() is None, "a folder checkpoints in site-packages is not ours"
    assert library.folders() == [Path("share")]
    (tmp_path / "pyproject.toml").touch()
    assert library.folders() == [tmp_path / "checkpoints"]


def test_home_is_understood(monkeypatch):
    monkeypatch.setenv("TLZOO_CHECKPOINTS", "~/zoo")
    assert library.folders()[0] == Path(os.path.expanduser("~/zoo"))  # noqa: PTH111 (the oracle)


def test_a_link_to_what_is_gone_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latest").symlink_to("gone", target_is_directory=True)
    with pytest.raises(UserError, match=r"^latest leads to gone, which is not there any more; name where"):
        library.locate("latest")
