"""Results as people read them: each row with its own labels, and no unit for what has none."""

import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.data.check import check
from tlzoo.data.named import DATASETS
from tlzoo.evaluation.results import intervals_text, results_table
from tlzoo.study.progress import told
from tlzoo.training.run import Run

PREDICTIONS = """id,part,property,target,prediction,unit
a,val,gap,1,1,eV
b,val,gap,2,1,eV
c,val,gap,,1,eV
a,val,second,1,1,1
b,val,second,,1,1
c,val,second,,1,1
"""


def measured(unit):
    part = {"crystals": 3, "mae_gap": 0.5, "mae_second": 0.028, "relative_mae": 1.0}
    return {"targets": {"gap": "eV", "second": unit}, "val": part}


def cells(text):
    return [line.split() for line in text.splitlines()]


def test_each_target_has_its_own_number_of_labels(tmp_path):
    (tmp_path / "predictions.csv").write_text(PREDICTIONS)
    labels = Run(tmp_path).labels
    assert labels == {("val", "gap"): 2, ("val", "second"): 1}
    rows = cells(results_table(measured("1"), labels))
    assert rows[1] == ["val,", "gap", "2", "0.5"]
    assert rows[2] == ["val,", "second", "1", "0.028"]
    assert rows[3] == ["val,", "all", "3", "1"]


def test_a_target_without_any_label_has_none(tmp_path):
    (tmp_path / "predictions.csv").write_text(PREDICTIONS.replace("a,val,second,1", "a,val,second,"))
    assert Run(tmp_path).labels["val", "second"] == 0
    assert Run(tmp_path / "none").labels == {}


def test_what_nobody_knows_is_not_listed():
    part = {"crystals": 3, "mae_gap": 0.5, "mae_second": float("nan"), "relative_mae": 1.0}
    text = results_table({"targets": {"gap": "eV", "second": "GPa"}, "test": part})
    assert [row[:2] for row in cells(text)[1:]] == [["test,", "gap"], ["(gap", "in"]]
    assert "second" not in text


def test_intervals_of_any_width_are_told():
    peak = {"kind": "absolute", "widths": {"0.9": 388.2}, "crystals": 5, "left_out": "validation crystals"}
    metrics = {"targets": {"peak": "1/cm"}, "intervals": {"peak": peak}}
    told = "peak ± 388 1/cm should contain 83 % (from 5 validation crystals)"
    assert intervals_text(metrics) == told
    metrics["intervals"]["peak"] = peak | {"kind": "factor", "widths": {"0.9": 2.0}}
    assert intervals_text(metrics).startswith("peak within a factor of 100 should")


@pytest.mark.parametrize(
    ("unit", "end"),
    [("GPa", "gap in eV, second in GPa"), ("1", "gap in eV, second"), ("", "gap in eV, second")],
)
def test_the_table_of_a_run(unit, end):
    assert results_table(measured(unit)).endswith(f"({end}; mae in the unit of the target)")


def test_no_line_ends_in_a_unit_of_one():
    row = {"status": "finished", "val_mae": 0.028, "seconds": 3.0}
    assert told({**row, "unit": "1"}) == "validation MAE 0.028, 3.0 s"
    assert told({**row, "unit": "eV"}) == "validation MAE 0.028 eV, 3.0 s"
    card = DATASETS["dielectric"].text()
    assert "poly_total" in card
    assert "[1]" not in card


def test_data_check_knows_no_unit_of_one():
    salts = [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
        for a in (5, 5.6, 6.2)
    ]
    table = Crystals.from_structures(salts, columns={"n": [2.0, 3.0, 4.0]}, units={"n": "1"})
    assert "  n: 2 to 4, median 3" in check(table, progress=False).text()
