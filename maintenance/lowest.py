"""Print constraints with the lowest versions that pyproject.toml allows, and tested ones of all else.

``make test-lowest`` installs the wheel with them. torch alone stays: what PyPI has of its older releases is
for GPUs, gigabytes each.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Final

PROJECT: Final = Path("pyproject.toml")
TESTED: Final = Path("constraints.txt")
BOUND: Final = re.compile(r"(?P<name>[\w.-]+)(\[.*\])?>=(?P<version>[\d.]+)")
KEPT: Final = {"torch"}
# What older wandb, ray and the like need of these is older than what is tested.
FREE: Final = {"protobuf"}


def canonical(name: str) -> str:
    """Return the name of a package as an index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lowest() -> dict[str, str]:
    """Return the lower bound of each package that pyproject.toml names, extras included."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    found = [match for group in groups for text in group if (match := BOUND.match(text))]
    return {canonical(match["name"]): match["version"] for match in found}


def constraints() -> list[str]:
    """Return a line for each tested package: pinned, those with a bound to the series of that bound."""
    bounds = lowest()
    lines = []
    for line in TESTED.read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        if not version or (key := canonical(name)) in FREE:
            continue
        bound = None if key in KEPT else bounds.get(key)
        lines.append(f"{name}=={version}" if bound is None else f"{name}>={bound},=={series(bound)}")
    return lines


def series(bound: str) -> str:
    """Return the releases that differ from a bound in what mends alone.

    >>> series("4.50"), series("0.18.6"), series("15")
    ('4.50.*', '0.18.*', '15.*')
    """
    return ".".join(bound.split(".")[:2]) + ".*"


if __name__ == "__main__":
    sys.stdout.write("\n".join(constraints()) + "\n")
