"""Command lines made from signatures: what is typed arrives, a mistake is told in the same words."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pytest

from tlzoo.__main__ import MODULES
from tlzoo.commands import arguments, data, study, zoo
from tlzoo.errors import UserError
from tlzoo.transfer.finetune.finetune_request import Request
from tlzoo.transfer.finetune.recipes import STRATEGIES, Strategy


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request of every kind of field.

    Attributes:
        sources: Data.
        starts: Models.
        targets: Columns.
        only: Conditions.
        rates: Numbers.
        most: A number of at most 100 %.
        how: One of two.
        skip_bad: A switch.
        run_dir: A directory.
        output: A file.
    """

    sources: Sequence[str]
    starts: tuple[str, ...] = ("first", "second")
    targets: Sequence[str] | None = None
    only: Sequence[str] = ()
    rates: tuple[float, ...] | None = None
    most: int = 5
    how: Literal["fast", "slow"] = "fast"
    skip_bad: bool = False
    run_dir: Path = Path("runs/x")
    output: Path


def given(text):
    (found,) = arguments.parse(text.split(), Asked, prog="tlzoo ask")
    return found


def test_what_is_not_typed_has_the_default_of_the_signature():
    assert given("a -o b") == Asked(sources=("a",), output=Path("b"))


def test_everything_can_be_typed():
    text = (
        "a b --from c,d --target e,f --rates 1e-3,2 --max-crystals 7 --how slow --skip-bad --run-dir g -o h"
    )
    assert given(text.replace("--rates", "--learning-rates")) == Asked(
        sources=("a", "b"),
        starts=("c", "d"),
        targets=("e,f",),
        rates=(0.001, 2.0),
        most=7,
        how="slow",
        skip_bad=True,
        run_dir=Path("g"),
        output=Path("h"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "--from c,d -o h a",
        "--from c --from d a -o h",
        "a --from=c --from=d --output h",
        "a -o h --models c d",
        "a --models c,d -o h",
    ],
)
def test_a_list_is_typed_with_commas_or_repeated(text):
    assert given(text) == Asked(sources=("a",), starts=("c", "d"), output=Path("h"))


@pytest.mark.parametrize("text", ["--run-dir g", "--run_dir g", "--run_dir=g", "--run-dir=g"])
def test_dashes_and_underscores_are_one(text):
    assert given(f"a -o h {text} --skip_bad") == given("a -o h --run-dir g --skip-bad")
    assert given(f"a -o h {text}").run_dir == Path("g")


def test_conditions_are_several_words_with_commas():
    assert given("a -o h --only x=1,2 y=3 --only z=4").only == ("x=1,2", "y=3", "z=4")


def test_lists_do_not_grow_from_call_to_call():
    assert [given("a -o h --from c").starts, given("a -o h --from d").starts] == [("c",), ("d",)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a -o h -o i", "--output: one value is wanted, got h and i"),
        ("a -o h --max-crystals 1 --max-crystals=2", "--max-crystals: one value is wanted, got 1 and 2"),
        ("a -o h --how fast --how slow", "--how: one value is wanted, got fast and slow"),
        ("a -o h --run_dir g --run-dir f", "--run-dir: one value is wanted, got g and f"),
    ],
)
def test_an_option_with_one_value_is_given_once(text, message):
    """The last one does not win in silence; the same again does no harm."""
    with pytest.raises(UserError) as caught:
        given(text)
    assert str(caught.value) == f"{message} (see tlzoo ask --help)"
    assert given("a -o h --run-dir g --run-dir g").run_dir == Path("g")


@pytest.mark.parametrize(
    ("arguments_", "message"),
    [
        (("finetune", "--target", "a", "--target", "b"), "--target: one value is wanted, got a and b"),
        (("recommend", "--unit", "eV", "--unit=meV"), "--unit: one value is wanted, got eV and meV"),
        (
            ("features", "--target", "a", "--target", "b", "-o", "out"),
            "--target: a single table has one column to learn, got a and b",
        ),
        (("fit", "--seed_everything=1", "--seed-everything", "2"), "--seed_everything: one value is wanted"),
    ],
)
def test_commands_take_no_second_value_in_silence(arguments_, message, tlzoo):
    command, *options = arguments_
    answer = tlzoo(command, *([] if command == "fit" else ["semiconductors"]), *options)
    assert answer.code == 2
    assert answer.err.startswith(f"tlzoo: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-o h", "DATA [DATA ...] is missing"),
        ("a", "-o FILE is missing"),
        ("", "DATA [DATA ...], -o FILE are missing"),
        ("a -o", "--output: a value is missing"),
        ("a -o h --max-crystals many", "--max-crystals: a whole number is wanted, got 'many'"),
        (
            "a -o h --learning-rates 1,two",
            "--learning-rates: a number, several with commas between them, is wanted, got '1,two'",
        ),
        ("a -o h --how slwo", "--how: there is no 'slwo'; there are: fast, slow; did you mean 'slow'?"),
        ("a -o h --run_dri g", "there is no option --run_dri; did you mean '--run-dir'?"),
        ("a -o h --zzz", "there is no option --zzz"),
    ],
)
def test_mistakes_are_told(text, message):
    with pytest.raises(UserError) as caught:
        given(text)
    assert str(caught.value) == f"{message} (see tlzoo ask --help)"


