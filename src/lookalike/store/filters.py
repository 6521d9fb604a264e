"""Filters: ``label = 'butterfly' and width > 300`` as a typed tree, and the tree in the store's own language.

A filter is text from outside. It is read token by token into a tree that names only columns that are there and
holds only values of their kinds; `render` then writes that tree anew, each name and value quoted here. No part of
the text itself reaches the store.

A comparison with a missing value is neither true nor false, as in SQL, and neither is its negation: only ``is null``
finds the row. The tree has no node for ``not``: it is pushed down to the comparisons, where it is their opposite.
That is the same in three-valued logic, and the store's parser takes exponential time for nested ``NOT``.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, NoReturn

import pyarrow as pa

from lookalike.errors import InputError
from lookalike.io.tables import KIND_NAMES, parse_instant
from lookalike.store.schema import metadata_of, quote, quote_name
from lookalike.types import Kind

__all__ = [
    "And",
    "Column",
    "Compare",
    "Filter",
    "In",
    "IsNull",
    "Like",
    "Or",
    "columns_of",
    "parse",
    "render",
]

MAX_LENGTH, MAX_DEPTH = 10_000, 16
_MAX_INT = 2**63 - 1

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a filter may name.

    Attributes
    ----------
    name, kind
        What the filter calls it, and what it holds.
    stored
        What the table calls it, where that is another name.
    tick
        Of a timestamp: how many of its units make a microsecond.
    """

    name: str
    kind: Kind
    stored: str = ""
    tick: int = 1

    @property
    def written(self) -> str:
        """The name as a filter writes it: in backticks, unless it is a plain word."""
        plain = re.fullmatch(r"[^\W\d]\w*", self.name) and self.name.lower() not in _WORDS
        return self.name if plain else quote_name(self.name)


