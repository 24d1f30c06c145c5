"""What holds for all tests of whole commands."""

import pytest

# Modules of tests that look at the pictures of runs.
DRAWN = ("test_cli", "test_heads", "test_tracking")


@pytest.fixture(scope="module", autouse=True)
def whole_commands(request: pytest.FixtureRequest, unchecked: None, few_trees: None) -> None:
    """Shapes are checked where they are made, in the tests of layers, networks and heads; so are forests.

    Pictures take longer than small trainings.
    """
    if not request.module.__name__.endswith(DRAWN):
        request.getfixturevalue("quick")
