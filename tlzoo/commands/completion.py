"""`tlzoo completion SHELL`: print a script that lets the shell complete commands, options and names.

For bash: tlzoo completion bash > ~/.local/share/bash-completion/completions/tlzoo, then open a new shell. For
zsh: write it to a file named _tlzoo in a folder of $fpath. For fish: to
~/.config/fish/completions/tlzoo.fish.
"""

import argparse
import io
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from tlzoo.commands import arguments

# Lines of a help: an option, a command, and what goes by its place.
OPTION: Final = re.compile(r"^ {2}(-\S[^\n]*?)(?: {2,}(\S.*))?$", re.MULTILINE)
COMMAND: Final = re.compile(r"^ {2}([a-z]+) {2,}([A-Z].*)$", re.MULTILINE)
PLACE: Final = re.compile(r"^ {2}([A-Z]+)\b", re.MULTILINE)
# Commands that have commands of their own, and those whose short help leaves most out.
SEVERAL: Final = frozenset({"data", "study", "zoo"})
TRAINING: Final = frozenset({"fit", "validate", "test"})
# What stands for models, and for data: they are names, or files.
MODELS: Final = frozenset({"MODEL", "MODEL,…", "NAME,…"})
# of these commands NAME by its place is a checkpoint; elsewhere it is whatever one likes
NAMED: Final = frozenset({"info", "verify", "pull", "path"})
DATA: Final = frozenset({"DATA", "INPUT", "POOL"})
BY_PLACE: Final = {"validate": ["RUN"], "test": ["MODEL"]}

Run = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Asked:
    """For which shell.

    Attributes:
        shell: Shell to write the script for: bash, zsh, fish or tcsh.
    """

    shell: Literal["bash", "zsh", "fish", "tcsh"]


def main(args: Sequence[str], names: Sequence[str] = (), run: Run = lambda _: 0) -> int:
    """Print a script.

    Args:
        args: The command line.
        names: Of all commands.
        run: What runs one.
    """
    (asked,) = arguments.parse(
        args, Asked, prog="tlzoo completion", about=__doc__, spelled={"shell": "SHELL"}
    )
    import shtab

    from tlzoo.cards import library
    from tlzoo.commands import say
    from tlzoo.data import named

    models, data = Names("models", library.names()), Names("data", [card.name for card in named.every()])
    parser = argparse.ArgumentParser("tlzoo", description="the transfer-learning model zoo for crystals")
    commands = parser.add_subparsers()
    for name in names:
        text = told(run, name)
        command = commands.add_parser(name, help=name)
        if name in SEVERAL:
            below = command.add_subparsers()
            for each, about in COMMAND.findall(text):
                below_it = told(run, name, each)
                if each in NAMED:
                    below_it = below_it.replace("\n  NAME ", "\n  MODEL ")
                _fill(below.add_parser(each, help=about), below_it, models, data)
        else:
            _fill(command, text, models, data, BY_PLACE.get(name, ()))
    preamble = "\n".join(each.functions.get(asked.shell, "") for each in (models, data))
    say(shtab.complete(parser, asked.shell, preamble=preamble))
    return 0


class Names:
    """Names, or files: how shells complete them.

    Attributes:
        functions: What is to be defined first, by shell.
        complete: What completes an argument, by shell.
    """

    def __init__(self, kind: str, names: Sequence[str]) -> None:
        words, function = " ".join(names), f"_tlzoo_{kind}"
        self.functions = {
            "bash": f'{function}() {{ compgen -W "{words}" -- "$1"; compgen -f -- "$1"; }}',
            "zsh": f"{function}() {{ compadd -- {words}; _files; }}",
        }
        self.complete = {
            "bash": function,
            "zsh": function,
            "fish": f"{words} (__fish_complete_path (commandline -ct))",
            "tcsh": "f",
        }


def told(run: Run, *command: str) -> str:
    """Return the help of a command, of those that train the short one and the long one."""
    asked = [[*command, "--help"]]
    asked += [[*command, "--help-all"]] if command[0] in TRAINING else []
    asked += [["test", "MODEL", "--on", "DATA", "--help"]] if command == ("test",) else []
    with io.StringIO() as text, redirect_stdout(text):
        for words in asked:
            with suppress(SystemExit):
                run(words)
        return text.getvalue()


def _fill(
    parser: argparse.ArgumentParser, text: str, models: Names, data: Names, places: Sequence[str] = ()
) -> None:
    """Give a parser the options and places that a help tells of."""
    import shtab

    kinds = {**dict.fromkeys(MODELS, models), **dict.fromkeys(DATA, data)}

    def completed(action: Any, metavar: str) -> None:  # noqa: ANN401 (argparse's, with an attribute of shtab's)
        action.complete = kinds[metavar].complete if metavar in kinds else shtab.FILE

    listed = "" if places else text.partition("positional arguments:\n")[2].partition("\noptions:\n")[0]
    for metavar in [*places, *PLACE.findall(listed)]:
        completed(parser.add_argument(metavar, nargs="*" if metavar == "INPUT" else None), metavar)
    known: set[str] = set()
    for spelled, told_about in OPTION.findall(text):
        about = told_about.replace("%", "%%")  # which argparse fills in
        flags, metavar = _flags(spelled)
        flags = [flag for flag in flags if flag not in known]
        known |= {*flags}
        if not flags:
            continue
        if not metavar:
            parser.add_argument(*flags, action="store_true", help=about)
        elif metavar.startswith("{"):
            parser.add_argument(*flags, choices=metavar[1:-1].split(","), help=about)
        else:
            completed(parser.add_argument(*flags, help=about), "MODEL" if "--from" in flags else metavar)


def _flags(spelled: str) -> tuple[list[str], str]:
    """Return the flags of an option as a help spells it, and what stands for its value.

    >>> _flags("-o FILE, --output FILE"), _flags("--trainer.max_epochs N, --trainer.max_epochs+ N")
    ((['-o', '--output'], 'FILE'), (['--trainer.max-epochs'], 'N'))
    """
    words = [word.split() for word in spelled.split(", ")]
    # the parser itself has the help, and knows which classes there are only with the rest of the line
    left_out = ("-h", "--help", "--print_config")
    flags = [each[0] for each in words if each[0].startswith("-") and each[0] not in left_out]
    flags = [flag.replace("_", "-") for flag in flags if not flag.endswith((".help", "+"))]
    return flags, words[-1][1] if len(words[-1]) > 1 else ""
