"""Check what is to be installed: `python -m maintenance.distributions dist` looks at the wheel and the sdist.

The wheel has the package, the cards of all checkpoints and the weights of the small ones, nothing else, and
at most 20 MB; the sdist has what the wheel is built from.
"""

import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import tlzoo
from tlzoo.cards.beside import FIELDS
from tlzoo.cards.card import Card

ROOT: Final = Path(__file__).parents[1]
LARGEST: Final = 20e6  # bytes of either file; what one fetches without thinking
PULLED: Final = 4e6  # bytes of weights above which they are pulled (tlzoo/cards/mirrors.py)
NOT_PACKED: Final = {".pyc", ".so"}


def wanted(root: Path) -> set[str]:
    """Return the paths in a repository that belong into a wheel."""
    found = {
        path.relative_to(root).as_posix()
        for path in (root / "tlzoo").rglob("*")
        if path.is_file() and path.suffix not in NOT_PACKED
    }
    for path in (root / "checkpoints").glob("*.json"):
        card = Card.read(path)
        further = [one.file for one in (getattr(card, name) for name in FIELDS) if one]
        weights = [] if card.package else [f"{card.name}.safetensors", *further]
        found |= {f"checkpoints/{name}" for name in (path.name, *(weights if card.bytes <= PULLED else []))}
    return found


def problems(dist: Path, root: Path = ROOT) -> Iterator[str]:
    """Yield what is wrong with the files in a folder that `python -m build` has filled."""
    named = {kind: f"tlzoo-{tlzoo.__version__}{kind}" for kind in ("-py3-none-any.whl", ".tar.gz")}
    if lacking := [name for name in named.values() if not (dist / name).is_file()]:
        yield f"{dist} lacks {' and '.join(lacking)}"
        return
    for name in named.values():
        if (size := (dist / name).stat().st_size) > LARGEST:
            yield f"{name} has {size:,} bytes, at most {LARGEST:,.0f} are wanted"
    with zipfile.ZipFile(dist / named["-py3-none-any.whl"]) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    packed = {f"checkpoints/{name.rpartition('/')[2]}" if ".data/" in name else name for name in names}
    with tarfile.open(dist / named[".tar.gz"]) as sdist:
        source = {name.partition("/")[2] for name in sdist.getnames()}
    belongs = wanted(root)
    yield from (f"the wheel lacks {name}" for name in sorted(belongs - packed))
    yield from (f"the wheel has {name}" for name in sorted(packed - belongs))
    yield from (f"the sdist lacks {name}" for name in sorted({*belongs, "pyproject.toml"} - source))


def main(args: Sequence[str]) -> int:
    """Say what is wrong, or how large the files are."""
    dist = Path(args[0] if args else "dist")
    found = list(problems(dist))
    sizes = [f"{path.name}: {path.stat().st_size / 1e6:.1f} MB" for path in sorted(dist.glob("tlzoo-*"))]
    print("\n".join(found or sizes))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
