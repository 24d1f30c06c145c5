"""`tlzoo predict`: to the screen, into a pipe, into a file."""

import io
import json
import os
import resource
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def run(tmp_path_factory, few, tlzoo):
    """A short training on a few crystals, tested."""
    from tlzoo.testing import workbench

    path = tmp_path_factory.mktemp("run")
    config = workbench.write_config(path / "config.yaml", few, {})
    folder = workbench.fit(config, path / "run")
    answer = tlzoo("test", folder)
    assert answer.code == 0, answer.err
    return folder


def test_into_a_pipe_goes_what_goes_into_a_file(run, few, tlzoo, tmp_path):
    piped = tlzoo("predict", run, few)
    assert piped.code == 0, piped.err
    assert tlzoo("predict", run, few, "-o", tmp_path / "said.csv").code == 0
    assert piped.out == (tmp_path / "said.csv").read_text()
    assert piped.out.splitlines()[0] == "id,band_gap,band_gap_q5,band_gap_q95,trust,unseen_elements,distance"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_shows_a_table(run, few):
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tlzoo", "predict", str(run), str(few)]
    with subprocess.Popen(
        command, stdout=theirs, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "100"}
    ) as process:
        os.close(theirs)
        shown = b""
        # the other end is closed when the process ends: an error on Linux, nothing more on others
        try:
            while some := os.read(ours, 65536):
                shown += some
        except OSError:
            pass
        assert process.wait() == 0, process.stderr.read()
    os.close(ours)
    lines = shown.decode().replace("\r\n", "\n").splitlines()
    assert lines[0].endswith(": 24 crystals")
    assert lines[2].split() == ["property", "unit", "mean", "test", "error", "intervals", "held"]
    assert " ± " in lines[7]
    assert sum("known: in training" in line for line in lines) == 14
    assert "… and 4 more: -o FILE writes all" in lines


def test_a_device_that_is_not_there_is_refused(run, few, tlzoo):
    import torch

    answer = tlzoo("predict", run, few, "--device", "tpu")
    assert answer.code == 2
    assert "--device: there is no 'tpu'; there are: auto, cpu, cuda, mps" in answer.err
    assert tlzoo("predict", run, few, "--device", "cpu").code == 0
    if not torch.cuda.is_available():
        answer = tlzoo("predict", run, few, "--device", "cuda")
        assert answer.code == 2
        assert "there is no NVIDIA or AMD GPU here that torch can use; take --device cpu" in answer.err


def test_intervals_are_those_of_the_run(run, few, tlzoo, tmp_path):
    """The card has them, the metrics what they held of the test part, and the screen says so."""

    import pandas as pd

    card = json.loads((run / "model.json").read_text())["intervals"]["band_gap"]
    metrics = json.loads((run / "metrics.json").read_text())["intervals"]["band_gap"]
    known = pd.read_csv(run / "predictions.csv")
    errors = {
        part: (rows["target"] - rows["prediction"]).abs().to_numpy() for part, rows in known.groupby("part")
    }
    # of four crystals the largest error is the most that can be said
    assert card["crystals"] == 4
    assert card["widths"]["0.9"] == pytest.approx(errors["val"].max(), rel=1e-5)
    assert card["left_out"] == "validation crystals, by which the epoch was chosen"
    held = int((errors["test"] <= card["widths"]["0.9"]).sum())
    assert metrics["test"] == {"held": held, "crystals": 4}
    shown = tlzoo("test", run)
    assert (
        f"should contain 80 % (from 4 {card['left_out']}); it contains {held} of 4 test crystals" in shown.out
    )
    said = tlzoo("predict", run, few, "-o", tmp_path / "said.csv")
    assert said.code == 0, said.err
    table = pd.read_csv(tmp_path / "said.csv")
    half = table["band_gap_q95"] - table["band_gap"]
    assert half.to_numpy() == pytest.approx(card["widths"]["0.9"], rel=1e-4)


def test_where_the_last_epoch_is_kept_validation_has_not_chosen_it(config, tlzoo, tmp_path):
    from tlzoo.testing import workbench

    folder = workbench.fit(config({"model.keep": "last"}), tmp_path / "last")
    assert tlzoo("test", folder).code == 0
    interval = json.loads((folder / "metrics.json").read_text())["intervals"]["band_gap"]
    assert interval["left_out"] == "validation crystals"
    assert interval["test"]["crystals"] == 4


