"""Fixtures that many tests need: folders of their own, the photographs, and collections of them."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

import lookalike
from browsing import BROWSER, OPTIONS, PATIENCE_S
from lookalike.store import tuning
from lookalike.store.table import Table
from objects_server import FaultProxy, ObjectStore, fault_proxy, write_server
from photographs import every

BuildOnce = Callable[[str, Callable[[Path], None]], Path]

# Threads of OpenMP sleep while they wait. By default they spin, and the workers of a parallel run
# take the cores from each other. Read when scikit-learn is imported, also by processes of tests.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Threads of OpenBLAS spin too. Processes of tests have one, as there are more workers than cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Files that take longest. They start first, so that no worker is left with one at the end.
LONGEST_FILES = [
    "test_benchmarks.py",
    "cluster/test_ray.py",
    "test_docs.py",
    "server/page/test_results.py",
    "store/test_object_location.py",
    "server/page/test_accessibility.py",
    "trust/test_torture.py",
    "server/page/test_page_problems.py",
    "server/page/test_begin.py",
    "server/test_schema.py",
    "projection/test_map.py",
    "e2e/test_demo.py",
    "maintenance/test_optimize.py",
    "server/page/test_map_view.py",
    "imaging/test_color.py",
    "server/page/test_start_view.py",
    "trust/test_disk.py",
    "e2e/test_cli.py",
    "store/test_ann.py",
    "e2e/test_photographs.py",
    "maintenance/test_backup.py",
    "trust/test_concurrency.py",
    "trust/test_bad_images.py",
    "imaging/test_decode_small.py",
    "e2e/test_evaluation.py",
    "server/test_serving.py",
    "server/test_jobs.py",
    "e2e/test_map_page.py",
    "models/test_inception_v3.py",
    "trust/test_fuzz.py",
    "datasets/test_sample.py",
    "drawing/test_matches.py",
    "server/page/test_health_view.py",
    "server/page/test_sign_in.py",
    "models/test_calibration.py",
]

SLOW_FIXTURES = {"browser", "photographs", "caltech", "store_endpoint"}

# Variables of a user's shell that would change the results of tests.
USER_SETTINGS = (
    "LOOKALIKE_COLLECTION",
    "LOOKALIKE_LOCK_TIMEOUT",
    "LOOKALIKE_TOKEN",
    "LOOKALIKE_TRACE",
    "LOOKALIKE_TRASH_DAYS",
    "LOOKALIKE_WEIGHTS",
)

# Variables of object storage that the fixtures do not set.
STORE_SETTINGS = (
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
)


def pytest_addoption(parser):
    parser.addoption(
        "--fast",
        action="store_true",
        help="leave out slow tests, and those of a browser, of photographs or of an object store",
    )


def pytest_collection_modifyitems(config, items):
    items.sort(key=start_order)
    if not config.getoption("--fast"):
        return
    slow = [item for item in items if is_slow(item)]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not is_slow(item)]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Look for no garbage among the million objects of modules and tests, which stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def start_order(item: pytest.Item) -> int:
    """Return the place of a test's file among the longest, which start first."""
    file = item.path.relative_to(Path(__file__).parent).as_posix()
    if file in LONGEST_FILES:
        return LONGEST_FILES.index(file)
    return len(LONGEST_FILES)


def is_slow(item: pytest.Item) -> bool:
    """Return whether a test is marked slow, or has a fixture that makes it slow."""
    if item.get_closest_marker("slow"):
        return True
    return not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """A folder that all workers of a parallel run have in common."""
    own = tmp_path_factory.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    return own.parent if is_worker else own


@pytest.fixture(scope="session")
def build_once(shared_folder) -> BuildOnce:
    """Build a folder of the given name unless another worker already did, and return its path."""

    def build(name: str, write: Callable[[Path], None]) -> Path:
        folder = shared_folder / name
        finished = shared_folder / f"{name}.finished"
        with FileLock(shared_folder / f"{name}.lock"):
            if not finished.exists():
                write(folder)
                finished.touch()
        return folder

    return build


