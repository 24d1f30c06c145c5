"""The page of `tlzoo serve` in a browser: files dropped and chosen, by mouse and keys, wide and narrow."""

import csv
import json
import re
import time

import pytest

from tests.integration import chromium
from tests.integration.test_server import CIF, POSCAR, start

pytestmark = pytest.mark.skipif(chromium.BINARY is None, reason="there is no Chromium on this machine")

MODELS = ("cgcnn-bg", "momentnet-all")
NAME = "<img src=x onerror=window.hacked=1>.cif"
SHOWN = "!document.getElementById('results').hidden"
PIXELS = "document.getElementById('view').getContext('2d').getImageData(0, 0, 300, 300).data.buffer"
VIEW = "document.getElementById('view').toDataURL()"


@pytest.fixture(scope="module")
def address(tmp_path_factory, cache):
    running = start(tmp_path_factory.mktemp("temporary"), "--port", "0", *MODELS)
    yield running.address
    running.process.kill()
    running.process.communicate()


@pytest.fixture
def page(address, tmp_path):
    with chromium.Page(address, tmp_path / "profile") as page:
        page.wait("document.querySelectorAll('#models input').length === 2")
        yield page
        assert page.complaints == []
        assert page.evaluate("window.hacked") is None


@pytest.fixture
def files(tmp_path):
    for name, content in ((NAME, CIF), ("salt.vasp", POSCAR), ("broken.cif", b"data_")):
        (tmp_path / name).write_bytes(content)
    return [tmp_path / name for name in (NAME, "salt.vasp", "broken.cif")]


def text(page, selector):
    return page.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")


def test_a_drop_shows_crystals_predictions_and_what_is_wrong(page, files, tmp_path):
    assert text(page, "#status") == "Choose or drop crystals."
    page.drop(files)
    page.wait(SHOWN)
    assert text(page, "#status") == "2 crystals, 1 left out:"
    assert text(page, "#problems").startswith("broken.cif: cannot be read")
    details = " ".join(text(page, "#details").split())
    assert f"8 atoms in the cell · {NAME} cgcnn-bg band_gap " in details
    assert re.search(
        r"band_gap .* \d\.\d+ eV .*mean test error 0.26 like what the model has learned from", details
    )
    assert re.search(r"momentnet-all formation_energy .* -2\.\d+ eV/atom .*mean test error 0.024 ", details)
    assert details.count("known: the model has learned from this crystal") == 1
    assert text(page, "#legend").split() == ["Na", "×", "4", "Cl", "×", "4"]
    table = [line.split("\t") for line in text(page, "#all").splitlines() if "\t" in line]
    assert [line[:2] for line in table[-2:]] == [[NAME.removesuffix(".cif"), "NaCl"], ["salt", "NaCl"]]
    page.screenshot(tmp_path / "page.png")


def test_what_cannot_be_sent_is_said(page, tmp_path):
    (tmp_path / "folder").mkdir()
    page.drop([tmp_path / "folder"])
    page.wait("document.getElementById('status').className === 'bad'")
    assert text(page, "#status") == "A folder cannot be read; drop the files in it."
    (tmp_path / "large.cif").write_bytes(b" " * 11 * 2**20)
    page.choose("#files", [tmp_path / "large.cif"])
    page.wait("document.getElementById('status').innerText.includes('MiB')")
    assert text(page, "#status") == "These files have 11 MiB; at most 10 are taken at a time."


def test_without_a_file_of_ones_own(page):
    page.evaluate("document.getElementById('example').click()")
    page.wait(SHOWN)
    assert text(page, "h2") == "silicon: Si"
    assert page.evaluate("document.getElementById('example').hidden")


def test_keys_alone_turn_the_crystal_and_choose_another(page, files):
    page.choose("#files", files)
    page.wait(SHOWN)
    page.evaluate("document.getElementById('view').focus()")
    seen = {page.evaluate(VIEW)}
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.press(key)
        seen.add(page.evaluate(VIEW))
    assert len(seen) == 4
    assert (
        page.evaluate("document.getElementById('view').getAttribute('aria-label')")
        == "NaCl: cell with 4 Na, 4 Cl"
    )
    page.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == NAME.removesuffix(".cif")
    page.evaluate("document.querySelector('#all tbody tr:nth-child(2) button').click()")
    assert text(page, "h2") == "salt: NaCl"
    assert page.evaluate("document.querySelector('[aria-current=true] button').innerText") == "salt"


def test_another_choice_of_models_predicts_again(page, files):
    page.choose("#files", files[1:2])
    page.wait(SHOWN)
    page.evaluate("document.querySelector('input[value=cgcnn-bg]').click()")
    page.wait("!document.getElementById('details').innerText.includes('cgcnn-bg')")
    assert text(page, "#details").count("momentnet-all") == 1
    page.evaluate("document.querySelector('input[value=momentnet-all]').click()")
    assert text(page, "#status") == "Choose a model."


def test_the_table_to_download(page, files, tmp_path):
    page.choose("#files", files)
    page.wait(SHOWN)
    folder = tmp_path / "downloads"
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.evaluate("document.getElementById('download').click()")
    for _ in range(600):
        if (folder / "predictions.csv").is_file():
            break
        time.sleep(0.1)
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["model"], row["property"], row["unit"]) for row in rows[11:14]] == [
        ("salt", "cgcnn-bg", "band_gap", "eV"),
        ("salt", "momentnet-all", "formation_energy", "eV/atom"),
        ("salt", "momentnet-all", "band_gap", "eV"),
    ]
    assert rows[0]["file"] == NAME
    assert 3 < float(rows[0]["prediction"]) < 8
    assert [row["trust"] for row in rows[:3]] == ["like training", "in training", "in training"]


@pytest.mark.parametrize("dark", [False, True])
def test_narrow_and_dark(page, files, dark):
    page.size(390, 844, dark=dark)
    page.choose("#files", files)
    page.wait(SHOWN)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 100) == dark
    assert page.evaluate(f"new Set(new Uint32Array({PIXELS})).size") > 200, "the canvas is empty"


def test_a_server_that_is_gone_is_said(page, files):
    page.call("Network.enable")
    speed = dict.fromkeys(("latency", "downloadThroughput", "uploadThroughput"), 0)
    page.call("Network.emulateNetworkConditions", offline=True, **speed)
    page.choose("#files", files)
    page.wait("document.getElementById('status').className === 'bad'")
    assert text(page, "#status") == "The server does not answer; is it still running?"
    page.complaints.clear()
