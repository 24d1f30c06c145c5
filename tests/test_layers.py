"""Imports point down, heavy ones stay in their rooms, and every module is a noun of the field."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tlzoo"

# From bottom to top: a part imports what is below it, or itself; never what is beside or above it.
LAYERS = (
    ("errors",),
    ("machine", "periodicity", "plugins", "adapters"),
    ("crystals", "freezing"),
    ("graphs",),
    ("nn",),
    ("descriptors",),
    ("backbones", "heads"),
    ("cards",),
    ("physics",),
    ("data",),
    ("model",),
    ("evaluation",),
    ("training",),
    ("tracking", "zoo"),
    ("transfer",),
    ("estimators", "screen", "study"),
    ("server",),
    ("commands",),
    ("__main__",),
    ("testing",),
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
# The same within a part that holds several.
FLOORS = ("features", "finetune", "folds", "recommend")

# Heavy or optional: who may import them, and whether only inside functions.
ROOMS = {
    "lightning": ({"training", "data.module", "study.preparation"}, False),
    "pymatgen": ({"data", "graphs", "crystals", "screen.facts", "screen.structure_types", "testing"}, True),
    "pytest": ({"testing"}, False),
    "torch_geometric": ({"graphs.batch"}, True),
    "phonopy": ({"physics"}, True),
    "vesin": ({"graphs.neighbours"}, True),
    "ase": ({"data", "server.drawing"}, True),
    "fastapi": ({"server"}, False),
    "uvicorn": ({"server"}, False),
    "matminer": ({"data"}, True),
    "mlflow": ({"training.loggers"}, True),
    "wandb": ({"training.tracking", "cards"}, True),
    "huggingface_hub": ({"zoo"}, True),
    "ray": ({"machine.ray_cluster", "study.ray_runs", "screen.ray_shards"}, True),
    # not on every machine: filelock locks on all
    "fcntl": (set(), True),
}
# Data and models meet in the table of crystals, what networks read of it, known elements, and the machine
# that both run on.
MEETING = {"errors", "crystals", "periodicity", "graphs", "descriptors", "machine", "nn.elements", "plugins"}
VAGUE = {"utils", "util", "common", "helpers", "helper", "misc", "lib", "core"}


def modules() -> dict[str, ast.Module]:
    """Syntax trees by name below ``tlzoo``; a package has the name of its folder."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Yield the dotted names that a module imports, and whether at once; not those for type checkers."""
    pending: list[tuple[ast.AST, bool]] = [(tree, True)]
    while pending:
        node, at_once = pending.pop()
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, at_once) for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from ((f"{module}.{alias.name}", at_once) for alias in names)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=orelse):
                pending += [(child, at_once) for child in orelse]
                continue
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        pending += [(child, at_once and not inside) for child in ast.iter_child_nodes(node)]


IMPORTS = {name: list(imports(tree)) for name, tree in MODULES.items()}


def own(name: str) -> str | None:
    """The module below ``tlzoo`` that a dotted name leads to; None if it is none of ours or the root."""
    if not name.startswith("tlzoo."):
        return None
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts) or None


def below(name: str, rooms: set[str]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def test_the_table_is_complete():
    parts = {name.split(".")[0] for name in MODULES if name}
    assert parts == set(LEVEL), "give every part its place in LAYERS, and only those there are"


def test_contributors_see_the_same_table():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = text.split("**Layers.**")[1].split("```\n")[1].splitlines()
    assert picture == [", ".join(parts) for parts in reversed(LAYERS)]


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_imports_point_down(name):
    part = name.split(".")[0]
    wrong = {
        found
        for found in (own(imported) for imported, _ in IMPORTS[name])
        if found and (other := found.split(".")[0]) != part and LEVEL[other] >= LEVEL[part]
    }
    assert not wrong, f"tlzoo.{name} imports what is not below it"


def test_transfer_imports_point_down():
    for name, found in IMPORTS.items():
        if name.startswith("transfer."):
            floor = FLOORS.index(name.split(".")[1])
            modules = {own(imported) for imported, _ in found} - {None}
            above = {
                m for m in modules if m.startswith("transfer.") and FLOORS.index(m.split(".")[1]) > floor
            }
            assert not above, f"tlzoo.{name} imports what is not below it"


def test_no_circle_of_imports():
    """Neither of imports at once nor of those inside functions."""
    left = {name: {own(found) for found, _ in each} for name, each in IMPORTS.items()}
    size = 0
    while size != len(left):
        size, inner = len(left), set().union(*left.values())
        # what imports nothing of the rest, or is not imported by it, is in no circle
        rest = {name: found & left.keys() for name, found in left.items() if name in inner}
        left = {name: found for name, found in rest.items() if found}
    assert not left, "these import each other"


def test_the_root_imports_nothing_at_once():
    assert not [name for name, at_once in IMPORTS[""] if at_once and name.split(".")[0] != "typing"]


@pytest.mark.parametrize("heavy", ROOMS)
def test_heavy_imports_stay_in_their_rooms(heavy):
    rooms, lazily = ROOMS[heavy]
    for name, each in IMPORTS.items():
        found = [at_once for imported, at_once in each if imported.split(".")[0] == heavy]
        assert not found or below(name, rooms), f"tlzoo.{name} imports {heavy}"
        if lazily:
            assert not any(found), f"tlzoo.{name} must import {heavy} inside the functions that need it"


def test_data_and_models_do_not_know_each_other():
    for name, each in IMPORTS.items():
        found = {own(imported) for imported, _ in each} - {None}
        if below(name, {"data"}):
            assert not {m for m in found if not below(m, MEETING | {"data"})}, name
        if below(name, {"backbones", "heads", "nn", "freezing", "graphs", "descriptors"}):
            assert not {m for m in found if below(m, {"data"})}, name


def test_no_module_has_a_vague_name():
    assert not {name for name in MODULES if set(name.split(".")) & VAGUE}


def test_no_relative_imports():
    levels = {
        node.level for tree in MODULES.values() for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert levels == {0}
