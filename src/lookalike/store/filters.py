"""Filters: ``label = 'butterfly' and width > 300`` as a typed tree, and as a clause of Lance.

A filter is text from outside. It is read token by token into a tree that names only existing
columns and holds only values of their kinds. `to_lance` then writes the tree in Lance's filter
language and quotes each name and value. No part of the text itself reaches Lance.

A comparison with a missing value is neither true nor false, as in SQL, and neither is its negation:
only ``is null`` finds the row. The tree has no node for ``not``, which is pushed down to the
comparisons and inverts them. In three-valued logic that is equivalent, and Lance's parser takes
exponential time for nested ``NOT``.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
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
    "FilterTree",
    "In",
    "IsNull",
    "Like",
    "Or",
    "columns_of",
    "parse",
    "to_lance",
]

MAX_LENGTH, MAX_DEPTH = 10_000, 16
_MAX_INT = 2**63 - 1
# Characters of the rest of a filter that an error shows.
_MAX_SHOWN = 40

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a filter may name.

    Attributes
    ----------
    name, kind
        Its name in a filter, and the kind of its values.
    stored
        Its name in the table, if that is another one.
    tick
        For a timestamp, the number of its units in a microsecond.
    """

    name: str
    kind: Kind
    stored: str = ""
    tick: int = 1

    @property
    def written(self) -> str:
        """The name as a filter writes it: in backticks, unless it is a plain word."""
        is_word = re.fullmatch(r"[^\W\d]\w*", self.name)
        is_reserved = self.name.lower() in _WORDS
        if is_word and not is_reserved:
            return self.name
        return quote_name(self.name)