def test_what_intervals_hold_of_other_crystals_is_counted(run, tlzoo, tmp_path):

    import pandas as pd

    from tlzoo.data import named

    answer = tlzoo("test", run, "--on", "semiconductors", "-o", tmp_path / "on")
    assert answer.code == 0, answer.err
    assert tlzoo("predict", run, "semiconductors", "-o", tmp_path / "said.csv").code == 0
    said = pd.read_csv(tmp_path / "said.csv")
    truth = named.load("semiconductors").column("band_gap")
    held = int(said["band_gap_q5"].le(truth).mul(said["band_gap_q95"].ge(truth)).sum())
    metrics = json.loads((tmp_path / "on" / "metrics.json").read_text())
    assert metrics["intervals"]["band_gap"] == {"held": held, "crystals": 203}
    assert f"90 % intervals of band_gap contain {held} of 203" in answer.out


@pytest.mark.parametrize("head", ["Gaussian", "Quantile"])
def test_heads_that_state_an_interval_have_it_corrected(head, few, tlzoo, config, tmp_path):

    import numpy as np
    import pandas as pd

    path = config({"model.head": {"class_path": head, "init_args": {"hidden": [8]}}})
    assert tlzoo("fit", "--config", path, "--run_dir", tmp_path / "run").code == 0
    card = json.loads((tmp_path / "run" / "model.json").read_text())["intervals"]["band_gap"]
    assert card["kind"] == {"Gaussian": "std", "Quantile": "quantiles"}[head]
    assert tlzoo("predict", tmp_path / "run", few, "-o", tmp_path / "said.csv").code == 0
    said = pd.read_csv(tmp_path / "said.csv").set_index("id")
    known = pd.read_csv(tmp_path / "run" / "predictions.csv", dtype={"id": str}).set_index("id")
    left = known[known["part"] == "val"]
    ends = said.loc[left.index, ["band_gap_q5", "band_gap_q95"]].to_numpy()
    target = left["target"].to_numpy()
    # the largest score of the validation part is the width: all of it is held, one crystal just so
    assert (ends[:, 0] <= target + 1e-5).all()
    assert (target <= ends[:, 1] + 1e-5).all()
    assert np.abs(ends - target[:, None]).min() < 1e-4


def test_contributions_of_atoms(run, few, tlzoo, tmp_path):
    """Their mean is the prediction; a table, and a picture beside it."""
    piped = tlzoo("predict", run, few, "--per-atom")
    assert piped.code == 0, piped.err
    assert piped.out.splitlines()[0] == "id,atom,element,x,y,z,band_gap"
    answer = tlzoo("predict", run, few, "--per-atom", "-o", tmp_path / "atoms.csv")
    assert answer.code == 0, answer.err
    assert (tmp_path / "atoms.png").stat().st_size > 10_000
    atoms, said = (
        pd.read_csv(tmp_path / "atoms.csv"),
        pd.read_csv(io.StringIO(tlzoo("predict", run, few).out)),
    )
    means = atoms.groupby("id", sort=False)["band_gap"].mean()
    assert means.index.tolist() == said["id"].tolist()
    np.testing.assert_allclose(means, said["band_gap"], rtol=1e-4, atol=1e-5)
    refused = tlzoo("predict", "chgnet", few, "--per-atom")
    assert (refused.code, refused.out) == (2, "")
    assert "by mean, sum or attention; this model is CHGNet with pooling statistics" in refused.err


def test_contributions_on_the_screen():
    from tlzoo.commands import per_atom

    atoms = pd.DataFrame({"id": "TiO", "atom": range(3), "element": ["Ti", "O", "O"], "gap": [3.0, 1.0, 1.0]})
    lines = list(per_atom.lines(atoms, {"gap": "eV"}, "mean"))
    wanted = ("gap", "crystal: element (atoms) eV", "TiO: Ti 3.000", "TiO: O (2) 1.000")
    assert [" ".join(line.split()) for line in lines[:4]] == [*wanted]
    assert "mean of the contributions of a crystal's atoms is its prediction" in lines[5]


POSCAR = "Si2\n1.0\n0 2.7 2.7\n2.7 0 2.7\n2.7 2.7 0\nSi\n2\nDirect\n0 0 0\n.25 .25 .25\n"
XYZ = (
    '1\nLattice="0 2.7 2.7 2.7 0 2.7 2.7 2.7 0" Properties=species:S:1:pos:R:3\nSi 0 0 0\n'
    '1\nLattice="0 2.6 2.6 2.6 0 2.6 2.6 2.6 0" Properties=species:S:1:pos:R:3\nSi 0 0 0\n'
)


