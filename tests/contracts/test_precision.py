"""Our backbones in mixed precision."""

import pytest

from tlzoo.testing import PrecisionContract

pytestmark = pytest.mark.usefixtures("quick", "unchecked")


class TestPrecision(PrecisionContract):
    backbones = {  # noqa: RUF012 (as declared)
        "cgcnn": {"class_path": "CGCNN", "init_args": {"dim": 32, "depth": 2}},
        "alignn": {"class_path": "ALIGNN", "init_args": {"dim": 32, "alignn_layers": 1, "gcn_layers": 1}},
        "momentnet": {"class_path": "MomentNet", "init_args": {"dim": 32, "depth": 2}},
        "descriptors": {"class_path": "DescriptorMLP", "init_args": {"dim": 32, "depth": 2}},
    }


@pytest.mark.parametrize(
    ("precision", "able", "said"),
    [("bf16-mixed", False, True), ("bf16-mixed", True, False), ("32-true", False, False)],
)
def test_a_processor_without_bf16_is_told(
    precision, able, said, tlzoo, config, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("tlzoo.training.fitting.multiplies_bf16", lambda: able)
    path = config({"trainer.precision": precision, "trainer.max_epochs": 1})
    answer = tlzoo("fit", "--config", path, "--run_dir", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert ("this processor has no instructions for bf16" in caplog.text) == said