def test_help_says_what_the_docstring_says(capsys):
    with pytest.raises(SystemExit) as stop:
        given("--help")
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(
        "usage: tlzoo ask DATA [DATA ...] -o FILE [options] A request of every kind of field."
    )
    assert "--from NAME,… Models (default: first,second)" in text
    assert "--max-crystals N A number of at most 100 % (default: 5)" in text
    assert "--how {fast,slow} One of two (default: fast)" in text
    assert "--skip-bad A switch. --run-dir PATH A directory (default: runs/x)" in text


@pytest.mark.parametrize(("module", "command"), [(data, "chek"), (study, "rnu"), (zoo, "ifno")])
def test_an_unknown_command_is_told(module, command):
    with pytest.raises(
        UserError, match=rf"there is no command '{command}'; there are: .*; did you mean '\w+'\?"
    ):
        module.main([command])
    with pytest.raises(UserError, match="needs a command: "):
        module.main([])


def test_arguments_of_a_command_below_a_command():
    assert arguments.dispatch(["twice", "--number", "4"], [twice], prog="x", about="") == 8
    with pytest.raises(UserError, match=r"^--number N is missing \(see x twice --help\)$"):
        arguments.dispatch(["twice"], [twice], prog="x", about="")
    with pytest.raises(UserError, match=r"^more is one argument too many \(see x twice --help\)$"):
        arguments.dispatch(["twice", "--number", "4", "more"], [twice], prog="x", about="")


def twice(*, number: int) -> int:
    """Twice a number.

    Args:
        number: The number.
    """
    return 2 * number


def test_help_of_no_command_imports_what_takes_seconds():
    code = f"""
import contextlib, io, sys
from tlzoo.__main__ import main
for command in {sorted(MODULES)}:
    out = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(out):
        main([command, "--help"])
    assert out.getvalue().startswith(f"usage: tlzoo {{command}} "), out.getvalue()
    heavy = {{"torch", "lightning", "sklearn", "pandas"}} & set(sys.modules)
    assert not heavy, (command, heavy)
for command in ("fit", "validate", "test"):
    main([command, "--help"])
assert not {{"torch", "lightning"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", MODULES)
def test_every_argument_is_explained(command, capsys):
    """Below every command: no argument without help."""
    module = __import__(MODULES[command], fromlist=["main"])
    pages = [["--help"]]
    with pytest.raises(SystemExit):
        module.main(["--help"])
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    if command in {"data", "study", "zoo"}:
        pages = [[name, "--help"] for name in listed]
    for page in pages:
        with pytest.raises(SystemExit):
            module.main(page)
        lines = capsys.readouterr().out.splitlines()
        bare = [
            line
            for line, after in zip(lines, [*lines[1:], ""], strict=True)
            if line.startswith("  ")
            and line[2:3] != " "
            and "  " not in line.strip()
            and not after.startswith("   ")
        ]
        assert not bare, page


def test_strategies_are_the_ones_that_can_be_asked_for():
    assert tuple(STRATEGIES) == get_args(Strategy)
    assert Request(source="x", strategy="gradual").strategy == "gradual"


def test_what_a_head_reads_beside_is_split_at_commas():
    given = ["mine.csv", "--beside", "elastic:chgnet,cgcnn-fe"]
    (request,) = arguments.parse(given, Request, prog="tlzoo finetune")
    assert request.beside == ("elastic:chgnet", "cgcnn-fe")
    with pytest.raises(UserError, match="leave out --no-frozen"):
        arguments.parse([*given, "--no-frozen"], Request, prog="tlzoo finetune")