@pytest.fixture(autouse=True, scope="session")
def _own_folders(shared_folder):
    """Keep tests and the processes they start away from the user's cache, data and settings."""
    home = shared_folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        patch.setenv("HF_HOME", str(home / "huggingface"))
        for name in USER_SETTINGS:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _deliver_interrupts():
    """Make Ctrl-C testable where a shell started the suite in the background and ignores it."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.fixture(autouse=True, scope="session")
def _few_sample_rows():
    """Measure the recall of an index on few rows: that is most of the time of `optimize`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "SAMPLE_ROWS", 8)
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real photographs and weights; tests that need it skip where it is missing."""
    default = Path(__file__).parents[2] / "shared"
    root = Path(os.environ.get("LOOKALIKE_TEST_DATA", default))
    if not root.is_dir():
        pytest.skip(
            f"needs the photographs and weights in {root}; LOOKALIKE_TEST_DATA names them"
        )
    return root


@pytest.fixture(scope="session")
def photographs(data_root) -> Path:
    """The 3,079 photographs of nine classes of Caltech 101."""
    return data_root / "caltech101" / "101_ObjectCategories"


@pytest.fixture(scope="session")
def eighth(photographs, build_once) -> Path:
    """Every eighth photograph of each class, 389 in all.

    `scripts/bench references` evaluates all photographs.
    """

    def copy_files(folder: Path) -> None:
        for file in every(8, photographs):
            copy = folder / file.parent.name / file.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)

    parent = build_once("eighth", lambda parent: copy_files(parent / photographs.name))
    return parent / photographs.name


@pytest.fixture(scope="session")
def caltech(eighth, build_once) -> Table:
    """The eighth of the photographs in two feature Spaces (float32 and int8) and in pixel space.

    For reading only.
    """
    models = ["efficientnet-lite0", "efficientnet-lite0-int8", "pixels"]
    path = build_once(
        "caltech", lambda folder: lookalike.index(eighth, folder, models=models)
    )
    return Table.open(path)


@pytest.fixture(scope="session")
def sample(build_once) -> Path:
    """The drawn sample, five images a class."""
    from lookalike.datasets.sample import write_sample

    return build_once("sample", lambda folder: write_sample(folder, per_class=5))


@pytest.fixture(scope="session")
def sample_in_float(sample, build_once) -> Path:
    """A collection of the drawn sample in a float32 feature Space and in pixel space. Read-only."""
    models = ["efficientnet-lite0", "pixels"]
    return build_once(
        "sample-in-float", lambda path: lookalike.index(sample, path, models=models)
    )


@pytest.fixture(scope="session")
def sample_in_int8(sample, build_once) -> Path:
    """A collection of the drawn sample in an int8 feature Space and in pixel space. Read-only."""
    models = ["efficientnet-lite0-int8", "pixels"]
    return build_once(
        "sample-in-int8", lambda path: lookalike.index(sample, path, models=models)
    )


@pytest.fixture(scope="session")
def two_towers(build_once):
    """A small network of images and words, and the drawn images that it was fitted to."""
    from two_towers import TwoTowers, write_two_towers

    folder = build_once("two-towers", write_two_towers)
    return TwoTowers(folder)


@pytest.fixture(scope="session")
def store_endpoint(build_once) -> str:
    """The address of an S3-compatible server, one for all workers of a parallel run."""
    pytest.importorskip("moto", reason="needs moto: pip install 'moto[server]'")
    pytest.importorskip("obstore", reason="needs obstore: pip install obstore")
    folder = build_once("object-store", write_server)
    return (folder / "endpoint").read_text()


@pytest.fixture
def object_store(store_endpoint, monkeypatch) -> ObjectStore:
    """An empty bucket of a real S3-compatible server, which the environment names."""
    # Without a hyphen, which requests to Google Cloud Storage quote and the server takes as it is.
    store = ObjectStore(store_endpoint, f"bucket{uuid.uuid4().hex[:12]}")
    store.create()
    set_store_environment(store, monkeypatch)
    return store


@pytest.fixture
def faulty_store(object_store, monkeypatch) -> Iterator[FaultProxy]:
    """A proxy before the server of `object_store`, which the environment names in its place."""
    with fault_proxy(object_store.endpoint) as (endpoint, proxy):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield proxy


def set_store_environment(store: ObjectStore, patch: pytest.MonkeyPatch) -> None:
    for name in STORE_SETTINGS:
        patch.delenv(name, raising=False)
    for name, value in store.environment().items():
        patch.setenv(name, value)


@pytest.fixture
def few_drawn_images(monkeypatch):
    """Draw five images of each class where a command draws forty."""
    from lookalike.datasets.sample import write_sample

    monkeypatch.setitem(write_sample.__kwdefaults__, "per_class", 5)


@pytest.fixture(scope="module")
def browser():
    """Chromium, until the tests of the module are done.

    Playwright drives one browser at a time from a thread.
    """
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright: pip install playwright"
    )
    sync_api.expect.set_options(timeout=1000 * PATIENCE_S)
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=OPTIONS)
        yield running
        running.close()
