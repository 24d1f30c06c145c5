"""`tlzoo serve`: a real server, asked by programs, by twenty at once, with hostile files, and stopped."""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.data import named
from tlzoo.data.sources.parse import Document
from tlzoo.errors import UserError
from tlzoo.server import oracle, queue
from tlzoo.server.application import refused
from tlzoo.server.limits import ATOMS, BODY, CRYSTALS, FILES
from tlzoo.server.uploads import WANTED, read
from tlzoo.testing import workbench

MODELS = ("cgcnn-bg", "momentnet-all")
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
CIF, POSCAR = SALT.to(fmt="cif").encode(), SALT.to(fmt="poscar").encode()


class Server(NamedTuple):
    """A server that runs, and the folder for its temporary files."""

    process: subprocess.Popen[str]
    address: str
    temporary: Path

    def ask(self, method, path, body=None, headers=None):
        """Return status, headers and body of an answer."""
        host, port = re.fullmatch(r"http://(.*):(\d+)/", self.address).groups()
        connection = http.client.HTTPConnection(host, int(port), timeout=120)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def predict(self, files, models=()):
        """Post files as a browser does; return the status and what the answer says."""
        boundary = uuid.uuid4().hex
        parts = [('name="models"', name.encode()) for name in models]
        for name, content in files:
            quoted = name.replace('"', "%22").replace("\n", "%0A")
            parts.append((f'name="files"; filename="{quoted}"', content))
        body = b"".join(
            f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
            for head, content in parts
        )
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        status, _, answer = self.ask("POST", "/predict", body + f"--{boundary}--\r\n".encode(), kind)
        return status, json.loads(answer)

    def processes(self):
        """Return the process and those that it has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, children.split())]

    def memory(self):
        """Return the memory of all of them, in MB."""
        texts = (Path(f"/proc/{pid}/status").read_text() for pid in self.processes())
        return sum(int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) for text in texts) / 1000


def start(temporary, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "tlzoo", "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    line = process.stdout.readline()
    assert line.endswith("/ (Ctrl-C ends)\n"), process.stderr.read()
    return Server(process, line.split()[0], temporary)


@pytest.fixture(scope="module")
def server(tmp_path_factory, cache):
    running = start(tmp_path_factory.mktemp("temporary"), "--port", "0", *MODELS)
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.mark.parametrize("name", MODELS)
def test_says_what_the_command_line_says(server, tlzoo, tmp_path, name):
    (tmp_path / "in").mkdir()
    files = [("salt.cif", CIF), ("POSCAR", POSCAR)]
    for file, content in files:
        (tmp_path / "in" / file).write_bytes(content)
    assert tlzoo("predict", name, tmp_path / "in", "-o", tmp_path / "out.csv").code == 0
    wanted = pd.read_csv(tmp_path / "out.csv", keep_default_na=False).set_index("id")
    status, answer = server.predict(files, [name])
    assert (status, answer["problems"]) == (200, [])
    assert [(one["id"], one["file"]) for one in answer["crystals"]] == [
        ("salt", "salt.cif"),
        ("POSCAR", "POSCAR"),
    ]
    for crystal in answer["crystals"]:
        (said,) = crystal["predictions"]
        row = wanted.loc[crystal["id"]]
        assert said["answers"] == pytest.approx(
            dict(row.drop(["trust", "unseen_elements", "distance"])), rel=1e-5
        )
        assert (said["trust"], said["unseen_elements"]) == (row["trust"], row["unseen_elements"])
        assert said["distance"] == pytest.approx(row["distance"])
        assert crystal["formula"] == "NaCl"
        assert crystal["elements"].count("Na") == crystal["elements"].count("Cl") == 4


def test_models_and_health(server):
    known = json.loads(server.ask("GET", "/models")[2])
    assert [(model["name"], model["chosen"]) for model in known] == [(name, True) for name in MODELS]
    (gap,) = known[0]["targets"]
    assert (gap["name"], gap["unit"]) == ("band_gap", "eV")
    assert "band gap" in gap["about"]
    assert 0.1 < gap["mae"] < 0.5
    assert json.loads(server.ask("GET", "/health")[2])["waiting"] == 0
    described = json.loads(server.ask("GET", "/openapi.json")[2])
    assert set(described["paths"]) == {"/health", "/models", "/predict"}


# 200 atoms in general positions of a group of 192 operations
GROWN = (
    "data_x\n_symmetry_space_group_name_H-M 'F m -3 m'\n"
    + "".join(f"_cell_length_{name} 30\n" for name in "abc")
    + "".join(f"_cell_angle_{name} 90\n" for name in ("alpha", "beta", "gamma"))
    + "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    + "".join(
        f"Na{i} {i * 0.61803 % 1:.5f} {i * 0.75488 % 1:.5f} {i * 0.56984 % 1:.5f}\n" for i in range(1, 201)
    )
)

HOSTILE = {
    "grown.cif": (
        GROWN.encode(),
        "has no symmetry operations; with those of F m -3 m, it has 38,304 atoms in its cell",
    ),
    "empty.cif": (b"", "is empty"),
    "rubbish.cif": (bytes(range(256)) * 40, "cannot be read"),
    "no-sites.cif": (b"data_x\n_cell_length_a 3\n", "cannot be read (ValueError: it has no atom sites)"),
    "deep.json": (b'{"sites":' * 100_000, "cannot be read"),
    "import.json": (
        b'{"@module": "os", "@class": "system"}',
        "is no structure: it has the keys @module, @class",
    ),
    "bomb.zip": (b"PK\x03\x04" + bytes(100), f"is of a kind that is not taken here; {WANTED}"),
    "tricks.yaml": (b"!!python/object/apply:os.system [ls]", "is of a kind that is not taken here"),
    "paths.csv": (b"id,cif\na,/etc/passwd\n", "is of a kind that is not taken here"),
    "<img src=x onerror=alert(1)>.cif": (b"data_", "cannot be read"),
    "frames.xyz": (b"9999999999\n\nH 0 0 0\n", "cannot be read"),
    "nan.vasp": (POSCAR.replace(b"5.6399", b"nan"), "is read as a POSCAR"),
}


def test_what_is_wrong_with_a_file_spares_the_others(server):
    files = [(name, content) for name, (content, _) in HOSTILE.items()]
    status, answer = server.predict([*files, ("salt.cif", CIF)], MODELS[:1])
    assert status == 200
    assert [crystal["id"] for crystal in answer["crystals"]] == ["salt"]
    said = {problem["file"].split(", frame")[0]: problem["message"] for problem in answer["problems"]}
    assert set(said) == set(HOSTILE)
    for name, (_, message) in HOSTILE.items():
        assert said[name].startswith(message), name


def test_names_are_never_paths(server, tmp_path):
    secret = tmp_path / "secret.cif"
    secret.write_bytes(CIF)
    for name in (
        str(secret),
        f"../../../../../..{secret}",
        "..\\..\\secret.cif",
        "secret\x1b[2J\0.cif",
        "x" * 3000 + ".cif",
    ):
        status, answer = server.predict([(name, b"")])
        assert status == 422
        assert re.fullmatch(r"(secret|secret\\x1b\[2J|x{196})\.cif: is empty", answer["error"]), answer


def test_too_much_is_refused(server):
    status, answer = server.predict([("big.cif", CIF + b" " * BODY)])
    assert (status, answer["error"]) == (
        413,
        f"the request has over {BODY // 1024**2} MiB; send fewer files at a time, or use `tlzoo predict`",
    )
    # of a length that nobody announces
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.cif"\r\n\r\n'
    chunks = (head if i == 0 else b" " * 2**20 for i in range(BODY // 2**20 + 2))
    status, _, answer = server.ask(
        "POST", "/predict", chunks, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert (status, "MiB" in json.loads(answer)["error"]) == (413, True)
    assert server.predict([("a.cif", CIF)] * (FILES + 1)) == (
        400,
        {"error": f"Too many files. Maximum number of files is {FILES}."},
    )
    large = SALT * (4, 4, 4)
    assert len(large) > ATOMS
    status, answer = server.predict([("large.vasp", large.to(fmt="poscar").encode())])
    assert (status, answer["error"]) == (
        422,
        (
            "large.vasp: has 512 atoms in its cell; at most 500 are taken: give a smaller one, or use "
            "`tlzoo predict`"
        ),
    )
    frame = '1\nLattice="3 0 0 0 3 0 0 0 3" pbc="T T T"\nCu 0 0 0\n'
    status, answer = server.predict([("many.xyz", frame.encode() * (CRYSTALS + 1))])
    assert (status, answer["error"]) == (
        422,
        f"the files hold more than {CRYSTALS} crystals; send fewer at a time, or use `tlzoo predict`",
    )


def test_what_is_no_question(server):
    assert server.predict([("a.cif", CIF)], ["cgcnn-gb"])[1]["error"] == (
        "there is no model 'cgcnn-gb'; there are: cgcnn-bg, momentnet-all; did you mean 'cgcnn-bg'?"
    )
    for body, kind in (
        (b"", "text/plain"),
        (b"{}", "application/json"),
        (b"rubbish", "multipart/form-data; boundary=x"),
    ):
        status, _, answer = server.ask("POST", "/predict", body, {"Content-Type": kind})
        assert status in {400, 422}
        assert json.loads(answer)["error"]
    for path in ("/nothing", "/../../../../etc/passwd", "/..%2f..%2f__init__.py"):
        status, _, answer = server.ask("GET", path)
        assert (status, json.loads(answer)["error"]) == (
            404,
            "there is no such address; /openapi.json lists those there are",
        )


def test_pages_of_other_sites_are_refused(server):
    """One that has given its own name to this address, and one that posts to it."""
    status, _, answer = server.ask("GET", "/", headers={"Host": "attacker.example"})
    assert status == 400
    assert (
        "the request is for 'attacker.example', and this server is called 127.0.0.1, "
        in json.loads(answer)["error"]
    )
    status, _, answer = server.ask("POST", "/predict", headers={"Sec-Fetch-Site": "cross-site"})
    assert (status, json.loads(answer)["error"]) == (400, "the request comes from a page of another site")
    for host in ("localhost", "localhost:1234", "[::1]:8000", "192.168.1.2"):
        status, headers, _ = server.ask("GET", "/", headers={"Host": host})
        assert status == 200
        assert headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert "unsafe" not in headers["Content-Security-Policy"]


def test_the_page_asks_nothing_of_the_net(server):
    for path in ("/", "/page.css", "/page.js", "/crystal.js"):
        status, _, content = server.ask("GET", path)
        assert status == 200
        addresses = set(re.findall(r"https?://[^\s\"']+", content.decode()))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path


def test_twenty_at_once_and_no_growth(server):
    files = [(f"{i}.cif", CIF) for i in range(5)]
    with ThreadPoolExecutor(20) as pool:

        def twenty():
            found = list(pool.map(lambda _: server.predict(files), range(20)))
            assert {status for status, _ in found} == {200}
            answers = {json.dumps(answer) for _, answer in found}
            assert len(answers) == 1

        for _ in range(2):
            twenty()
        before = server.memory()
        for _ in range(5):
            twenty()
    assert server.memory() - before < 10
    assert json.loads(server.ask("GET", "/health")[2])["waiting"] == 0


def test_a_process_that_is_lost_is_started_anew(server):
    _, computing = server.processes()
    os.kill(computing, signal.SIGKILL)
    status, answer = server.predict([("a.cif", CIF)])
    if status != 200:  # the end of the process was not noticed yet
        assert (status, answer["error"]) == (422, queue.LOST)
        status, answer = server.predict([("a.cif", CIF)])
    assert status == 200
    assert server.processes()[1] != computing


def test_no_file_is_kept(server):
    """Nor written: larger ones stay in memory, too."""
    server.predict([("a.cif", CIF + b"#" * 3_000_000), ("b.cif", b"rubbish")])
    assert not list(server.temporary.rglob("*.*"))


def test_what_takes_too_long_is_ended(monkeypatch, cache):
    async def asked():
        asking = queue.Queue(MODELS[:1])
        await asking.start()
        first = asking._process
        try:
            monkeypatch.setattr(queue, "SECONDS", 0.0)
            with pytest.raises(UserError, match=r"^no answer within 0.0 s; send fewer or smaller") as late:
                await asking.ask([Document("a.cif", CIF)], MODELS[:1])
            # the request may be right
            assert refused(None, late.value).status_code == 503
            assert refused(None, UserError("is no CIF")).status_code == 422
            assert first.returncode is not None
            monkeypatch.setattr(queue, "SECONDS", 60)
            return await asking.ask([Document("a.cif", CIF)], MODELS[:1])
        finally:
            await asking.stop()

    assert len(asyncio.run(asked())["crystals"]) == 1


def test_a_start_that_nobody_waits_for_spoils_no_answer(cache):
    async def asked():
        asking = queue.Queue(MODELS[:1])
        try:
            first = asyncio.create_task(asking.ask([Document("a.cif", CIF)], MODELS[:1]))
            while asking._process is None:
                await asyncio.sleep(0.01)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            return await asking.ask([Document("a.cif", CIF)], MODELS[:1])
        finally:
            await asking.stop()

    assert len(asyncio.run(asked())["crystals"]) == 1


def test_ctrl_c_ends_it_and_its_process(tmp_path, cache):
    running = start(tmp_path, "--port", "0", "--host", "0.0.0.0", *MODELS[:1])  # noqa: S104 (what is tested)
    running.predict([("a.cif", CIF)])
    pids = running.processes()
    assert len(pids) == 2
    os.killpg(running.process.pid, signal.SIGINT)
    out, err = running.process.communicate(timeout=60)
    note = "tlzoo: everybody who can reach 0.0.0.0 can use this server; there are no passwords\n"
    assert (running.process.returncode, out, err) == (130, "", note + "tlzoo: stopped\n")
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_mistakes_on_the_command_line(tlzoo, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = tlzoo("serve", "--port", port)
    assert answer.code == 2
    assert answer.err == (
        f"tlzoo: 127.0.0.1:{port} cannot be listened at: Address already in use; choose another --port (0 "
        "takes a free one) or --host\n"
    )
    assert tlzoo("serve", "--port", "99999").err == "tlzoo: --port must be between 0 and 65535, got 99999\n"
    assert tlzoo("serve", "--host", "").err.startswith("tlzoo: --host must be an address or a name, got none")
    assert "there is no model" in tlzoo("serve", "--port", "0", "cgcnn-gb.safetensors").err
    monkeypatch.setitem(sys.modules, "fastapi", None)
    answer = tlzoo("serve")
    assert (answer.code, answer.err) == (
        2,
        "tlzoo: `tlzoo serve` needs fastapi: pip install 'tlzoo[serve]'\n",
    )


def test_nearest_crystals_of_a_run(config, tmp_path, cache):
    """Of the crystals it has learned from each is nearest to itself, with its label."""
    run = workbench.fit(config(), tmp_path / "run")
    learned = json.loads((run / "split.json").read_text())["train"][0]
    crystals = named.load("semiconductors")
    row = crystals.ids.tolist().index(learned)
    content = crystals.structure(row).to(fmt="poscar").encode()
    (crystal,) = oracle.answer([Document("a.vasp", content)], [str(run)])["crystals"]
    first, *others = crystal["predictions"][0]["nearest"]
    assert (first["id"], first["labels"]) == (learned, {"band_gap": crystals.columns["band_gap"][row]})
    assert first["distance"] == pytest.approx(0, abs=1e-3)
    assert len(others) == 2
    assert first["distance"] < others[0]["distance"] <= others[1]["distance"]
    # a checkpoint has learned from more than could be kept with it
    (crystal,) = oracle.answer([Document("a.vasp", content)], MODELS[:1])["crystals"]
    assert "nearest" not in crystal["predictions"][0]


def test_nearest_crystals_of_a_regression_on_frozen_features(tlzoo, few, tmp_path):
    kept = tmp_path / "kept"
    words = ("--target", "band_gap", "--from", "cgcnn-bg", "--layer", "embedding", "--cv", "4-fold")
    answer = tlzoo("features", few, *words, "-o", tmp_path / "out", "--save", kept)
    assert answer.code == 0, answer.err
    crystals = named.load("semiconductors")
    content = crystals.structure(3).to(fmt="poscar").encode()
    (crystal,) = oracle.answer([Document("a.vasp", content)], [str(kept)])["crystals"]
    (said,) = crystal["predictions"]
    assert said["answers"]["band_gap_q5"] < said["answers"]["band_gap"] < said["answers"]["band_gap_q95"]
    first = said["nearest"][0]
    assert (first["id"], first["labels"]) == (crystals.ids[3], {"band_gap": crystals.columns["band_gap"][3]})


def test_crystals_of_one_name():
    crystals, problems = read([Document("a/POSCAR", POSCAR), Document("b/POSCAR", POSCAR)])
    assert len(set(crystals.ids)) == 2
    assert not [problem for problem in problems if problem.severity == "error"]