FRAME = XYZ[: len(XYZ) // 2]


@pytest.mark.parametrize(
    ("text", "ids"), [(POSCAR, ["stdin"]), (FRAME, ["stdin"]), (XYZ, ["stdin-1", "stdin-2"])]
)
def test_standard_input_is_read_as_a_file_would_be(run, tlzoo, tmp_path, monkeypatch, text, ids):
    file = tmp_path / ("POSCAR" if text == POSCAR else "some.xyz")
    file.write_text(text)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    piped, read = tlzoo("predict", run, "-"), tlzoo("predict", run, file)
    assert piped.code == 0, piped.err
    rows = [line.split(",", 1)[1] for line in piped.out.splitlines()]
    assert rows == [line.split(",", 1)[1] for line in read.out.splitlines()]
    assert [line.partition(",")[0] for line in piped.out.splitlines()[1:]] == ids


def test_formulas_from_standard_input(tlzoo, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"BaTiO3\n\nSi\n")))
    piped, named = tlzoo("predict", "roost-fe-bg", "-"), tlzoo("predict", "roost-fe-bg", "BaTiO3", "Si")
    assert piped.code == 0, piped.err
    tables = [pd.read_csv(io.StringIO(answer.out)) for answer in (piped, named)]
    assert tables[0]["id"].tolist() == ["BaTiO3", "Si"]
    # one batch or two are rounded otherwise
    pd.testing.assert_frame_equal(*tables, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "inputs", "said"),
    [
        ("", ("-",), "standard input is empty; wanted the text of a CIF, POSCAR"),
        ("rubbish text", ("-",), "standard input: "),
        ('{"lattice":1}', ("-",), "standard input: "),
        ("batio3", ("-",), "standard input, line 1: 'batio3' cannot be read as a formula"),
        ("CuSO4.5H2O", ("-",), "write CuSO4·5H2O"),
        ("BaTiO3\nXx2\n", ("-",), "standard input, line 2: "),
        (POSCAR, ("-", "-"), "- is named twice, and standard input can be read once"),
    ],
)
def test_what_cannot_be_read_from_standard_input(run, tlzoo, monkeypatch, text, inputs, said):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    answer = tlzoo("predict", run, *inputs)
    assert answer.code == 2
    assert said in answer.err


def cif(sites):
    rng = np.random.default_rng(0)
    cell = [f"_cell_length_{one} 60" for one in "abc"]
    cell += [f"_cell_angle_{one} 90" for one in ("alpha", "beta", "gamma")]
    names = [f"_atom_site_{one}" for one in ("label", "type_symbol", "fract_x", "fract_y", "fract_z")]
    atoms = [f"Si{i} Si {x:.5f} {y:.5f} {z:.5f}" for i, (x, y, z) in enumerate(rng.random((sites, 3)))]
    group = "_symmetry_space_group_name_H-M 'F m -3 m'"
    return "\n".join(["data_x", *cell, group, "loop_", *names, *atoms, ""])


def test_a_small_file_that_grows_is_refused_before_it_does(run, tlzoo, tmp_path, few):
    """Of 38,304 atoms the distances alone would take 12 GB."""
    (tmp_path / "big.cif").write_text(cif(200))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = tlzoo("predict", run, tmp_path / "big.cif")
    assert answer.code == 2
    assert "38,304 atoms in its cell, at most 5,000 are taken: give a smaller cell" in answer.err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_a_row_of_a_table_with_too_many_atoms_is_named(run, tlzoo, tmp_path):
    lines = ["6000", 'Lattice="60 0 0 0 60 0 0 0 60" Properties=species:S:1:pos:R:3']
    lines += [f"Si {3 * (i % 20)} {3 * (i // 20 % 20)} {3 * (i // 400)}" for i in range(6000)]
    (tmp_path / "two.xyz").write_text(XYZ[: len(XYZ) // 2] + "\n".join(lines) + "\n")
    answer = tlzoo("predict", run, tmp_path / "two.xyz")
    assert answer.code == 2
    assert "two.xyz, frame 2: has 6,000 atoms in its cell, at most 5,000 are taken" in answer.err
    answer = tlzoo("predict", run, tmp_path / "two.xyz", "--skip-bad")
    assert answer.code == 0, answer.err
    assert len(answer.out.splitlines()) == 2


def test_an_estimator_without_predictions_says_so(tlzoo, tmp_path, few):
    (tmp_path / "estimator.json").write_text("{}")
    answer = tlzoo("predict", tmp_path, few)
    assert answer.code == 2
    assert "a CrystalEmbedding predicts nothing; tlzoo.load takes it in Python" in answer.err
