"""Measure how the code reads: density, words, sizes, names and imports, each beside its limit."""

from __future__ import annotations

import argparse
import ast
import io
import re
import statistics
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "lookalike"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED = (ast.Module, ast.ClassDef, *FUNCTIONS)
NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}

LINE_LENGTH = 100
FILE_LENGTH = 600

# Phrases that a native engineer avoids, with the most that 10,000 words may hold.
SUBJECTS = "is|was|has|have|had|are|were|the|it|they|came|could|can|may|no|one|a|we"
PHRASES = {
    "what is/was/has/the": (rf"\bwhat (?:{SUBJECTS})\b", 12),
    "tell/told": (r"\b(?:tell|tells|told)\b", 2),
    "is/are no": (r"\b(?:is|are|was|were) no(?:ne)?\b", 8),
    "so/as many": (r"\b(?:so|as) many\b", 3),
    "gone/goes/went": (r"\b(?:gone|goes|went)\b", 3),
    "anew/shall/but for": (r"\b(?:anew|shall|but for)\b", 1),
}


@dataclass(frozen=True)
class Module:
    """A parsed source file."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def place(self) -> str:
        return str(self.path.relative_to(ROOT))


@dataclass(frozen=True)
class Figure:
    """A measured value beside its limit, with the places that raise it."""

    name: str
    value: float
    limit: float
    places: list[str]

    @property
    def holds(self) -> bool:
        return self.value <= self.limit


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/house", description=__doc__)
    parser.add_argument(
        "paths", nargs="*", type=Path, help="files or folders (default: all of src)"
    )
    parser.add_argument(
        "--most", type=int, default=5, help="places listed a figure (default: 5)"
    )
    arguments = parser.parse_args()

    modules = list(read_modules(arguments.paths or [SOURCE]))
    figures = [*density(modules), *phrases(modules), *sizes(modules, arguments.paths)]
    if not arguments.paths:
        figures += names(modules)

    for figure in figures:
        mark = " " if figure.holds else "!"
        print(
            f"{mark} {figure.name:<52} {figure.value:>8.1f}   at most {figure.limit:g}"
        )
        if not figure.holds or arguments.paths:
            for place in figure.places[: arguments.most]:
                print(f"      {place}")
    return 0 if all(figure.holds for figure in figures) else 1


def read_modules(paths: list[Path]) -> Iterator[Module]:
    for path in paths:
        resolved = path.resolve()
        files = [resolved] if resolved.is_file() else sorted(resolved.rglob("*.py"))
        for file in files:
            text = file.read_text(encoding="utf-8")
            yield Module(file, text, ast.parse(text))


def density(modules: list[Module]) -> list[Figure]:
    """Measure AST nodes per line of code of every function."""
    measured = []
    for module in modules:
        code = code_lines(module.text)
        for node in ast.walk(module.tree):
            if not isinstance(node, FUNCTIONS):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if not body:
                continue
            nodes = sum(1 for statement in body for _ in ast.walk(statement))
            last = body[-1].end_lineno or body[-1].lineno
            lines = sum(1 for line in code if body[0].lineno <= line <= last)
            measured.append(
                (nodes / lines, f"{module.place}:{node.lineno} {node.name}")
            )
    if not measured:
        return []
    measured.sort(reverse=True)
    values = [value for value, _ in measured]
    places = [f"{value:.1f}  {place}" for value, place in measured]
    ninety_fifth = values[len(values) - 1 - int(0.95 * len(values))]
    median = statistics.median(values)
    name = "AST nodes per code line"
    return [
        Figure(f"{name}, median", median, 8, places),
        Figure(f"{name}, 95th percentile", ninety_fifth, 18, places),
    ]


def code_lines(text: str) -> set[int]:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def phrases(modules: list[Module]) -> list[Figure]:
    """Count phrases in docstrings, comments and raised messages, per 10,000 words."""
    prose = [piece for module in modules for piece in prose_of(module)]
    words = max(1, sum(len(text.split()) for _, text in prose))
    figures = []
    for name, (pattern, limit) in PHRASES.items():
        found = []
        for place, text in prose:
            for match in re.finditer(pattern, text, re.IGNORECASE):
                around = text[max(0, match.start() - 30) : match.end() + 30]
                found.append(f"{place}  ...{' '.join(around.split())}...")
        figures.append(
            Figure(f'"{name}" per 10,000 words', 1e4 * len(found) / words, limit, found)
        )
    return figures


def prose_of(module: Module) -> Iterator[tuple[str, str]]:
    """Yield the docstrings, comments and strings in raised errors, each with its place."""
    for node in ast.walk(module.tree):
        if isinstance(node, DOCUMENTED):
            docstring = ast.get_docstring(node)
            if docstring:
                yield f"{module.place}:{getattr(node, 'lineno', 1)}", docstring
        if isinstance(node, ast.Raise) and node.exc is not None:
            for part in ast.walk(node.exc):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield f"{module.place}:{part.lineno}", part.value
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT:
            yield f"{module.place}:{token.start[0]}", token.string.lstrip("# ")


def sizes(modules: list[Module], paths: list[Path]) -> list[Figure]:
    """Find lines and files that are too long, in Python and JavaScript."""
    texts = [(module.place, module.text) for module in modules]
    for folder in paths or [SOURCE]:
        scripts = sorted(folder.resolve().rglob("*.js"))
        texts += [
            (str(file.relative_to(ROOT)), file.read_text(encoding="utf-8"))
            for file in scripts
        ]
    long_lines, long_files = [], []
    for place, text in texts:
        lines = text.splitlines()
        if len(lines) > FILE_LENGTH:
            long_files.append(f"{place}: {len(lines)} lines")
        for number, line in enumerate(lines, start=1):
            if len(line) > LINE_LENGTH:
                long_lines.append(f"{place}:{number}: {len(line)} characters")
    return [
        Figure(f"lines above {LINE_LENGTH} characters", len(long_lines), 0, long_lines),
        Figure(f"files above {FILE_LENGTH} lines", len(long_files), 0, long_files),
    ]


def names(modules: list[Module]) -> list[Figure]:
    """Count modules in the package root, and top-level names that several modules define."""
    root = [module.place for module in modules if module.path.parent == SOURCE]
    defined: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for name in sorted(top_level_names(module.tree)):
            defined[name].append(module.place)
    shared = {name: places for name, places in defined.items() if len(places) > 1}
    listed = [f"{name}: {', '.join(places)}" for name, places in sorted(shared.items())]
    return [
        Figure("modules in the package root", len(root), 8, root),
        Figure("top-level names defined in several modules", len(shared), 25, listed),
    ]


def top_level_names(tree: ast.Module) -> set[str]:
    found = set()
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(
                target.id for target in node.targets if isinstance(target, ast.Name)
            )
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    # Every module has its own __all__, and every module of routes its own router.
    return found - {"__all__", "router"}


if __name__ == "__main__":
    sys.exit(main())
