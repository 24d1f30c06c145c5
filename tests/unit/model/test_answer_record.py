"""Half widths hold what they say, and a damaged record is refused."""

import json

import numpy as np
import pytest

from tlzoo.errors import UserError
from tlzoo.model import answer_record
from tlzoo.model.answer_record import AnswerRecord, half_widths

RECORD = AnswerRecord({"frozen": 0.5, "network": 0.5}, {"0.68": 1.0, "0.9": 2.0, "0.95": 3.0}, 30)


@pytest.mark.parametrize("crystals", [9, 19, 30])
def test_a_further_crystal_is_held_as_often_as_the_level_says(crystals):
    """Exchangeable errors: the chance is at least the level, and at most one rank more."""
    rng = np.random.default_rng(1)
    held = []
    for _ in range(4000):
        errors = rng.standard_t(3, size=crystals + 1)
        held.append(abs(errors[-1]) <= half_widths(errors[:-1])["0.9"])
    assert 0.9 - 0.02 < np.mean(held) < 0.9 + 1 / (crystals + 1) + 0.02


def test_too_few_give_the_largest_error():
    assert half_widths(np.array([0.5, -2.0, 1.0])) == {"0.68": 2.0, "0.9": 2.0, "0.95": 2.0}


def test_what_is_written_is_read(tmp_path):
    model = tmp_path / "model"
    assert answer_record.read(tmp_path / "model.safetensors") is None
    answer_record.write(model, RECORD)
    assert answer_record.read(tmp_path / "model.safetensors") == RECORD
    assert answer_record.read(tmp_path / "other.safetensors") is None
    answer_record.write(model, None)
    assert answer_record.read(tmp_path / "model.safetensors") is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"parts": {"network": 0.5}},
        {"parts": {"network": 0.5, "other": 0.5}},
        {"parts": {}},
        {"half_widths": {"0.9": 1}},
        {"half_widths": {"0.68": 1.0, "0.9": -1.0, "0.95": 3.0}},
        {"crystals": "many"},
        {"parts": ["network"]},
    ],
)
def test_damage_is_told(change, tmp_path):
    answer_record.write(tmp_path / "model", RECORD)
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=r"answer\.json is damaged or of another version; `tlzoo"):
        answer_record.read(tmp_path / "model.safetensors")
