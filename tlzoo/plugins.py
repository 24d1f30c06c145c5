"""Packages of other people that add backbones, heads, freezing strategies, splitters and readers of files.

Such a package has an entry point in the group ``tlzoo.plugins`` that names one of its modules. Registered
are the classes that this module holds by name. Nothing is imported before it is asked for, and never a module
that a file names.
"""

import contextlib
import importlib
import inspect
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from tlzoo.errors import UserError, first_line

logger = logging.getLogger(__name__)

GROUP: Final = "tlzoo.plugins"
_beside: set[str] = set()  # modules that lay beside configurations
HOW: Final = f"an entry point in the group {GROUP!r} (docs/how-to/plugins.md)"


class Plugin(NamedTuple):
    """An entry point: the package that has it, as pip calls it, its version, and the module it names."""

    package: str
    version: str
    module: str

    def load(self) -> ModuleType:
        """Import the module.

        Raises:
            UserError: It cannot be imported.
        """
        try:
            return importlib.import_module(self.module)
        except Exception as error:
            raise UserError(
                f"the plug-in package {self.package} {self.version} cannot be imported "
                f"({type(error).__name__}: {first_line(error)}); update or uninstall it"
            ) from error


@cache
def registered() -> tuple[Plugin, ...]:
    """Return the entry points of all installed packages, without importing them."""
    from importlib.metadata import entry_points  # reading data and predicting need not wait for it

    found = entry_points(group=GROUP)
    return tuple(sorted(Plugin(e.dist.name, e.dist.version, e.module) for e in found if e.dist is not None))


@cache
def load() -> tuple[str, ...]:
    """Import all plug-ins, so that short names of their classes are known; return what is wrong with some."""
    problems = []
    for plugin in registered():
        try:
            plugin.load()
        except UserError as error:
            logger.warning("%s", error)
            problems.append(str(error))
    return tuple(problems)


def classes(kind: type) -> list[type[Any]]:
    """Return the registered classes below another that can be built."""
    load()
    return [
        cls
        for plugin in registered()
        if plugin.module in sys.modules
        for cls in vars(sys.modules[plugin.module]).values()
        if isinstance(cls, type) and issubclass(cls, kind) and not inspect.isabstract(cls)
        if _top(cls.__module__) == _top(plugin.module)
    ]


def owner(cls: type) -> Plugin | None:
    """Return the plug-in that registers a class; None for classes of tlzoo and of nobody.

    Raises:
        UserError: The package that the class seems to be of cannot be imported.
    """
    if is_own(cls):
        return None
    near = [plugin for plugin in registered() if _top(plugin.module) == _top(cls.__module__)]
    return next((plugin for plugin in near if getattr(plugin.load(), cls.__name__, None) is cls), None)


def is_own(cls: type) -> bool:
    """Whether a class is one of tlzoo's."""
    return cls.__module__.startswith("tlzoo.")


def class_path(cls: type) -> str:
    """Return the shortest public path of a class: files may be renamed, packages stay."""
    if plugin := owner(cls):
        return f"{plugin.module}.{cls.__name__}"
    package = cls.__module__.rpartition(".")[0]
    exported = getattr(sys.modules.get(package), cls.__qualname__, None)
    return f"{package if exported is cls else cls.__module__}.{cls.__qualname__}"


def find(path: str, *kinds: type, package: object = None) -> type[Any]:
    """Return a registered class that a file names.

    Args:
        path: Path of the class, as of :func:`class_path`.
        kinds: What it must be below.
        package: ``name`` and ``version`` of its package when the file was written, as the file says.

    Raises:
        UserError: No installed package registers such a class, or its package cannot be imported; the message
            says what to install.
    """
    module, _, name = path.rpartition(".")
    note = package if isinstance(package, Mapping) else {}
    plugin = next((p for p in registered() if p.module == module), None)
    if plugin is None:
        raise UserError(_missing(path, note))
    found = getattr(plugin.load(), name, None)
    if not (isinstance(found, type) and issubclass(found, kinds)):
        raise UserError(
            f"the package {plugin.package} {plugin.version} has no {' or '.join(k.__name__ for k in kinds)} "
            f"{name}; the file was written with version {note.get('version', 'unknown')}"
        )
    if note and (note.get("name"), note.get("version")) != (plugin.package, plugin.version):
        _warn(path, f"{note.get('name')} {note.get('version')}", f"{plugin.package} {plugin.version}")
    return found


@lru_cache  # once a process, however many models are built
def _warn(path: str, stored: str, here: str) -> None:
    logger.warning("%s was stored with %s, here is %s: it may answer otherwise", path, stored, here)


def _missing(path: str, note: Mapping[str, Any]) -> str:
    """Say why a class that a file names is not built, and what to install if that would help."""
    name, version = str(note.get("name")), str(note.get("version"))
    # both become part of a command that the reader is told to type
    if not note or not all(re.fullmatch(r"\w[\w.+!-]*", text, re.ASCII) for text in (name, version)):
        return f"{path!r} is no class of tlzoo; for safety nothing else is built from a file"
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        there = installed(name)
    except PackageNotFoundError:
        return (
            f"the model needs the package {name} (version {version}), which is not installed: "
            f"pip install {name}, if you trust who made it"
        )
    return (
        f"the model needs {path} of the package {name} (version {version}); version {there}, which is "
        f"installed, does not register it: install version {version}, or give it {HOW}"
    )


@contextlib.contextmanager
def beside(*configs: str | Path) -> Iterator[None]:
    """Find modules beside these configurations too, after all that are installed, while the context lasts.

    Only for what a user trains with: code that comes with the run or model of somebody else is not to be run.

    Args:
        configs: Paths of YAML files; what is no file is ignored.
    """
    # a configuration as text is none, and may be too long for a name
    files = [Path(config).resolve() for config in configs if os.path.isfile(config)]  # noqa: PTH113
    folders = list(dict.fromkeys(str(file.parent) for file in files))
    _forget_others(folders)
    before = set(sys.modules)
    sys.path += folders
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(folder)
        _beside.update(name for name in set(sys.modules) - before if _lies_in(sys.modules[name], folders))


def _forget_others(folders: list[str]) -> None:
    """Forget modules that lay beside other configurations and have a namesake beside these."""
    for name in [name for name in _beside if not _lies_in(sys.modules.get(name), folders)]:
        if any(Path(folder, f"{name}.py").is_file() or Path(folder, name).is_dir() for folder in folders):
            _beside.remove(name)
            for module in [module for module in sys.modules if _top(module) == name]:
                del sys.modules[module]


def _top(module: str) -> str:
    return module.partition(".")[0]


def _lies_in(module: ModuleType | None, folders: list[str]) -> bool:
    """Whether a module is a file or a package in one of the folders, not deeper."""
    file = Path(getattr(module, "__file__", None) or "/")
    parent = file.parent.parent if file.stem == "__init__" else file.parent
    return str(parent) in folders
