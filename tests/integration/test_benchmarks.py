"""The measurements work and count what they say; no time is asserted."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from benchmarks import (
    against,
    agreement,
    alignn,
    gaps,
    matbench,
    recommendation,
    report,
    roofline,
    scaling,
    screening,
    several,
    startup,
    two_workers,
)
from benchmarks.__main__ import faults, main
from benchmarks.worker import Table, batches
from tlzoo.backbones import ALIGNN
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.descriptors.stores import batch_of
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_options import GraphOptions

ROOT = Path(__file__).parents[2]


def table(rows: list[int]) -> Table:
    crystals = named.load("semiconductors").select(rows)
    return Table(
        crystals.lattice,
        crystals.offsets,
        crystals.numbers.astype(np.int64),
        crystals.frac_coords,
        np.zeros(len(crystals), dtype=np.float32),
        np.zeros((1, 92), dtype=np.float32),
    )


def crystals_of(given: Table) -> Crystals:
    ids = np.array([str(row) for row in range(len(given))], dtype=object)
    return Crystals(ids, given.lattice, given.offsets, given.numbers.astype(np.uint8), given.frac_coords)


def test_a_part_measures_and_writes(tmp_path, capsys):
    asked = ["assembly", "--data", "semiconductors", "--crystals", "4", "--repeats", "2", "--threads", "1"]
    assert main([*asked, "--no-peers", "--results", str(tmp_path)]) == 0
    part = json.loads((tmp_path / "speed.json").read_text())["assembly"]
    rows = [row for comparison in part["comparisons"] for row in comparison["rows"]]
    assert [row["who"] for row in rows] == ["tlzoo", "tlzoo"]
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in rows)
    assert rows[1]["facts"]["angles"] >= rows[1]["facts"]["angles stored"] > 0
    assert part["machine"]["threads"] == 1
    assert "| tlzoo | **" in capsys.readouterr().out
    assert (tmp_path / "speed.png").stat().st_size < 100_000
    # another part later keeps the first
    report.keep(tmp_path, "agreement", {**part, "comparisons": [], "agreement": []})
    assert "## assembly" in report.write(tmp_path)


@pytest.mark.parametrize(("network", "own"), [("CGCNN", True), ("MomentNet", False), ("ALIGNN", True)])
def test_a_step_of_several_networks(network, own, tmp_path):
    some = named.load("semiconductors").select(np.arange(40))
    assert several.measured(network, tmp_path, some, "band_gap", 2, 8, own=own, epochs=1) > 0


def test_an_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["speed"])
    assert "no part speed; there are: neighbours, line_graph" in capsys.readouterr().err


def test_disagreement_and_failures_are_faults():
    row = {"name": "a peer", "outputs": 2e-4, "gradients": float("nan")}
    assert faults("agreement", {"agreement": [row]}) == [
        "a peer: outputs differ by 2.0e-04, more than 1e-04",
        "a peer: gradients differ by nan, more than 1e-03",
    ]
    rows = [
        {"who": "tlzoo", "ours": True, "error": "broken"},
        {"who": "peer", "ours": False, "error": "gone"},
    ]
    assert faults("epoch", {"comparisons": [{"title": "all", "rows": rows}]}) == ["epoch, all: tlzoo: broken"]


def test_ratios_are_taken_turn_by_turn():
    ours = {"crystals": 10, "seconds": [1.0, 2.0]}
    theirs = {"crystals": 5, "seconds": [1.0, 4.0]}
    assert report.ratios(ours, theirs) == [2.0, 4.0]


def test_graphs_of_a_file_are_those_of_the_store(tmp_path):
    """Bonds and angles in any order, put into a batch, give the embedding of tlzoo's own batch."""
    given = table([0, 5, 9])
    torch.manual_seed(0)
    backbone = ALIGNN(
        dim=8, alignn_layers=1, gcn_layers=1, graph=GraphOptions(angles=True, merge_tolerance=0.0)
    ).eval()
    store = [batch_of(crystals_of(given).select([row]), backbone.graph) for row in range(3)]
    rng = np.random.default_rng(0)
    path = str(tmp_path / "graphs.npz")
    np.savez(path, **shuffled(store, rng))
    rows = np.array([2, 0])
    with torch.inference_mode():
        own = torch.cat([backbone(store[row]) for row in rows])
        torch.testing.assert_close(backbone(agreement.batch(path, rows)), own)


