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
from dataclasses import replace
from typing import NamedTuple, NoReturn

import pyarrow as pa

from lookalike.errors import InputError
from lookalike.io.tables import KIND_NAMES, parse_instant
from lookalike.store.filter_tree import (
    KEYWORDS,
    And,
    Column,
    Compare,
    Contains,
    FilterTree,
    In,
    IsNull,
    Like,
    Or,
    Value,
)
from lookalike.store.schema import metadata_of
from lookalike.types import Kind

__all__ = ["MAX_LENGTH", "columns_of", "parse"]

# Characters of a filter, and levels of parentheses and 'not' in it.
MAX_LENGTH = 10_000
_MAX_LEVELS = 16
_MAX_INT = 2**63 - 1
# Characters of the rest of a filter that an error shows.
_MAX_SHOWN = 40

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
    metadata = metadata_of(schema)
    kinds = metadata.items()
    for name, kind in kinds:
        column = Column(name, kind)
        columns[name] = column
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
_QUOTES = "'\"`"
_SYNONYMS = {"<>": "!=", "==": "="}
_EXAMPLES: dict[Kind, str] = {
    "string": "a text in quotes, such as 'butterfly'",
    "tags": "a word in quotes, such as 'butterfly'",
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
        tokens = self._tokenize()
        self._tokens = list(tokens)
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
        is_next = self._take(word)
        if not is_next:
            self._refuse(problem)

    # Grammar

    def _parse_or(self, depth: int) -> FilterTree:
        first = self._parse_and(depth)
        terms = [first]
        while self._take("or"):
            term = self._parse_and(depth)
            terms.append(term)
        if len(terms) == 1:
            return first
        return Or(tuple(terms))

    def _parse_and(self, depth: int) -> FilterTree:
        first = self._parse_term(depth)
        terms = [first]
        while self._take("and"):
            term = self._parse_term(depth)
            terms.append(term)
        if len(terms) == 1:
            return first
        return And(tuple(terms))

    def _parse_term(self, depth: int) -> FilterTree:
        if depth > _MAX_LEVELS:
            self._refuse(
                f"it nests deeper than {_MAX_LEVELS} levels; remove parentheses or 'not'"
            )
        if self._take("not"):
            term = self._parse_term(depth + 1)
            return _negated(term)
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
        if column.kind == "tags":
            return self._parse_contains(column, negated=negated)
        if self._take("in"):
            values = self._parse_list(column)
            return In(column, values, negated)
        if column.kind == "string" and self._take("like"):
            value = self._parse_value(column)
            pattern = str(value)
            return Like(column, pattern, negated)

        operator = self._parse_operator(column, negated=negated)
        value = self._parse_value(column)
        return Compare(column, operator, value)

    def _parse_contains(self, column: Column, *, negated: bool) -> Contains:
        self._expect(
            "contains",
            f"{column.written} holds {KIND_NAMES[column.kind]}; expected contains or is after it, "
            f"as in {column.written} contains 'butterfly'",
        )
        value = self._parse_value(column)
        return Contains(column, str(value), negated)

    def _parse_operator(self, column: Column, *, negated: bool) -> str:
        token = self._next
        word = token.word
        operator = _SYNONYMS.get(word, word)
        operators = tuple(_OPPOSITE)
        has_no_order = column.kind == "bool"
        if has_no_order:
            operators = ("=", "!=")
        is_known = operator in operators
        # "not" goes before a word, as in "width not in (1, 2)", and before no sign.
        is_allowed = is_known and not negated
        if not is_allowed:
            self._refuse_operator(column, operators, negated=negated)
        self._position += 1
        return operator

    def _parse_column(self) -> Column:
        token = self._next
        kind = token.kind
        is_quoted = kind == "name"
        is_word = kind == "word"
        is_keyword = token.word in KEYWORDS
        is_plain_word = is_word and not is_keyword
        is_name = is_quoted or is_plain_word
        if not is_name:
            problem = "expected the name of a column, as in width > 300"
            self._refuse(problem)
        text = token.text
        name = text.strip("`")
        column = self._columns.get(name)
        if column is None:
            self._refuse_column(name)
        self._position += 1
        return column

    def _parse_list(self, column: Column) -> tuple[Value, ...]:
        self._expect(
            "(", f"expected '(' and a list, as in {column.written} in (..., ...)"
        )
        first = self._parse_value(column)
        values = [first]
        while self._take(","):
            value = self._parse_value(column)
            values.append(value)
        self._expect(")", "expected ',' or ')'")
        return tuple(values)

    def _parse_value(self, column: Column) -> Value:
        """Return the next token as a value of the column's kind."""
        token = self._next
        text = token.text
        word = token.word
        lexical_kind = token.kind
        kind = column.kind
        name = column.written
        is_text = lexical_kind == "text"
        is_number = lexical_kind == "number"
        is_true = word == "true"
        is_boolean = is_true or word == "false"
        is_null = word == "null"
        holds_text = kind in {"string", "tags"}
        holds_numbers = kind in {"int64", "float64"}
        if is_null:
            problem = f"nothing equals null; write {name} is null, or is not null"
            self._refuse(problem)
        value: Value
        if is_text and holds_text:
            value = _unquoted(text)
        elif is_text and kind == "timestamp":
            time = _unquoted(text)
            value = self._to_ticks(column, time)
        elif is_number and holds_numbers:
            value = self._to_number(text, kind)
        elif is_boolean and kind == "bool":
            value = is_true
        else:
            kind_name = KIND_NAMES[kind]
            example = _EXAMPLES[kind]
            problem = f"{name} holds {kind_name}; expected {example}"
            self._refuse(problem)
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
            example = _EXAMPLES["timestamp"]
            self._refuse(f"{text!r} is not a time; expected {example}")
        ticks = instant * column.tick
        # A time that the column cannot hold is before or after all that it holds.
        earliest = -_MAX_INT
        not_too_late = min(ticks, _MAX_INT)
        return max(not_too_late, earliest)

    # Errors

    def _refuse(self, problem: str, start: int | None = None) -> NoReturn:
        """Raise the error for a problem at a place in the text, or at the next token."""
        if start is None:
            token = self._next
            start = token.start
        following = self._text[start:]
        rest = following.rstrip()
        place = "at its end"
        if rest:
            shown = _shortened(rest)
            # Characters are counted from 1.
            number = start + 1
            place = f"at character {number}, before {shown}"
        message = f"The filter cannot be used {place}: {problem}."
        raise InputError(message)

    def _refuse_character(self, start: int) -> NoReturn:
        text = self._text
        following = text[start:]
        rest = following.lstrip()
        first = rest[0]
        is_quote = first in _QUOTES
        problem = "this is neither a name, a value nor an operator"
        if is_quote:
            problem = "this is a quote that is not closed"
        rest_start = len(text) - len(rest)
        self._refuse(problem, rest_start)

    def _refuse_column(self, name: str) -> NoReturn:
        columns = self._columns.values()
        # The column with the most similar name; upper and lower case count as equal.
        by_folded_name = {column.name.casefold(): column for column in columns}
        folded_name = name.casefold()
        similar = difflib.get_close_matches(folded_name, by_folded_name, n=1)
        suggestion = ""
        if similar:
            closest = by_folded_name[similar[0]]
            suggestion = f" Did you mean {closest.written}?"

        names = [column.written for column in columns]
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
        kind_name = KIND_NAMES[column.kind]
        listed = " ".join(words)
        self._refuse(
            f"{column.written} holds {kind_name}; expected one of {listed} after it"
        )

    def _refuse_large(self) -> NoReturn:
        self._refuse(f"the number is too large; expected at most {_MAX_INT:,}")


def _unquoted(text: str) -> str:
    """Return the content of a quoted text, in which a doubled quote stands for one."""
    quote_sign = text[0]
    doubled = quote_sign * 2
    content = text[1:-1]
    return content.replace(doubled, quote_sign)


def _shortened(text: str) -> str:
    """Return the first characters of a text, as an error shows them."""
    if len(text) <= _MAX_SHOWN:
        return text
    beginning = text[:_MAX_SHOWN]
    return f"{beginning}..."