@dataclass(frozen=True, slots=True)
class Compare:
    """``column operator value``; the value of a timestamp is a whole number in the column's own units."""

    column: Column
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class In:
    """``column in (values)``."""

    column: Column
    values: tuple[Value, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Like:
    r"""``column like pattern``: ``%`` is any text, ``_`` any one character, ``\%`` and ``\_`` are themselves."""

    column: Column
    pattern: str
    negated: bool


@dataclass(frozen=True, slots=True)
class IsNull:
    """``column is null``."""

    column: Column
    negated: bool


@dataclass(frozen=True, slots=True)
class And:
    """All of some filters."""

    terms: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of some filters."""

    terms: tuple[Filter, ...]


Filter = Compare | In | Like | IsNull | And | Or

_BASE = {
    "label": Column("label", "string"),
    "uri": Column("uri", "string"),
    "width": Column("width", "int64"),
    "height": Column("height", "int64"),
    "size": Column("size", "int64"),
    "mtime": Column("mtime", "timestamp", "mtime_ns", 1000),
}


def columns_of(schema: pa.Schema) -> dict[str, Column]:
    """Return the columns of a collection's table that a filter may name, by what it calls them."""
    return _BASE | {name: Column(name, kind) for name, kind in metadata_of(schema).items()}


def parse(text: str, columns: Mapping[str, Column]) -> Filter:
    """Read a filter.

    Raises
    ------
    InputError
        If it is none, names an unknown column, or compares a column with what it does not hold. The message shows
        the place, and what was expected there.
    """
    if len(text) > MAX_LENGTH:
        raise InputError(
            f"The filter has {len(text):,} characters; expected at most {MAX_LENGTH:,}. Shorten it."
        )
    if not text.isascii() and text != text.encode(errors="replace").decode():
        raise InputError(f"The filter {text!r} holds what is no Unicode character. Write it again.")
    return _Parser(text, columns).whole()


def render(tree: Filter) -> str:
    """Return a filter in the store's language."""
    match tree:
        case And(terms) | Or(terms):
            word = " AND " if isinstance(tree, And) else " OR "
            return f"({word.join(map(render, terms))})"
        case Compare(column, operator, value):
            return f"{_operand(column)} {operator} {_literal(value)}"
        case In(column, values, negated):
            within = f"IN ({', '.join(map(_literal, values))})"
            # The store takes "x NOT IN (1) OR x NOT IN (2)" for true, though x be null.
            present = render(IsNull(column, negated=True))
            return (
                f"({_operand(column)} NOT {within} AND {present})"
                if negated
                else f"{_operand(column)} {within}"
            )
        case Like(column, pattern, negated):
            # The store's own backslash takes any character as itself: one that means itself here is doubled there.
            escaped = re.sub(
                r"\\([\\%_])|\\", lambda found: found[0] if found[1] else r"\\", pattern
            )
            return f"{_operand(column)} {'NOT ' * negated}LIKE {quote(escaped)}"
        case IsNull(column, negated):
            return f"{_operand(column)} IS {'NOT ' * negated}NULL"


def _operand(column: Column) -> str:
    name = quote_name(column.stored or column.name)
    # Against a bare column the store squeezes a literal into the column's type, and fails where it does not fit.
    return f"CAST({name} AS BIGINT)" if column.kind in {"int64", "timestamp"} else name


def _literal(value: Value) -> str:
    return quote(value) if isinstance(value, str) else repr(value)


_OPPOSITE = {"=": "!=", "!=": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def _negated(tree: Filter) -> Filter:
    match tree:
        case And(terms):
            return Or(tuple(map(_negated, terms)))
        case Or(terms):
            return And(tuple(map(_negated, terms)))
        case Compare(operator=operator):
            return replace(tree, operator=_OPPOSITE[operator])
        case _:
            return replace(tree, negated=not tree.negated)


_TOKEN = re.compile(
    r"""\s*(?: (?P<text>   '(?:[^']|'')*' | "(?:[^"]|"")*" )
             | (?P<name>   `[^`]*` )
             | (?P<number> [+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]) )
             | (?P<word>   [^\W\d]\w* )
             | (?P<sign>   <>|==|!=|<=|>=|[=<>(),] )
             | (?P<end>    \Z ) )""",
    re.VERBOSE,
)
_SAME = {"<>": "!=", "==": "="}
_WORDS = frozenset({"and", "or", "not", "in", "like", "is", "null", "true", "false"})
_EXAMPLES: dict[Kind, str] = {
    "string": "a text in quotes, such as 'butterfly'",
    "int64": "a number, such as 300",
    "float64": "a number, such as 2.5",
    "bool": "true or false",
    "timestamp": "a date or time in quotes, such as '2024-05-31' or '2024-05-31T18:30:00+02:00'",
}


class _Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def word(self) -> str:
        """The word in small letters, or the sign; empty for any other token."""
        return self.text.lower() if self.kind in {"word", "sign"} else ""


class _Parser:
    """Recursive descent: ``or`` of ``and`` of ``not`` of comparisons and parentheses."""

    def __init__(self, text: str, columns: Mapping[str, Column]) -> None:
        self._text = text
        self._columns = columns
        self._tokens = list(self._tokenized())
        self._at = 0

    def _tokenized(self) -> Iterator[_Token]:
        start = 0
        while True:
            found = _TOKEN.match(self._text, start)
            if found is None:
                rest = self._text[start:].lstrip()
                what = (
                    "a quote that is not closed"
                    if rest[0] in "'\"`"
                    else "neither a name, a value nor an operator"
                )
                self._refuse(f"this is {what}", len(self._text) - len(rest))
            kind = found.lastgroup or ""
            yield _Token(kind, found[kind], found.start(kind))
            if kind == "end":
                return
            start = found.end()

    def whole(self) -> Filter:
        """Return the tree of the whole text."""
        tree = self._any(0)
        if self._next.kind != "end":
            self._refuse("expected 'and', 'or' or the end")
        return tree

    def _any(self, depth: int) -> Filter:
        return self._joined("or", Or, lambda: self._joined("and", And, lambda: self._term(depth)))

    def _joined(self, word: str, node: type[And | Or], part: Callable[[], Filter]) -> Filter:
        terms = [part()]
        while self._take(word):
            terms.append(part())
        return terms[0] if len(terms) == 1 else node(tuple(terms))

    def _term(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            self._refuse(f"it nests deeper than {MAX_DEPTH} levels; take out parentheses or 'not'")
        if self._take("not"):
            return _negated(self._term(depth + 1))
        if self._take("("):
            tree = self._any(depth + 1)
            self._expect(")", "expected 'and', 'or' or ')'")
            return tree
        return self._comparison()

    def _comparison(self) -> Filter:
        column = self._column()
        if self._take("is"):
            negated = self._take("not")
            self._expect("null", "expected null, or not null")
            return IsNull(column, negated)
        negated = self._take("not")
        if self._take("in"):
            return In(column, self._list(column), negated)
        if self._next.word == "like" and column.kind == "string":
            self._take("like")
            return Like(column, str(self._value(column)), negated)
        operator = _SAME.get(self._next.word, self._next.word)
        known = ("=", "!=") if column.kind == "bool" else tuple(_OPPOSITE)
        if negated or operator not in known:
            words = [
                *([] if negated else known),
                "in",
                *["like"] * (column.kind == "string"),
                *["is"] * (not negated),
            ]
            self._refuse(
                f"{column.written} holds {KIND_NAMES[column.kind]}; expected one of {' '.join(words)} after it"
            )
        self._at += 1
        return Compare(column, operator, self._value(column))

    def _column(self) -> Column:
        token = self._next
        if token.kind not in {"word", "name"} or token.word in _WORDS:
            self._refuse("expected the name of a column, as in width > 300")
        name = token.text.strip("`")
        if name not in self._columns:
            near = {known.casefold(): known for known in self._columns}
            close = difflib.get_close_matches(name.casefold(), near, n=1)
            meant = f" Did you mean {self._columns[near[close[0]]].written}?" if close else ""
            listed = ", ".join(column.written for column in self._columns.values())
            self._refuse(f"there is no column {name!r}.{meant} The columns are {listed}")
        self._at += 1
        return self._columns[name]

    def _list(self, column: Column) -> tuple[Value, ...]:
        self._expect("(", f"expected '(' and a list, as in {column.written} in (..., ...)")
        values = [self._value(column)]
        while self._take(","):
            values.append(self._value(column))
        self._expect(")", "expected ',' or ')'")
        return tuple(values)

    def _value(self, column: Column) -> Value:
        """Return the next token as a value of the column's kind."""
        token, kind = self._next, column.kind
        if token.word == "null":
            self._refuse(f"nothing equals null; write {column.written} is null, or is not null")
        if token.kind == "text" and kind in {"string", "timestamp"}:
            text = token.text[1:-1].replace(token.text[0] * 2, token.text[0])
            value: Value = self._instant(column, text) if kind == "timestamp" else text
        elif token.kind == "number" and kind in {"int64", "float64"}:
            value = self._number(token.text, kind)
        elif token.word in {"true", "false"} and kind == "bool":
            value = token.word == "true"
        else:
            self._refuse(f"{column.written} holds {KIND_NAMES[kind]}; expected {_EXAMPLES[kind]}")
        self._at += 1
        return value

    def _number(self, text: str, kind: Kind) -> int | float:
        whole = text.lstrip("+-").isdigit()
        number = float(text)
        if math.isinf(number) or (whole and kind == "int64" and abs(int(text)) > _MAX_INT):
            self._refuse(f"the number is too large; expected at most {_MAX_INT:,}")
        return int(text) if whole and kind == "int64" else number + 0.0  # 0, not -0

    def _instant(self, column: Column, text: str) -> int:
        try:
            ticks = parse_instant(text) * column.tick
        except ValueError:
            self._refuse(f"{text!r} is no time; expected {_EXAMPLES['timestamp']}")
        # A time beyond what the column can hold is before or after all that it holds.
        return max(-_MAX_INT, min(ticks, _MAX_INT))

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, word: str) -> bool:
        taken = self._next.word == word
        self._at += taken
        return taken

    def _expect(self, word: str, problem: str) -> None:
        if not self._take(word):
            self._refuse(problem)

    def _refuse(self, problem: str, start: int | None = None) -> NoReturn:
        """Raise the error: the place, and what is wrong there."""
        start = self._next.start if start is None else start
        rest = self._text[start:].rstrip()
        shown = rest if len(rest) <= 40 else rest[:40] + "..."
        place = f"at character {start + 1}, before {shown}" if rest else "at its end"
        raise InputError(f"The filter cannot be used {place}: {problem}.")