def shuffled(store: list[Batch], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Graphs of single crystals as a peer might write them, bonds and angles in disorder."""
    bonds, angles, length, cosine = [], [], [], []
    for one in store:
        order, other = (rng.permutation(one[key].shape[1]) for key in (keys.EDGE_INDEX, keys.ANGLE_INDEX))
        place = np.argsort(order)
        bonds.append(one[keys.EDGE_INDEX].numpy()[:, order])
        length.append(one[keys.BOND_LENGTH].numpy()[order])
        angles.append(place[one[keys.ANGLE_INDEX].numpy()[:, other]])
        cosine.append(one[keys.ANGLE_COSINE].numpy()[other])
    return {
        "atom_offsets": np.cumsum([0, *(len(one[keys.NUMBERS]) for one in store)]),
        "bond_offsets": np.cumsum([0, *map(len, length)]),
        "angle_offsets": np.cumsum([0, *map(len, cosine)]),
        "numbers": np.concatenate([one[keys.NUMBERS].numpy() for one in store]),
        "bonds": np.concatenate(bonds, axis=1),
        "length": np.concatenate(length),
        "angles": np.concatenate(angles, axis=1),
        "cosine": np.concatenate(cosine),
    }


def test_floor_counts_products_and_what_is_kept():
    layer = nn.Linear(8, 4, bias=False)
    data = Batch(x=torch.randn(10, 8))
    found = roofline.floor(lambda one: layer(one.x).exp().sum(), [layer], [data, data], low=False)
    assert found["flops"] == 2 * 2 * (2 * 10 * 8 * 4)  # two batches, forward and the gradient of the weight
    assert found["saved"] == 2 * 10 * 4 * 4  # exp keeps its result; input and weight are known
    assert found["bytes"] == 2 * found["saved"] + 2 * 10 * 8 * 4 + 2 * 10 * 8 * 4 * 4


def test_products_in_place_count():
    weight = nn.Linear(8, 4, bias=False)
    total = torch.zeros(10, 4)
    data = Batch(x=torch.randn(10, 8))

    def loss(one):
        with torch.no_grad():
            total.addmm_(one.x, weight.weight.t())
        return weight.weight.sum()

    assert roofline.floor(loss, [weight], [data], low=False)["flops"] == 2 * 10 * 8 * 4


def test_supercells_are_the_same_crystal():
    given = table([3])
    larger = scaling.supercell(given, (2, 1, 3), 0.0)
    options = GraphOptions()
    small, large = (batch_of(crystals_of(one), options) for one in (given, larger))
    atoms = given.offsets[-1]
    assert larger.offsets.tolist() == [0, 6 * atoms]
    assert sorted(small[keys.BOND_LENGTH].tolist()) == pytest.approx(
        sorted(large[keys.BOND_LENGTH].tolist()), abs=1e-5
    )
    moved = scaling.supercell(given, (2, 1, 3), 0.02)
    assert len(batch_of(crystals_of(moved), options)[keys.NUMBERS]) == 6 * atoms


def test_exponent_is_that_of_the_upper_half():
    curve = scaling.Curve("", [1.0, 2.0, 4.0, 8.0], [5.0, 5.0, 16.0, 64.0])
    assert scaling.exponent(curve) == pytest.approx(2.0)


def test_batches_take_all_rows_in_order():
    assert [rows.tolist() for rows in batches(5, 2)] == [[0, 1], [2, 3], [4]]


def test_everything_a_peer_needs_is_pinned():
    text = (ROOT / "benchmarks/peers/requirements.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) > 50
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    own = (ROOT / "constraints.txt").read_text()
    torch_ = next(line for line in lines if line.startswith("torch=="))
    assert torch_ in own.splitlines()


def test_recommendations_are_compared_with_what_fine_tuning_reached():
    table = pd.DataFrame(
        [
            ("s", "a", "one", 1.0, 0.1),
            ("s", "a", "two", 2.0, 0.2),
            ("s", "a", "three", 3.0, 0.3),
            ("s", "b", "one", 1.0, 0.9),
            ("s", "b", "two", 1.5, 0.8),
        ],
        columns=["study", "target", "source", "test", "kernel"],
    )
    text = recommendation.agreement(table)
    assert "mean rank correlation 0.00 over 2 targets" in text  # 1 and -1
    assert "better start in 3 of 4 pairs" in text
    assert "25.0 % with the recommended one, 62.5 % with any" in text


def test_commands_of_two_checkouts_take_turns(tmp_path):
    """The other one is this one with a command that computes for 0.2 s, in a process of its own."""
    other = tmp_path / "other"
    (other / "tlzoo").mkdir(parents=True)
    (other / "tlzoo" / "__main__.py").write_text(
        "import subprocess, sys, time\n"
        "code = 'import time\\nwhile time.process_time() < 0.2: pass'\n"
        "subprocess.run([sys.executable, '-c', code], check='--fail' not in sys.argv)\n"
        "sys.exit('--fail' in sys.argv)\n"
    )
    (row,) = startup.measure(other, 2, 1, [startup.Case("say the version", "--version", 0.9)])
    assert [len(row[side]) for side in ("then", "now")] == [2, 2]
    assert min(row["then"]) > 0.2
    assert min(row["now"]) > 0
    with pytest.raises(RuntimeError, match=f"tlzoo --fail of {other} ended with 1"):
        startup.cost("--fail", other, tmp_path, 1)


def test_a_command_is_as_cheap_as_aimed_at_or_not():
    rows = [
        {"name": "one", "target": 0.5, "then": [4.0, 2.0, 9.0], "now": [1.9, 3.0, 1.0]},
        {"name": "two", "target": 0.3, "then": [1.0], "now": [0.31]},
    ]
    text = report.startup(rows)
    assert "| one | 4 (2 – 9) | 1.9 (1 – 3) | 0.47 | 0.5 | yes |" in text
    assert "| two | 1 | 0.31 | 0.31 | 0.3 | **no** |" in text


def test_memory_of_a_screening_is_looked_at_shard_by_shard(tmp_path):
    """The other one writes shards itself: 100 MB more in the second, given back, and 50 MB that stay."""
    other = tmp_path / "other"
    (other / "tlzoo").mkdir(parents=True)
    (other / "tlzoo" / "__main__.py").write_text(
        "import pathlib, sys, time\n"
        "assert sys.argv[1:4] == ['screen', 'cgcnn-fe', 'pool.parquet'], sys.argv\n"
        "shards = pathlib.Path(sys.argv[5]).with_suffix('.shards') / 'shards'\n"
        "shards.mkdir(parents=True)\n"
        "for number, (more, stays) in enumerate([(0, 0), (100, 50), (0, 0)]):\n"
        "    time.sleep(0.3)\n"
        "    held = b'x' * (more << 20)\n"
        "    time.sleep(0.3)\n"
        "    del held\n"
        "    globals()[f'kept{number}'] = b'x' * (stays << 20)\n"
        "    (shards / f'{number:05}.parquet').touch()\n"
        "time.sleep(0.3)\n"
        "sys.exit('--fail' in sys.argv)\n"
    )
    found = screening.watch(other, tmp_path, "then", 1)
    assert len(found["most"]) == 4
    assert len(found["left"]) == 3
    assert found["most"][1] - found["most"][0] == pytest.approx(104.9, abs=5)
    assert found["left"][1] - found["left"][0] == pytest.approx(52.4, abs=5)
    assert found["peak"] >= max(found["most"])


def test_a_screening_is_as_small_as_aimed_at_or_not():
    found = {"crystals": 9000, "model": "m", "target": 0.6, "growth": 0.03}
    found["then"] = {"peak": 1000.0, "most": [900.0, 1000.0, 0.0], "left": [700.0, 791.0]}
    found["now"] = {"peak": 590.0, "most": [580.0, 590.0, 0.0], "left": [400.0, 416.0]}
    text = report.screening(found)
    assert "| peak | 1000 | 590 | ratio 0.59 | 0.6 | yes |" in text
    assert (
        "| most during the first shard, any | 900, 1000 | 580, 590 | grows by 1.7%, other 11.1% | 3% | yes |"
        in text
    )
    assert (
        "| left after the first shard, any | 700, 791 | 400, 416 | grows by 4.0%, other 13.0% | 3% | **no** |"
        in text
    )
    assert "| 1 | 1000 | 791 | 590 | 416 |" in text


@pytest.mark.parametrize("part", ["startup", "screening"])
def test_startup_wants_another_checkout(part, capsys):
    with pytest.raises(SystemExit):
        main([part, "--against", "/nowhere"])
    assert f"{part} wants another checkout to compare with: --against PATH" in capsys.readouterr().err


def test_ratios_of_two_checkouts_are_those_of_a_turn(capsys):
    against.told("a step, s", [2.0, 4.0, 4.0], [1.0, 1.0, 3.0])
    assert capsys.readouterr().out == "a step, s: 4.00 → 1.00, 0.50 times (0.25 to 0.75)\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["/nowhere"], "/nowhere is no checkout"), ([".", "all"], "no case all; there are")],
)
def test_another_checkout_and_cases_must_be_there(arguments, said, capsys):
    with pytest.raises(SystemExit):
        against.main(arguments)
    assert said in capsys.readouterr().err


def test_what_is_lost_by_starting_does_not_count(monkeypatch, tmp_path):
    """Work that takes a second to start and end, and 50 ms for each of its pieces."""
    taken, begun = [], time.monotonic()

    def pieces(way, number, folder):
        time.sleep(0.5)
        for _ in range(number):
            time.sleep(0.05)
            yield 100
        time.sleep(0.5)
        taken.append((way, number))

    monkeypatch.setitem(two_workers.WORK, "screening", pieces)
    found = two_workers.cost("screening", two_workers.RAY, tmp_path)
    assert taken == [(two_workers.RAY, two_workers.MANY)]
    assert found.wall >= 0.05 / 100
    assert found.wall * (two_workers.MANY - two_workers.FEW) * 100 < time.monotonic() - begun - 1.0
    assert set(found.cpu) == {"command", "workers", "Ray's own"}


def test_what_two_workers_lose():
    one = two_workers.Cost(2.0, {"command": 2.0})
    other = two_workers.Cost(1.25, {"workers": 2.0, "command": 0.5})
    assert two_workers.lost(one, other, 2) == pytest.approx((0.2, 0.2))
    kinds = ["ray::Worker.perform", "ray::IDLE", "/lib/ray/core/gcs_server", "python -m tlzoo.graphs.workers"]
    assert [two_workers.whose(words) for words in kinds] == ["workers", "Ray's own", "Ray's own", "workers"]


def test_two_builds_of_alignn_are_compared_as_on_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(alignn, "GPU_BATCH", 4)
    arguments = ["--against", str(alignn.HERE), "--data", "semiconductors", "--device", "cpu:0"]
    assert alignn.main([*arguments, "--network", "64", "--batches", "1", "--repeats", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "64 wide: gradients differ from the CPU's by 0.0e+00 at most"
    assert [line.split()[2] for line in lines[1:]] == ["training", "inference"]


def test_places_on_the_board_are_those_of_the_stored_results():
    phonons, measured = map(matbench.board, matbench.TASKS)
    ours = phonons["method"].str.startswith(matbench.OURS)
    assert (int((~ours).sum()), phonons["mae"].is_monotonic_increasing) == (16, True)
    best = phonons.iloc[0]
    assert best["method"] == "tlzoo: MomentNet from momentnet-u2"
    assert (best["mae"], best["sd"]) == pytest.approx((20.68, 1.35), abs=0.01)
    assert measured["method"].head(2).tolist() == ["Darwin", "tlzoo: Roost from roost-fe-bg, head kept"]


def test_a_line_through_computed_gaps_leaves_metals_alone():
    computed = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 0.0])
    measured = np.where(computed > 0, 1.5 * computed + 0.25, 3.0)
    said = gaps.line(computed, measured, np.array([0.0, 2.0, 6.0]))
    np.testing.assert_allclose(said, [0.0, 3.25, 9.25], rtol=1e-6)
