"""Command lines from signatures: a name, type, default and help is said once, where the command computes.

jsonargparse reads the fields of a dataclass or the parameters of a function with their docstrings. How they
are spelled on the command line is the same for all commands and said here.
"""

import argparse
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import jsonargparse

from tlzoo.errors import UserError, did_you_mean, no_such

Component = Callable[..., Any]

# Flags and what stands for the value, by name. Without a flag it goes by its place. A list is split at commas
# if what stands for it has one, takes several words if that ends in dots, and its option can be repeated.
SPELLED: Final[Mapping[str, str]] = {
    "beside": "--beside NAME,…",
    "configs": "--config FILE",
    "everything": "--all",
    "features": "--from NAME,…",
    "file": "FILE",
    "head": "--head TARGET",
    "inputs": "INPUT",
    "layer": "--layer NAME",
    "model": "MODEL",
    "models": "MODEL,…",
    "minutes": "--minutes N",
    "most": "--max-crystals N",
    "name": "NAME",
    "names": "NAME",
    "only": "--only AXIS=VALUE,VALUE ...",
    "output": "-o --output FILE",
    "packed": "RESULTS.parquet",
    "path": "PATH",
    "poolings": "--pooling A,B…",
    "strategies": "--strategies A,B…",
    "pool": "POOL",
    "rates": "--learning-rates A,B…",
    "run": "RUN",
    "source": "DATA",
    "sources": "DATA",
    "starts": "--from NAME,…",
    "target": "--target COL",
    "targets": "--target COL",
}
# What options were called before, and still may be.
FORMER: Final[Mapping[str, str]] = {"--models": "--from"}
KINDS: Final = {int: ("N", "a whole number"), float: ("X", "a number"), Path: ("PATH", "a path")}


class Paragraphs(argparse.HelpFormatter):
    """Keeps the paragraphs of a description apart."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = (super(Paragraphs, self)._fill_text(part, width, indent) for part in text.split("\n\n"))
        return "\n\n".join(parts)


class Gather(argparse.Action):
    """Put together what an option is given, however often it is; what is given replaces the default."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (argparse's own arguments)
        super().__init__(*args, **kwargs)
        self.given: list[Any] = []

    def __call__(self, _: object, namespace: object, values: object, __: object = None) -> None:
        """Add the values."""
        self.given += values if isinstance(values, list) else [values]
        setattr(namespace, self.dest, list(self.given))


