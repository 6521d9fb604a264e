"""Imports go down the floors, files stay small, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lookalike"

FLOORS = [
    {"errors", "formats", "types", "tracing", "io"},
    {"imaging", "vectors", "sources"},
    {"models"},
    {"store", "datasets"},
    {
        *{"cluster", "drawing", "indexing", "retrieval"},
        *{"duplicates", "evaluation", "learning", "projection", "maintenance"},
        "review",
    },
    {"collection", "export"},
    {"shortcuts"},
    {"demo"},
    {"cli", "server", "__main__"},
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}

# Each is imported in these places only.
HEAVY = {
    "lance": {"store"},
    "onnxruntime": {"models"},
    "onnx": {"models"},
    "cv2": {"duplicates"},
    "imagecodecs": {"imaging"},
    "jinja2": {"export", "server"},
    "matplotlib": {"drawing"},
    "obstore": {"sources", "store"},
    "openTSNE": {"projection"},
    "pillow_jxl": {"imaging"},
    "rawpy": {"imaging"},
    "simsimd": {"vectors"},
    "tifffile": {"imaging"},
    "tokenizers": {"models"},
    "typer": {"cli"},
    "rich": {"cli"},
    "huggingface_hub": {"models"},
    "usearch": {"vectors"},
    "h5py": {"models"},
    "openvino": {"models"},
    "fastapi": {"server"},
    "starlette": {"server"},
    "pydantic": {"server"},
    "uvicorn": {"server"},
    "prometheus_client": {"server"},
    "ray": {"cluster"},
    "lance_ray": {"cluster"},
}


def unit(module: str) -> str:
    """Return the package a module belongs to: ``lookalike.models.registry`` -> ``models``."""
    return [*module.split("."), ""][1]


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which floor is meant"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def climbs(module: str, source: str) -> list[str]:
    """Return what is wrong with a module's imports."""
    home = unit(module)
    wrong = []
    for name in imports(ast.parse(source)):
        top, other = name.split(".")[0], unit(name)
        if top in HEAVY and home not in HEAVY[top]:
            wrong.append(f"{module} imports {top}")
        if top != "lookalike" or other in {home, ""}:
            continue
        # A name outside the floors is a public name of the package root, above the collection.
        own_floor, its_floor = FLOOR[home], FLOOR.get(other, FLOOR["collection"])
        sibling = own_floor == its_floor and own_floor in {1, 3}
        if its_floor > own_floor or sibling:
            wrong.append(
                f"{module} (floor {own_floor}) imports {name} (floor {its_floor})"
            )
    return wrong


def modules() -> dict[str, Path]:
    files = sorted(SOURCE.rglob("*.py"))
    return {
        "lookalike." + ".".join(file.relative_to(SOURCE).with_suffix("").parts): file
        for file in files
    }


def test_imports_go_down():
    below = modules()
    del below["lookalike.__init__"]
    homeless = {unit(module) for module in below} - FLOOR.keys()
    assert not homeless, f"{homeless} have no floor: give each one in FLOORS"
    wrong = []
    for module, file in below.items():
        wrong += climbs(module, file.read_text(encoding="utf-8"))
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lookalike.imaging", "import lookalike.indexing.run"),
        ("lookalike.imaging.decoder", "from lookalike import vectors"),
        ("lookalike.models.registry", "from lookalike import collection"),
        (
            "lookalike.store.table",
            "def f():\n    from lookalike.retrieval.search import search",
        ),
        ("lookalike.indexing.run", "from lookalike import cli"),
        ("lookalike.retrieval.search", "import onnxruntime as ort"),
    ],
)
def test_the_checker_sees_a_climb(module, source):
    assert len(climbs(module, source)) == 1


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "scripts"])
def test_files_are_small(folder):
    root = SOURCE.parents[1]
    long = [
        f
        for f in (root / folder).rglob("*.py")
        if len(f.read_text(encoding="utf-8").splitlines()) > 600
    ]
    assert long == []


def test_functions_and_argument_lists_are_small():
    wrong, lengths = [], []
    for module, file in modules().items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            lines = (node.end_lineno or 0) - node.lineno + 1
            lengths.append(lines)
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            arguments = [
                argument for argument in given if argument.arg not in {"self", "cls"}
            ]
            # A command's options are its arguments.
            if lines > 70 or (len(arguments) > 8 and unit(module) != "cli"):
                wrong.append(
                    f"{module}.{node.name}: {lines} lines, {len(arguments)} arguments"
                )
    assert wrong == []
    assert sorted(lengths)[len(lengths) // 2] <= 10


def test_import_loads_nothing_heavy():
    script = (
        "import lookalike, sys; "
        "print(*sorted(set(map(lambda m: m.split('.')[0], sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not loaded & {*HEAVY, "numpy", "pyarrow", "PIL", "pandas", "ray", "fastapi"}


# Modules for other work than a search by a JPEG in a local collection.
NOT_FOR_A_SEARCH = {
    "lookalike.imaging.conversion",
    "lookalike.imaging.tiff",
    "lookalike.models.text.classifier",
    "lookalike.models.text.phrases",
    "lookalike.models.text.table",
    "lookalike.models.text.tags",
    "lookalike.learning",
    "lookalike.retrieval.centered",
    "lookalike.retrieval.context",
    "lookalike.review.run",
    "lookalike.sources.archives",
    "lookalike.sources.local",
    "lookalike.sources.objects",
    "lookalike.sources.tables",
    "lookalike.store.object_location",
    "lookalike.store.trash",
    "PIL.ImageCms",
    "PIL.TiffImagePlugin",
    "lance.optimize",
    "sklearn",
}


def test_a_search_loads_no_modules_for_other_work():
    script = """
import io, sys
from PIL import Image
import lookalike.collection, lookalike.retrieval.search
from lookalike import imaging

file = io.BytesIO()
Image.new("RGB", (8, 8)).save(file, "JPEG")
imaging.decode_small(file.getvalue(), min_side=8)
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "lookalike.store.table" in loaded
    assert loaded & NOT_FOR_A_SEARCH == set()


def test_an_index_run_without_tags_loads_nothing_of_them():
    script = "import sys, lookalike.indexing.run; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "lookalike.indexing.writer" in loaded
    assert "lookalike.indexing.tags" not in loaded
    assert "lookalike.models.text.tags" not in loaded


def test_exported_names():
    nouns = ["Collection", "LookalikeError", "Matches"]
    verbs = ["backup", "check", "index", "optimize", "restore", "search", "search_many"]
    assert lookalike_names() == nouns + verbs


def lookalike_names() -> list[str]:
    import lookalike

    for name in lookalike.__all__:
        assert getattr(lookalike, name) is not None
    return lookalike.__all__
