"""The tree of a filter, and its clause in Lance's filter language."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lookalike.store.schema import quote, quote_name
from lookalike.types import Kind

__all__ = [
    "KEYWORDS",
    "And",
    "Column",
    "Compare",
    "Contains",
    "FilterTree",
    "In",
    "IsNull",
    "Like",
    "Or",
    "Value",
    "to_lance",
]

KEYWORDS = frozenset({"and", "or", "not", "in", "like", "is", "null", "true", "false"})

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
        name = self.name
        is_word = re.fullmatch(r"[^\W\d]\w*", name)
        is_reserved = name.lower() in KEYWORDS
        if is_word and not is_reserved:
            return name
        return quote_name(name)


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
class Contains:
    """``column contains word``, for a column of tags."""

    column: Column
    word: str
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


FilterTree = Compare | In | Like | Contains | IsNull | And | Or


def to_lance(tree: FilterTree) -> str:
    """Return a filter in Lance's filter language."""
    match tree:
        case And(terms) | Or(terms):
            is_and = isinstance(tree, And)
            separator = " AND " if is_and else " OR "
            return _render_terms(terms, separator)
        case Compare(column, operator, value):
            operand = _operand(column)
            literal = _literal(value)
            return f"{operand} {operator} {literal}"
        case In():
            return _render_in(tree)
        case Like(column, pattern, negated):
            operand = _operand(column)
            word = "NOT LIKE" if negated else "LIKE"
            lance_pattern = _lance_pattern(pattern)
            literal = quote(lance_pattern)
            return f"{operand} {word} {literal}"
        case Contains():
            return _render_contains(tree)
        case IsNull(column, negated):
            operand = _operand(column)
            test = "IS NOT NULL" if negated else "IS NULL"
            return f"{operand} {test}"


def _render_terms(terms: tuple[FilterTree, ...], separator: str) -> str:
    rendered = map(to_lance, terms)
    joined = separator.join(rendered)
    return f"({joined})"


def _render_in(tree: In) -> str:
    operand = _operand(tree.column)
    literals = map(_literal, tree.values)
    values = ", ".join(literals)
    if not tree.negated:
        return f"{operand} IN ({values})"

    is_other = f"{operand} NOT IN ({values})"
    # Lance evaluates "x NOT IN (1) OR x NOT IN (2)" as true, even if x is null.
    not_null = IsNull(tree.column, negated=True)
    is_present = to_lance(not_null)
    return f"({is_other} AND {is_present})"


def _render_contains(tree: Contains) -> str:
    column = tree.column
    operand = _operand(column)
    word = tree.word
    literal = quote(word)
    has_word = f"array_has({operand}, {literal})"
    is_negated = tree.negated
    if is_negated:
        # An image that was not tagged matches neither the test nor its opposite.
        return f"(NOT {has_word} AND {operand} IS NOT NULL)"
    return has_word


def _lance_pattern(pattern: str) -> str:
    """Double each backslash that escapes nothing: in Lance it would escape any character."""

    def escape(match: re.Match[str]) -> str:
        is_escape_sequence = match[1] is not None
        if is_escape_sequence:
            return match[0]
        return r"\\"

    return re.sub(r"\\([\\%_])|\\", escape, pattern)


def _operand(column: Column) -> str:
    stored_name = column.stored or column.name
    name = quote_name(stored_name)
    is_integer = column.kind in {"int64", "timestamp"}
    if not is_integer:
        return name
    # Without a cast, Lance converts a literal to the column's type, and fails if it does not fit.
    return f"CAST({name} AS BIGINT)"


def _literal(value: Value) -> str:
    if isinstance(value, str):
        return quote(value)
    return repr(value)