class Once(argparse.Action):
    """Take the value of an option that has one; a second one would hide the first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (argparse's own arguments)
        super().__init__(*args, **kwargs)
        self.given: list[Any] = []

    def __call__(self, _: object, namespace: object, value: object, __: object = None) -> None:
        """Set the value.

        Raises:
            argparse.ArgumentError: Another one was given before.
        """
        self.given.append(value)
        if value != self.given[0]:
            raise argparse.ArgumentError(self, twice(self.given))
        setattr(namespace, self.dest, value)


def twice(values: Sequence[object]) -> str:
    """Return the message on an option that is given different values.

    >>> twice(["gap", "energy"])
    'one value is wanted, got gap and energy'
    """
    return f"one value is wanted, got {' and '.join(map(str, values))}"


class Parser(jsonargparse.ArgumentParser):
    """A parser whose arguments are the parameters of dataclasses and functions; it parses once.

    Args:
        components: Dataclasses and functions.
        prog: The command, for example ``tlzoo finetune``.
        about: What it does; by default what the docstring of the first component says.
        spelled: Further spellings, on top of ``SPELLED``.
        example: A command line to begin with.
    """

    def __init__(
        self,
        *components: Component,
        prog: str = "tlzoo",
        about: str | None = None,
        example: str = "",
        spelled: Mapping[str, str] | None = None,
    ) -> None:
        self.hints: dict[str, Any] = {}
        self.spelled = {**SPELLED, **(spelled or {})}
        super().__init__(
            prog=prog,
            description=opened(about or summary(components[0]))
            + (f"\n\nExample: {example}" if example else ""),
            formatter_class=Paragraphs,
            exit_on_error=False,
            print_config=None,
            allow_abbrev=True,
        )
        for component in components:
            self.hints |= get_type_hints(component)
            if inspect.isclass(component):
                self.add_class_arguments(component, as_group=False, as_positional=True)
            else:
                self.add_function_arguments(component, as_group=False, as_positional=True)
            if len(components) > 1:
                self._set_apart(component)
        # what there must be, then that there is more: the list of options follows below
        words = [shown(action) for action in self.fields if not action.option_strings or action.required]
        self.usage = " ".join([prog.replace("%", "%%"), *words, "[options]"])

    def _set_apart(self, component: Component) -> None:
        """Show the options of a component under what it is about."""
        names = get_type_hints(component)
        options = [each for each in self._optionals._group_actions if each.dest in names]
        if options:
            group = self.add_argument_group(opened(summary(component).split("\n")[0]).removesuffix("."))
            group._group_actions += options
            self._optionals._group_actions = [
                each for each in self._optionals._group_actions if each not in options
            ]

    @property
    def fields(self) -> list[argparse.Action]:
        """All arguments but for the help."""
        return [action for action in self._actions if action.dest in self.hints]

    @property
    def flags(self) -> list[str]:
        """All options as they are spelled."""
        return [flag for action in self._actions for flag in action.option_strings]

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:  # noqa: ANN401 (argparse's own)
        """Add an argument; one of a signature as it is spelled on a command line."""
        name = args[0].lstrip("-")
        if name not in self.hints:
            return super().add_argument(*args, **kwargs)  # type: ignore[no-any-return]
        words = self.spelled.get(name, f"--{name.replace('_', '-')}").split()
        flags = [word for word in words if word.startswith("-")]
        shows = " ".join(words[len(flags) :])
        needed, default = "default" not in kwargs, kwargs.get("default")
        told: dict[str, Any] = {"help": helped(kwargs.get("help"), default if flags else None)}
        if flags:
            told |= {"dest": name, "required": needed, "default": default}
        elif not needed:
            told["nargs"] = "?"
        hint = self.hints[name]
        if get_origin(hint) in {Union, types.UnionType}:
            hint = next(kind for kind in get_args(hint) if kind is not type(None))
        if hint is bool:
            told["action"] = "store_true"
        elif get_origin(hint) is Literal:
            there = get_args(hint)
            told |= {"type": one_of(there), "metavar": shows or f"{{{','.join(there)}}}"}
            told |= {"action": Once} if flags else {}
        else:
            told |= valued(hint, shows, name.rpartition("_")[2].upper(), by_place=not flags)
            told |= {"nargs": "*"} if not flags and not needed and told.get("nargs") == "+" else {}
        return super().add_argument(*(flags or [name]), **told)  # type: ignore[no-any-return]

    def explained(self, message: str) -> str:
        """Return what the library says of a mistake in the words of the command line."""
        if found := re.fullmatch(r"the following arguments are required: (.*)", message):
            names = [name.rpartition(".")[2] for name in found[1].split(", ")]
            lacking = [shown(action) for action in self.fields if action.dest in names]
            return f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing"
        if found := re.fullmatch(r"unrecognized arguments: ((\S+).*)", message, re.DOTALL):
            if not found[2].startswith("-"):
                return f"{found[1]} is one argument too many"
            flag = found[2].partition("=")[0]
            return f"there is no option {flag}{did_you_mean(flag, self.flags)}"
        message = re.sub(r"expected (?:at least )?one argument", "a value is missing", message)
        return re.sub(r"^argument (\S+/)?(\S+?): (?=\S)", r"\2: ", message)


def parse(args: Sequence[str], *components: Component, **options: Any) -> list[Any]:  # noqa: ANN401
    """Return what each dataclass or function gives, called with its part; the options are the parser's.

    Raises:
        UserError: The command line is none of this command.
    """
    parser = Parser(*components, **options)
    try:
        given = parser.parse_args(usual(args, parser.flags))
    except argparse.ArgumentError as error:
        raise UserError(f"{parser.explained(error.message)} (see {parser.prog} --help)") from error
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(given).items()}
    return [
        component(**{name: values[name] for name in inspect.signature(component).parameters})
        for component in components
    ]


def dispatch(
    args: Sequence[str],
    functions: Iterable[Component],
    *,
    prog: str,
    about: str,
    spelled: Mapping[str, str] | None = None,
) -> int:
    """Call the function, or the dataclass, that is named as a command, with the rest of the command line.

    ``prog`` is what the commands belong to, such as ``tlzoo study``, and ``about`` what that is for.

    Raises:
        UserError: There is no such command, or it has no such arguments.
    """
    commands = {f.__name__.lower().removesuffix("_all").removesuffix("_"): f for f in functions}
    if not args:
        raise UserError(f"{prog} needs a command: {', '.join(commands)}")
    name, *rest = args
    if name in {"-h", "--help"}:
        width = max(map(len, commands)) + 2
        listed = [f"  {key:{width}}{plain(summary(f)).splitlines()[0]}" for key, f in commands.items()]
        lines = [f"usage: {prog} COMMAND ...", "", opened(about), "", *listed, ""]
        sys.stdout.write("\n".join([*lines, f"{prog} COMMAND --help says more.\n"]))
        sys.exit(0)
    if name not in commands:
        raise UserError(f"{prog}: {no_such('command', name, commands)}")
    (called,) = parse(rest, commands[name], prog=f"{prog} {name}", spelled=spelled)
    return int(called() if callable(called) else called)


def usual(args: Iterable[str], flags: Iterable[str]) -> list[str]:
    """Return a command line with options as they are spelled now: ``--run_dir`` is ``--run-dir``.

    >>> usual(["--run_dir=x_y", "--models", "a", "b", "--json"], ["--run-dir", "--from", "--json"])
    ['--run-dir=x_y', '--from', 'a', '--from', 'b', '--json']
    """
    there, words, several = set(flags), [], ""
    for word in args:
        name, equals, value = word.partition("=")
        several = "" if word.startswith("-") else several
        if not word.startswith("--"):
            words += [several, word] if several else [word]
            continue
        dashed = name.replace("_", "-")
        if name not in there and FORMER.get(name) in there:
            # it took several words
            several = FORMER[name]
            words += [f"{several}={value}"] if equals else []
        else:
            words.append(f"{dashed if dashed in there else name}{equals}{value}")
    return words


def valued(hint: Any, shows: str, stands: str, *, by_place: bool) -> dict[str, Any]:  # noqa: ANN401
    """Return how argparse is told of a value or several: ``shows`` stands for one, by default ``stands``."""
    several = get_origin(hint) is not None
    kind = get_args(hint)[0] if several else hint
    each = kind if kind in KINDS else str
    metavar = shows or KINDS.get(each, (stands,))[0]
    words = several and (metavar.endswith(" ...") or (by_place and "," not in metavar))
    told = {
        "metavar": metavar.removesuffix(" ..."),
        "type": value_of(each, split=several and "," in metavar and not words),
    }
    action = {} if by_place else {"action": Gather if several else Once}
    return told | ({"nargs": "+"} if words else {}) | action


def value_of(kind: type, *, split: bool) -> Callable[[Any], Any]:
    """Return what makes a value of a kind, or several with commas between them, of a word."""

    def read(word: Any) -> Any:  # noqa: ANN401 (of the kind; the library reads again what has been read)
        try:
            if not isinstance(word, str):
                return word
            return [kind(part) for part in word.split(",") if part] if split else kind(word)
        except ValueError as error:
            more = ", several with commas between them," if split else ""
            raise argparse.ArgumentTypeError(f"{KINDS[kind][1]}{more} is wanted, got {word!r}") from error

    return read


def one_of(there: Sequence[str]) -> Callable[[str], str]:
    """Return what takes one of several words."""

    def read(word: str) -> str:
        if word is not None and word not in there:
            text = f"there is no {word!r}; there are: {', '.join(there)}{did_you_mean(word, there)}"
            raise argparse.ArgumentTypeError(text)
        return word

    return read


def shown(action: argparse.Action) -> str:
    """Return an argument as it is written in a command line."""
    metavar = str(action.metavar or action.dest.upper())
    more = f" [{metavar} ...]" if action.nargs == "+" else ""
    text = {"?": f"[{metavar}]", "*": f"[{metavar} ...]"}.get(str(action.nargs), f"{metavar}{more}")
    return f"{action.option_strings[0]} {text}" if action.option_strings else text


def helped(text: str | None, default: Any) -> str:  # noqa: ANN401 (any default)
    """Return what the help says of an argument, with its default."""
    said = plain(text or "")
    if not (default is None or default is False or default in ("", [], ())):
        value = ",".join(map(str, default)) if isinstance(default, list | tuple) else default
        said = f"{said.removesuffix('.')} (default: {value})"
    return said.replace("%", "%%")


def summary(component: Component) -> str:
    """Return what a docstring says before its sections."""
    return re.split(r"\n\n(?:Args|Attributes|Raises|Returns):", inspect.getdoc(component) or "")[0]


def opened(text: str) -> str:
    """Return a docstring's text without the usage before its first sentence.

    >>> opened("`tlzoo embed MODEL -o FILE`: what a layer gives.")
    'What a layer gives.'
    """
    said = re.sub(r"\A`[^`]*`: ", "", plain(text))
    return said[:1].upper() + said[1:]


def plain(text: str) -> str:
    """Return a docstring's text as a terminal shows it.

    >>> plain("As of :func:`~tlzoo.load`, or ``auto``.")
    'As of load, or `auto`.'
    """
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    return text.replace("``", "`").strip()
