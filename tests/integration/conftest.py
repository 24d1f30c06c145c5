"""What holds for all tests of whole commands."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def whole_commands(unchecked: None, few_trees: None) -> None:
    """Shapes are checked where they are made, in the tests of layers, networks and heads; so are forests."""