@dataclass(frozen=True, slots=True)
class Compare:
    """``column operator value``; a timestamp is a whole number in the column's units."""

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
    r"""``column like pattern``.

    ``%`` matches any text, ``_`` any one character, ``\%`` and ``\_`` these two characters.
    """

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
    """All of the terms."""

    terms: tuple[FilterTree, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of the terms."""

    terms: tuple[FilterTree, ...]


FilterTree = Compare | In | Like | IsNull | And | Or

_BASE = {
    "label": Column("label", "string"),
    "uri": Column("uri", "string"),
    "width": Column("width", "int64"),
    "height": Column("height", "int64"),
    "size": Column("size", "int64"),
    "mtime": Column("mtime", "timestamp", "mtime_ns", 1000),
}


def columns_of(schema: pa.Schema) -> dict[str, Column]:
    """Return the columns of a table that a filter may name, by their names in a filter."""
    columns = dict(_BASE)
    for name, kind in metadata_of(schema).items():
        columns[name] = Column(name, kind)
    return columns


def parse(text: str, columns: Mapping[str, Column]) -> FilterTree:
    """Parse a filter.

    Parameters
    ----------
    text
        The filter.
    columns
        The columns that it may name; see `columns_of`.

    Raises
    ------
    InputError
        If the syntax is wrong, a column is unknown, or a value is not of its column's kind. The
        message shows the place and the expected input.
    """
    if len(text) > MAX_LENGTH:
        raise InputError(
            f"The filter has {len(text):,} characters; expected at most {MAX_LENGTH:,}. Shorten it."
        )
    with_replacements = text.encode(errors="replace").decode()
    if text != with_replacements:
        raise InputError(
            f"The filter {text!r} contains an invalid Unicode character. Remove the character."
        )
    parser = _Parser(text, columns)
    return parser.parse()


def to_lance(tree: FilterTree) -> str:
    """Return a filter in Lance's filter language."""
    match tree:
        case And(terms):
            joined = " AND ".join(map(to_lance, terms))
            return f"({joined})"
        case Or(terms):
            joined = " OR ".join(map(to_lance, terms))
            return f"({joined})"
        case Compare(column, operator, value):
            return f"{_operand(column)} {operator} {_literal(value)}"
        case In():
            return _render_in(tree)
        case Like(column, pattern, negated):
            word = "NOT LIKE" if negated else "LIKE"
            literal = quote(_lance_pattern(pattern))
            return f"{_operand(column)} {word} {literal}"
        case IsNull(column, negated):
            test = "IS NOT NULL" if negated else "IS NULL"
            return f"{_operand(column)} {test}"


def _render_in(tree: In) -> str:
    operand = _operand(tree.column)
    values = ", ".join(map(_literal, tree.values))
    if not tree.negated:
        return f"{operand} IN ({values})"
    # Lance evaluates "x NOT IN (1) OR x NOT IN (2)" as true, even if x is null.
    not_null = IsNull(tree.column, negated=True)
    is_present = to_lance(not_null)
    return f"({operand} NOT IN ({values}) AND {is_present})"


def _lance_pattern(pattern: str) -> str:
    """Double each backslash that stands for itself: in Lance it escapes any character."""

    def escape(match: re.Match[str]) -> str:
        is_escape_sequence = match[1] is not None
        if is_escape_sequence:
            return match[0]
        return r"\\"

    return re.sub(r"\\([\\%_])|\\", escape, pattern)


def _operand(column: Column) -> str:
    stored_name = column.stored or column.name
    name = quote_name(stored_name)
    # Without a cast, Lance converts a literal to the column's type, and fails if it does not fit.
    if column.kind in {"int64", "timestamp"}:
        return f"CAST({name} AS BIGINT)"
    return name


def _literal(value: Value) -> str:
    if isinstance(value, str):
        return quote(value)
    return repr(value)


_OPPOSITE = {"=": "!=", "!=": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def _negated(tree: FilterTree) -> FilterTree:
    """Return the opposite of a filter, without a node for ``not``."""
    match tree:
        case And(terms):
            opposites = map(_negated, terms)
            return Or(tuple(opposites))
        case Or(terms):
            opposites = map(_negated, terms)
            return And(tuple(opposites))
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
_SYNONYMS = {"<>": "!=", "==": "="}
_WORDS = frozenset({"and", "or", "not", "in", "like", "is", "null", "true", "false"})
_EXAMPLES: dict[Kind, str] = {
    "string": "a text in quotes, such as 'butterfly'",
    "int64": "a number, such as 300",
    "float64": "a number, such as 2.5",
    "bool": "true or false",
    "timestamp": "a date or time in quotes, such as '2024-05-31' or '2024-05-31T18:30:00+02:00'",
}


class _FilterToken(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def word(self) -> str:
        """The word in lower case, or the sign; empty for any other token."""
        if self.kind in {"word", "sign"}:
            return self.text.lower()
        return ""


class _Parser:
    """Recursive descent: ``or`` of ``and`` of ``not`` of comparisons and parentheses."""

    def __init__(self, text: str, columns: Mapping[str, Column]) -> None:
        self._text = text
        self._columns = columns
        self._tokens = list(self._tokenize())
        self._position = 0

    def parse(self) -> FilterTree:
        """Return the tree of the whole text."""
        tree = self._parse_or(0)
        if self._next.kind != "end":
            self._refuse("expected 'and', 'or' or the end")
        return tree

    # Tokens

    def _tokenize(self) -> Iterator[_FilterToken]:
        start = 0
        while True:
            match = _TOKEN.match(self._text, start)
            if match is None:
                self._refuse_character(start)
            kind = match.lastgroup or ""
            yield _FilterToken(kind, match[kind], match.start(kind))
            if kind == "end":
                return
            start = match.end()

    @property
    def _next(self) -> _FilterToken:
        return self._tokens[self._position]

    def _take(self, word: str) -> bool:
        """Move past a word or sign if it is next."""
        is_next = self._next.word == word
        if is_next:
            self._position += 1
        return is_next

    def _expect(self, word: str, problem: str) -> None:
        if not self._take(word):
            self._refuse(problem)

    # Grammar

    def _parse_or(self, depth: int) -> FilterTree:
        terms = [self._parse_and(depth)]
        while self._take("or"):
            terms.append(self._parse_and(depth))
        if len(terms) == 1:
            return terms[0]
        return Or(tuple(terms))

    def _parse_and(self, depth: int) -> FilterTree:
        terms = [self._parse_term(depth)]
        while self._take("and"):
            terms.append(self._parse_term(depth))
        if len(terms) == 1:
            return terms[0]
        return And(tuple(terms))

    def _parse_term(self, depth: int) -> FilterTree:
        if depth > MAX_DEPTH:
            self._refuse(
                f"it nests deeper than {MAX_DEPTH} levels; remove parentheses or 'not'"
            )
        if self._take("not"):
            return _negated(self._parse_term(depth + 1))
        if self._take("("):
            tree = self._parse_or(depth + 1)
            self._expect(")", "expected 'and', 'or' or ')'")
            return tree
        return self._parse_comparison()

    def _parse_comparison(self) -> FilterTree:
        column = self._parse_column()
        if self._take("is"):
            negated = self._take("not")
            self._expect("null", "expected null, or not null")
            return IsNull(column, negated)

        negated = self._take("not")
        if self._take("in"):
            values = self._parse_list(column)
            return In(column, values, negated)
        if self._next.word == "like" and column.kind == "string":
            self._take("like")
            pattern = str(self._parse_value(column))
            return Like(column, pattern, negated)

        word = self._next.word
        operator = _SYNONYMS.get(word, word)
        operators = tuple(_OPPOSITE)
        if column.kind == "bool":
            operators = ("=", "!=")
        if negated or operator not in operators:
            self._refuse_operator(column, operators, negated=negated)
        self._position += 1
        value = self._parse_value(column)
        return Compare(column, operator, value)

    def _parse_column(self) -> Column:
        token = self._next
        is_plain_word = token.kind == "word" and token.word not in _WORDS
        if token.kind != "name" and not is_plain_word:
            self._refuse("expected the name of a column, as in width > 300")
        name = token.text.strip("`")
        if name not in self._columns:
            self._refuse_column(name)
        self._position += 1
        return self._columns[name]

    def _parse_list(self, column: Column) -> tuple[Value, ...]:
        self._expect(
            "(", f"expected '(' and a list, as in {column.written} in (..., ...)"
        )
        values = [self._parse_value(column)]
        while self._take(","):
            values.append(self._parse_value(column))
        self._expect(")", "expected ',' or ')'")
        return tuple(values)

    def _parse_value(self, column: Column) -> Value:
        """Return the next token as a value of the column's kind."""
        token = self._next
        kind = column.kind
        value: Value
        if token.word == "null":
            self._refuse(
                f"nothing equals null; write {column.written} is null, or is not null"
            )
        if token.kind == "text" and kind == "string":
            value = _unquoted(token.text)
        elif token.kind == "text" and kind == "timestamp":
            text = _unquoted(token.text)
            value = self._to_ticks(column, text)
        elif token.kind == "number" and kind in {"int64", "float64"}:
            value = self._to_number(token.text, kind)
        elif token.word in {"true", "false"} and kind == "bool":
            value = token.word == "true"
        else:
            held = KIND_NAMES[kind]
            example = _EXAMPLES[kind]
            self._refuse(f"{column.written} holds {held}; expected {example}")
        self._position += 1
        return value

    def _to_number(self, text: str, kind: Kind) -> int | float:
        is_whole = text.lstrip("+-").isdigit()
        number = float(text)
        if math.isinf(number):
            self._refuse_large()
        if is_whole and kind == "int64":
            whole = int(text)
            if abs(whole) > _MAX_INT:
                self._refuse_large()
            return whole
        return number + 0.0  # 0, not -0

    def _to_ticks(self, column: Column, text: str) -> int:
        """Return a time in the units of a column."""
        try:
            instant = parse_instant(text)
        except ValueError:
            self._refuse(f"{text!r} is not a time; expected {_EXAMPLES['timestamp']}")
        ticks = instant * column.tick
        # A time that the column cannot hold is before or after all that it holds.
        not_too_late = min(ticks, _MAX_INT)
        return max(not_too_late, -_MAX_INT)

    # Errors

    def _refuse(self, problem: str, start: int | None = None) -> NoReturn:
        """Raise the error for a problem at a place in the text, or at the next token."""
        if start is None:
            start = self._next.start
        rest = self._text[start:].rstrip()
        shown = rest
        if len(rest) > _MAX_SHOWN:
            shown = rest[:_MAX_SHOWN] + "..."
        place = "at its end"
        if rest:
            place = f"at character {start + 1}, before {shown}"
        raise InputError(f"The filter cannot be used {place}: {problem}.")

    def _refuse_character(self, start: int) -> NoReturn:
        rest = self._text[start:].lstrip()
        problem = "this is neither a name, a value nor an operator"
        if rest[0] in "'\"`":
            problem = "this is a quote that is not closed"
        rest_start = len(self._text) - len(rest)
        self._refuse(problem, rest_start)

    def _refuse_column(self, name: str) -> NoReturn:
        suggestion = ""
        by_folded_name = {
            known.casefold(): column for known, column in self._columns.items()
        }
        folded_name = name.casefold()
        similar = difflib.get_close_matches(folded_name, by_folded_name, n=1)
        if similar:
            closest = by_folded_name[similar[0]]
            suggestion = f" Did you mean {closest.written}?"
        names = [column.written for column in self._columns.values()]
        listed = ", ".join(names)
        self._refuse(
            f"there is no column {name!r}.{suggestion} The columns are {listed}"
        )

    def _refuse_operator(
        self, column: Column, operators: tuple[str, ...], *, negated: bool
    ) -> NoReturn:
        words = [] if negated else list(operators)
        words.append("in")
        if column.kind == "string":
            words.append("like")
        if not negated:
            words.append("is")
        self._refuse(
            f"{column.written} holds {KIND_NAMES[column.kind]}; "
            f"expected one of {' '.join(words)} after it"
        )

    def _refuse_large(self) -> NoReturn:
        self._refuse(f"the number is too large; expected at most {_MAX_INT:,}")


def _unquoted(text: str) -> str:
    """Return the content of a quoted text, in which a doubled quote stands for one."""
    quote_sign = text[0]
    content = text[1:-1]
    return content.replace(quote_sign * 2, quote_sign)
