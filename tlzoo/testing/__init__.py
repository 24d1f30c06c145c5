"""What tlzoo promises of its parts, as tests to inherit: ``class TestMine(BackboneContract): ...``.

A contract is a class of tests; a subclass names what they are run for. Only this package needs pytest.
"""

import pytest

_KINDS = ("backbone", "freezing", "head", "precision", "resume")
pytest.register_assert_rewrite(*(f"{__name__}.{kind}_contract" for kind in _KINDS), f"{__name__}.workbench")

from tlzoo.testing.backbone_contract import BackboneContract  # noqa: E402 (asserts are rewritten on import)
from tlzoo.testing.freezing_contract import FreezingContract  # noqa: E402
from tlzoo.testing.head_contract import HeadContract  # noqa: E402
from tlzoo.testing.precision_contract import PrecisionContract  # noqa: E402
from tlzoo.testing.resume_contract import ResumeContract  # noqa: E402

__all__ = ["BackboneContract", "FreezingContract", "HeadContract", "PrecisionContract", "ResumeContract"]
