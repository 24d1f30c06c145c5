"""Conditions on crystals, as people write them: ``nelements <= 3 and not has(O, F) and density < 5``.

The text is parsed by Python's own parser and then read part by part: names, numbers, texts, comparisons,
``and``, ``or``, ``not`` and the functions below. Nothing in it is ever run.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS
from tlzoo.errors import UserError, did_you_mean
from tlzoo.screen.facts import Facts, Rows

Kind = Literal["condition", "number", "text"]
Evaluate = Callable[[Facts, Rows], NDArray[Any]]

# What a part of a condition costs: reading an array, a search for neighbours, spglib.
CHEAP, DEAR, DEAREST = 0, 1, 2


@dataclass(frozen=True)
class Term:
    """A part of a condition.

    Attributes:
        kind: What it gives for a crystal.
        cost: How much it takes; of several the cheap ones are asked first.
        evaluate: From facts and rows to a value for each row.
    """

    kind: Kind
    cost: int
    evaluate: Evaluate


NAMES: Final[Mapping[str, Term]] = {
    "nelements": Term("number", CHEAP, lambda facts, rows: facts.nelements[rows]),
    "nsites": Term("number", CHEAP, lambda facts, rows: facts.crystals.num_atoms[rows]),
    "volume_per_atom": Term("number", CHEAP, lambda facts, rows: facts.volume_per_atom[rows]),
    "density": Term("number", CHEAP, lambda facts, rows: facts.density[rows]),
    "formula": Term("text", CHEAP, lambda facts, rows: facts.formulas[rows]),
    "id": Term("text", CHEAP, lambda facts, rows: facts.crystals.ids[rows]),
    "diamond_like": Term("condition", DEAR, lambda facts, rows: facts.diamond_like(rows)),
    "spacegroup": Term("number", DEAREST, lambda facts, rows: facts.spacegroup(rows)),
}

# From which elements there are and which are named to a condition.
FUNCTIONS: Final[Mapping[str, Callable[[NDArray[np.bool_], list[int]], Any]]] = {
    "has": lambda there, named: there[:, named].any(axis=1),
    "has_all": lambda there, named: there[:, named].all(axis=1),
    "only": lambda there, named: ~np.delete(there, named, axis=1).any(axis=1),
}

COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class Where:
    """A condition on crystals, as in the module's docstring; it may name further columns of the table.

    Raises:
        UserError: It cannot be understood; the message names what is wrong and lists what there is.
    """

    def __init__(self, text: str, columns: Sequence[str] = ()) -> None:
        self.text = text
        self._columns = columns
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UserError(f"the condition {text!r} is no expression; {there_are(columns)}") from error
        self._term = self._condition(tree.body)

    @property
    def named(self) -> list[str]:
        """Columns of the table that the condition names."""
        tree = ast.walk(ast.parse(self.text.strip(), mode="eval"))
        return sorted({node.id for node in tree if isinstance(node, ast.Name)} & set(self._columns))

    def keeps(self, facts: Facts) -> NDArray[np.bool_]:
        """Return which crystals meet the condition, ``(crystals,)``; see also ``facts.unknown``."""
        return self._term.evaluate(facts, np.arange(len(facts.crystals)))

    def _condition(self, node: ast.expr) -> Term:
        term = self._read(node)
        if term.kind != "condition":
            raise self._wrong(node, f"is a {term.kind}, wanted a condition, such as nelements <= 3")
        return term

    def _read(self, node: ast.expr) -> Term:
        match node:
            case ast.BoolOp(op=op, values=values):
                terms = [self._condition(value) for value in values]
                return _joined(terms, until=not isinstance(op, ast.And))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._condition(operand)
                return Term("condition", inner.cost, lambda facts, rows: ~inner.evaluate(facts, rows))
            case ast.Compare(left=left, ops=ops, comparators=others):
                ends = [left, *others]
                pairs = zip(ends, ops, others, strict=False)
                return _joined([self._compared(*pair) for pair in pairs], until=False)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(node, name, arguments)
            case ast.Name(id=name):
                return self._name(name)
        return _constant(self._value(node))

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Term:
        one = self._read(left)
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List) or not right.elts:
                raise self._wrong(right, "is no list; wanted one such as (216, 186)")
            others = [self._alike(one, left, item) for item in right.elts]
            any_of = _joined([_pair(operator.eq, one, other) for other in others], until=True)
            if isinstance(op, ast.In):
                return any_of
            return Term("condition", one.cost, lambda facts, rows: ~any_of.evaluate(facts, rows))
        if type(op) not in COMPARISONS:
            raise self._wrong(left, "is compared by 'is', wanted ==, !=, <, <=, >, >= or in")
        return _pair(COMPARISONS[type(op)], one, self._alike(one, left, right))

    def _alike(self, one: Term, left: ast.expr, right: ast.expr) -> Term:
        other = self._read(right)
        if one.kind != other.kind or one.kind == "condition":
            raise self._wrong(left, f"is a {one.kind}, compared with the {other.kind} {ast.unparse(right)}")
        return other

    def _call(self, node: ast.expr, name: str, arguments: Sequence[ast.expr]) -> Term:
        if name not in FUNCTIONS:
            raise UserError(
                f"there is no function {name!r}; {there_are(self._columns)}{did_you_mean(name, FUNCTIONS)}"
            )
        function, named = FUNCTIONS[name], [self._element(argument) for argument in arguments]
        if not named:
            raise self._wrong(node, "names no element; wanted for example has(O, F)")
        return Term("condition", CHEAP, lambda facts, rows: function(facts.counts[rows] > 0, named))

    def _element(self, node: ast.expr) -> int:
        name = node.id if isinstance(node, ast.Name) else getattr(node, "value", None)
        if name not in SYMBOLS[1:]:
            raise self._wrong(node, "is no element; wanted symbols such as O, Cl")
        return SYMBOLS.index(name)

    def _name(self, name: str) -> Term:
        if name in NAMES:
            return NAMES[name]
        if name not in self._columns:
            hint = did_you_mean(name, [*NAMES, *self._columns])
            hint = f"; an element is named by has({name})" if name in SYMBOLS else hint
            raise UserError(f"there is no {name!r}; {there_are(self._columns)}{hint}")
        return Term("number", CHEAP, lambda facts, rows: _numbers(facts, name)[rows])

    def _value(self, node: ast.expr) -> float | str | bool:
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            value = None
        if not isinstance(value, float | int | str):
            raise self._wrong(node, f"is not understood; {there_are(self._columns)}")
        return value

    def _wrong(self, node: ast.AST, text: str) -> UserError:
        return UserError(f"in the condition {self.text!r}: {ast.unparse(node)} {text}")


def there_are(columns: Iterable[str] = ()) -> str:
    """Say what a condition can name."""
    functions = ", ".join(f"{name}(ELEMENT, …)" for name in FUNCTIONS)
    own = f", the columns {', '.join(columns)}" if columns else ""
    return f"there are: {', '.join(NAMES)}, {functions}{own}; with and, or, not, ==, !=, <, <=, >, >=, in"


def _constant(value: float | str | bool) -> Term:
    kind: Kind = "condition" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
    return Term(kind, CHEAP, lambda facts, rows: np.full(len(rows), value))  # noqa: ARG005 (of all terms)


def _pair(compare: Callable[[Any, Any], Any], one: Term, other: Term) -> Term:
    def evaluate(facts: Facts, rows: Rows) -> NDArray[np.bool_]:
        left, right = one.evaluate(facts, rows), other.evaluate(facts, rows)
        return np.asarray(compare(left, right), dtype=bool)

    return Term("condition", max(one.cost, other.cost), evaluate)


def _joined(terms: Sequence[Term], *, until: bool) -> Term:
    """Return ``or`` (until one is true) or ``and`` (until one is false); of each crystal the cheap first."""
    ordered = sorted(terms, key=lambda term: term.cost)

    def evaluate(facts: Facts, rows: Rows) -> NDArray[np.bool_]:
        found = np.full(len(rows), not until)
        for term in ordered:
            open_still = np.flatnonzero(found != until)
            found[open_still] = term.evaluate(facts, rows[open_still])
        return found

    return Term("condition", max(term.cost for term in terms), evaluate)


def _numbers(facts: Facts, name: str) -> NDArray[np.float64]:
    values = facts.crystals.column(name)
    if values.dtype == object:
        raise UserError(f"the column {name!r} is not of numbers; conditions compare numbers of columns")
    return values
