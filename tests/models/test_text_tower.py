"""A text tower in the hub's layout is fetched when a text comes, and finds the images it names."""

from __future__ import annotations

import gc
import json
import logging
import random
import shutil
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from safetensors.numpy import save_file

import lookalike
import two_towers as made
from hub_server import hub_of
from local_server import Fault, local_server
from lookalike import Collection, imaging
from lookalike.errors import InputError, ModelError, WeightsError
from lookalike.models import embedder, licenses, registry, schema, weights
from lookalike.models.text import tokenizer
from lookalike.models.text.reader import load_reader
from lookalike.models.text.tower import load_text, shared_text
from lookalike.retrieval.query import RowQuery, TextQuery, WeightedQuery
from lookalike.types import Model, Weights

FILES = (made.VISION, made.TEXT, made.TOKENIZER)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def server(two_towers):
    with local_server() as server:
        for name in FILES:
            server.serve(f"/{name}", two_towers.read(name))
        yield server


@pytest.fixture
def describe(two_towers, tmp_path, server):
    """Write the description of the made network, with more lines for its text tower."""

    def write(text: str = "", **replaced: str) -> Model:
        place = {name: server.url(f"/{name}") for name in FILES}
        content = two_towers.describe(place, text)
        for old, new in replaced.items():
            content = content.replace(f"{old} = ", f"{new} = ")
        path = tmp_path / "made.toml"
        path.write_text(content, "utf-8")
        return registry.resolve(path)

    return write


@pytest.fixture
def model(describe):
    return describe()


def asked(server) -> list[str]:
    return [request.path.removeprefix("/") for request in server.asked]


def serve(server, name: str, body: bytes, **options) -> Weights:
    """Serve another file, and return its description."""
    url = server.serve(f"/{name}", body, **options)
    digest = made.hashlib.sha256(body).hexdigest()
    return Weights(file=Path(name).name, sha256=digest, url=url)


def with_tower(model: Model, **changes) -> Model:
    return replace(model, text=replace(model.text, **changes))


# Searching


def test_words_find_the_images_that_they_name(model, two_towers):
    images = sorted(two_towers.images.rglob("*.png"))
    prepared = [
        imaging.prepare(Image.open(path).convert("RGB"), model) for path in images
    ]
    vectors = embedder.load(model).embed(np.stack(prepared))
    texts = ["a red car", "A photo of the RED, cat!", "sailboat red"]
    queries = load_text(model).embed(texts)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, rtol=1e-5)
    for query, kind in zip(queries, ("car", "cat", "sailboat"), strict=True):
        count = len(made.RED[kind])
        best = np.argsort(vectors @ query)[::-1][:count]
        names = {images[place].name for place in best}
        assert names == {f"red-{kind}-{index}.png" for index in made.RED[kind]}


def test_collection_is_searched_by_words(describe, two_towers, tmp_path, server):
    path = tmp_path / "c"
    lookalike.index(two_towers.images, path, models=[describe()])
    assert made.TEXT not in asked(server)
    collection = Collection.open(path)
    matches = collection.search(TextQuery("a red car"), k=3)
    names = {Path(uri).name for uri in matches.uris}
    assert names == {f"red-car-{index}.png" for index in made.RED["car"]}
    assert matches.to_dict()["understood"][0]["words"] == ["a red car"]

    # Words and an image: a sailboat, but red.
    image = two_towers.images / "sailboat" / "other-sailboat-0.png"
    mixed = collection.search([image, WeightedQuery(TextQuery("red"), 1.0)], k=2)
    names = {Path(uri).name for uri in mixed.uris}
    assert names == {f"red-sailboat-{index}.png" for index in made.RED["sailboat"]}
    with pytest.raises(InputError, match="knows no word of the text"):
        collection.search(TextQuery("zyxwv"))


def test_spaces_that_know_other_words_answer_together(describe, two_towers, tmp_path):
    tower = describe()
    spaces = [tower.name, "efficientnet-lite0-int8"]
    lookalike.index(two_towers.images, tmp_path / "c", models=[tower, spaces[1]])
    collection = Collection.open(tmp_path / "c")
    (understood,) = collection.search(text="red airliner", space=spaces).understood
    assert understood.words == ("red airliner", "airliner")
    assert understood.unknown == ("red",)


def test_labels_of_another_alphabet_do_not_end_the_measurement(
    describe, two_towers, tmp_path
):
    images = tmp_path / "images"
    shutil.copytree(two_towers.images, images)
    (images / "cat").rename(images / "\u043a\u043e\u0442")
    (images / "sailboat").rename(images / "?!")
    collection = Collection.create(tmp_path / "c", [describe('alphabet = "latin"')])
    collection.index(images)
    evaluation = collection.evaluate_texts()
    assert [score.text for score in evaluation.texts] == ["car"]
    assert set(evaluation.not_understood) == {"\u043a\u043e\u0442", "?!"}


def test_words_and_rows_need_no_image_tower(model, two_towers, tmp_path, server):
    path = tmp_path / "c"
    lookalike.index(two_towers.images, path, models=[model])
    weights.find(model).unlink()
    server.asked.clear()
    collection = Collection.open(path)
    matches = collection.search(TextQuery("a red car"), k=1)
    assert collection.search(RowQuery(int(matches.ids[0])), k=1).uris == matches.uris
    assert made.VISION not in asked(server)
    collection.search(matches.uris[0], k=1)
    assert made.VISION in asked(server)


def test_two_spaces_keep_one_tower_in_memory(describe):
    model, other = describe(), describe('template = "the {}"')
    first, second = load_reader(model), load_reader(other)
    vector = first.read("red car").vector
    tower = weakref.ref(shared_text(model))
    assert shared_text(model) is tower()
    second.read("red car")
    gc.collect()
    assert tower() is None
    assert shared_text(other).model == other
    np.testing.assert_array_equal(first.read("red car").vector, vector)


def test_files_are_fetched_when_they_are_needed_and_once(model, server):
    embedder.load(model)
    assert asked(server) == [made.VISION]
    for _ in range(2):
        load_text(model)
    assert asked(server) == [made.VISION, made.TOKENIZER, made.TEXT]


def test_long_text_is_cut_to_the_context(model):
    tower = load_text(model)
    # The graph takes exactly eight tokens; the last one is the end.
    seven = "red car cat a a a a"
    np.testing.assert_array_equal(
        tower.embed([f"{seven} sailboat {'word ' * 10_000}"]), tower.embed([seven])
    )


@pytest.mark.parametrize("text", ["", "  ", "?!", "\N{GUITAR}\N{GUITAR}", "\0\x1b"])
def test_text_without_a_word_is_refused(model, text):
    with pytest.raises(InputError, match=r"has no words\. Use words"):
        load_text(model).embed([text])


@pytest.mark.parametrize("text", ["xyzzy", "\u8eca", "\u0633\u064a\u0627\u0631\u0629"])
def test_unknown_word_is_refused_and_not_answered(model, text):
    with pytest.raises(InputError, match="'made' knows no word of the text"):
        load_text(model).embed([text])


@pytest.mark.parametrize(
    "text",
    [
        "\u043c\u0430\u0448\u0438\u043d\u0430",
        "red \u8eca",
        "\u05de\u05db\u05d5\u05e0\u05d9\u05ea",
    ],
)
def test_other_alphabet_is_refused_by_an_english_tower(describe, text):
    tower = load_text(describe('alphabet = "latin"'))
    with pytest.raises(InputError, match="learned only English"):
        tower.embed([text])
    assert np.isfinite(tower.embed(["a r\u00e9d car \u00bd \uff52\uff45\uff44"])).all()


def test_template_surrounds_the_words(describe):
    plain = load_text(describe()).embed(["red car"])
    asked_about_cars = load_text(describe('template = "red {}"')).embed(["car"])
    np.testing.assert_array_equal(plain, asked_about_cars)


def test_model_without_text_tower_says_so():
    with pytest.raises(ModelError, match="'pixels' has no text tower"):
        load_text(registry.resolve("pixels"))


def test_missing_package_is_named_before_any_download(model, server, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ModelError, match=r"pip install 'lookalike\[text\]'"):
        load_text(model)
    assert server.asked == []


# Downloads


def test_license_and_notice_are_shown_once_for_a_file(model, caplog):
    with caplog.at_level(logging.WARNING, "lookalike"):
        weights.find(model)
        weights.find(model)
    (message,) = caplog.messages
    assert message == (
        "The model made needs made-vision_model.onnx (0.0 MB), which is downloaded now. "
        "License: MIT. Made for tests."
    )


def test_broken_download_is_resumed(model, server, two_towers):
    half = len(two_towers.read(made.TEXT)) // 2
    server.files[f"/{made.TEXT}"].faults = [Fault(cut=half)]
    load_text(model)
    last = server.asked[-1]
    assert (last.status, last.headers["Range"]) == (206, f"bytes={half}-")
    assert weights.find(model, "text.graph").read_bytes() == two_towers.read(made.TEXT)


@pytest.mark.parametrize("name", FILES[1:])
def test_wrong_file_is_refused_and_not_kept(model, server, two_towers, name):
    body = two_towers.read(name)
    server.serve(f"/{name}", body[:-1] + b"!")
    with pytest.raises(WeightsError, match="not the promised file"):
        load_text(model)
    server.serve(f"/{name}", body + b"!")
    with pytest.raises(WeightsError, match=f"expected {len(body)} bytes, got"):
        load_text(model)
    server.serve(f"/{name}", body)
    load_text(model)


def test_offline_text_is_an_error_and_images_still_work(model, server, monkeypatch):
    embedder.load(model)
    monkeypatch.setenv("LOOKALIKE_OFFLINE", "1")
    embedder.load(model)
    with pytest.raises(
        WeightsError, match=r"The tokenizer of the model 'made' \(.*OFFLINE"
    ):
        load_text(model)
    assert asked(server) == [made.VISION]


@pytest.fixture
def mirror(two_towers, tmp_path, monkeypatch):
    """A mirror of the hub, as HF_ENDPOINT names one before the process starts."""
    with hub_of(two_towers.hub_files()) as hub:
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield hub


def test_mirror_of_the_hub_serves_all_files(two_towers, tmp_path, mirror):
    path = tmp_path / "made.toml"
    path.write_text(two_towers.describe(), "utf-8")
    model = registry.resolve(path)
    embedder.load(model)
    assert not any(made.TEXT in request for request in mirror.asked)
    tower = load_text(model)
    assert np.isfinite(tower.embed(["a red car"])).all()
    before = len(mirror.asked)
    load_text(model)
    assert len(mirror.asked) == before


def test_hub_file_of_another_size_is_refused_before_it_is_read(
    two_towers, tmp_path, mirror
):
    path = tmp_path / "made.toml"
    path.write_text(two_towers.describe(), "utf-8")
    hub_path = next(name for name in mirror.files if made.TEXT in name)
    mirror.files[hub_path] += b"more"
    size = len(mirror.files[hub_path])
    with pytest.raises(WeightsError, match=f"it has {size:,} bytes there, expected"):
        load_text(registry.resolve(path))
    digest = made.hashlib.sha256(mirror.files[hub_path]).hexdigest()
    assert f"GET /large/{digest}" not in mirror.asked


def test_license_with_terms_is_accepted_first(model, server):
    terms = "https://example.com/terms"
    strict = replace(
        model, weights=replace(model.weights, terms=terms, license="Strict")
    )
    with pytest.raises(
        WeightsError, match=rf"license, Strict: {terms}.*--accept-license made"
    ):
        weights.find(strict)
    assert server.asked == []
    assert licenses.accept(model) == []
    assert licenses.accept(strict) == [terms]
    assert weights.find(strict).is_file()


# Tokenizers that lie


def lying_tokenizer(change) -> bytes:
    content = made.tokenizer_file()
    change(content)
    return json.dumps(content).encode()


def shift_ids(content: dict) -> None:
    vocabulary = content["model"]["vocab"]
    for word in made.MEANINGS:
        vocabulary[word] += 1_000_000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not JSON", "cannot be read: .*Give a valid tokenizer.json"),
        (b"{}", "cannot be read"),
        (random.Random(0).randbytes(1000), "cannot be read"),
        (lying_tokenizer(lambda file: file["model"].update(type="Other")), "cannot be read"),
        (lying_tokenizer(shift_ids), "The text graph .* failed: .*Its tokenizer and its context"),
    ],
)  # fmt: skip
def test_tokenizer_that_is_none_is_an_error(model, server, body, reason):
    file = serve(server, "lie.json", body)
    with pytest.raises(ModelError, match=reason):
        load_text(with_tower(model, tokenizer=file)).embed(["a red car"])


def test_tokenizer_that_is_too_large_is_not_read(model, monkeypatch):
    monkeypatch.setattr(tokenizer, "_MAX_TOKENIZER_BYTES", 100)
    with pytest.raises(ModelError, match="bytes; expected at most 100"):
        load_text(model)


def test_context_without_room_for_words_is_an_error(model):
    with pytest.raises(InputError, match="knows no word"):
        load_text(with_tower(model, context=1)).embed(["red car"])


# Other layouts


def save_graph(path: Path, proto) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)
    return path


def port(name: str, kind=TensorProto.INT64, shape=("n", "tokens")):
    return helper.make_tensor_value_info(name, kind, shape)


def test_masked_mean_and_dense_layer_match_numpy(model, tmp_path):
    """The multilingual tower's layout: hidden values of each token, a mask, a dense layer."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(len(made.vocabulary()), 6)).astype(np.float32)
    dense = rng.normal(size=(4, 6)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"]),
        helper.make_node("Identity", ["attention_mask"], ["seen"]),
    ]
    outputs = [
        port("last_hidden_state", TensorProto.FLOAT, ["n", "t", 6]),
        port("seen"),
    ]
    inputs = [port("input_ids"), port("attention_mask")]
    path = save_graph(
        tmp_path / "text.onnx", made.graph(nodes, inputs, outputs, {"table": table})
    )
    save_file({"linear.weight": dense}, tmp_path / "dense.safetensors")
    multilingual = with_tower(
        model,
        graph=Weights(str(path)),
        projection=Weights(str(tmp_path / "dense.safetensors")),
        output="last_hidden_state",
        pooling="mean",
    )
    embedded = load_text(multilingual).embed(["red car"])

    ids = [made.vocabulary()[word] for word in ("red", "car", "</s>")]
    expected = dense @ table[ids].mean(axis=0)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(embedded, [expected], rtol=1e-5)

    first = with_tower(multilingual, pooling="first")
    expected = dense @ table[ids[0]]
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(
        load_text(first).embed(["red car"]), [expected], rtol=1e-5
    )
    for change, reason in [
        ({"pooling": "none"}, "Set output and pooling"),
        ({"projection": None}, "gives 6 features, .* have 4 numbers"),
        ({"output": "other"}, "has no output 'other'; it has last_hidden_state, seen"),
    ]:
        with pytest.raises(ModelError, match=reason):
            load_text(with_tower(multilingual, **change)).embed(["red car"])


def test_file_with_both_towers_gives_the_same_vectors(model, two_towers, tmp_path):
    """TinyCLIP's layout: one graph, which would need pixels and words at once."""
    vision = onnx.load_from_string(two_towers.read(made.VISION))
    text = onnx.load_from_string(two_towers.read(made.TEXT))
    both = onnx.compose.merge_models(
        onnx.compose.add_prefix(vision, "image_"),
        onnx.compose.add_prefix(text, "text_"),
        io_map=[],
    )
    for node in both.graph.node:
        for index, name in enumerate(node.input):
            if name == "text_input_ids":
                node.input[index] = "input_ids"
    for graph_input in both.graph.input:
        graph_input.name = graph_input.name.replace("text_", "")
    path = Weights(str(save_graph(tmp_path / "both.onnx", both)))
    one_file = replace(
        with_tower(model, graph=path, output="text_pooler_output"),
        weights=path,
        image_input="image_pixel_values",
        output="image_pooler_output",
        batch=1,
    )
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(
        embedder.load(one_file).embed(images), embedder.load(model).embed(images)
    )
    np.testing.assert_array_equal(
        load_text(one_file).embed(["red"]), load_text(model).embed(["red"])
    )
    wrong = replace(one_file, image_input="input_ids")
    with pytest.raises(ModelError, match="needs image_pixel_values too"):
        embedder.load(wrong)
    with pytest.raises(ModelError, match="has no output 'absent'"):
        embedder.load(replace(one_file, output="absent"))


def test_graph_with_other_inputs_is_refused(model, tmp_path):
    nodes = [helper.make_node("Cast", ["position_ids"], ["y"], to=TensorProto.FLOAT)]
    outputs = [port("y", TensorProto.FLOAT)]
    path = save_graph(
        tmp_path / "x.onnx", made.graph(nodes, [port("position_ids")], outputs, {})
    )
    with pytest.raises(
        ModelError, match=r"takes position_ids .*expected only integers"
    ):
        load_text(with_tower(model, graph=Weights(str(path))))


def test_data_beside_the_graph_come_from_the_hub(two_towers, tmp_path, mirror, model):
    """DINOv3's layout: a small graph, and its numbers in another file."""
    proto = onnx.load_from_string(two_towers.read(made.VISION))
    onnx.save(
        proto, tmp_path / "model.onnx", save_as_external_data=True,
        location="model.onnx_data", size_threshold=0,
    )  # fmt: skip
    parts = {}
    for name in ("model.onnx", "model.onnx_data"):
        body = (tmp_path / name).read_bytes()
        mirror.files[f"/made/split/resolve/main/onnx/{name}"] = body
        digest = made.hashlib.sha256(body).hexdigest()
        parts[name] = Weights(name, digest, hub=f"made/split/onnx/{name}")
    split = replace(model, weights=parts["model.onnx"], data=parts["model.onnx_data"])
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    expected = embedder.load(model).embed(images)
    assert not weights.is_available(split)
    for _ in range(2):
        np.testing.assert_array_equal(embedder.load(split).embed(images), expected)
    assert weights.is_available(split)

    # A damaged copy is replaced.
    copy = weights.find_graph_file(split).with_name("model.onnx_data")
    copy.write_bytes(b"damaged")
    np.testing.assert_array_equal(embedder.load(split).embed(images), expected)


# Descriptions


def test_description_survives_the_collection(describe):
    model = describe(
        'template = "a photo of {}"\nlogit_scale = 4.5\nlogit_bias = -16.0'
    )
    assert (
        Model.from_json(model.to_json()) == model == schema.parse_model(model.to_json())
    )
    assert model.text.logit_scale == 4.5
    assert model.text.graph.notice == "Made for tests."


def test_fingerprint_knows_the_words_but_not_the_places(describe, model):
    moved = with_tower(model, graph=replace(model.text.graph, url="http://x.example/a"))
    assert moved.fingerprint == model.fingerprint
    assert describe('template = "the {}"').fingerprint != model.fingerprint
    assert replace(model, text=None).fingerprint != model.fingerprint


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("context = 0", r"text.context = 0; expected a number of tokens, 1 to 4096"),
        ("padding = -1", r"text.padding = -1; expected the id of a token"),
        ('lower_case = "yes"', r"text.lower_case = 'yes'; expected true or false"),
        (
            'template = "a photo"',
            r"text.template = 'a photo'; expected a text of at most",
        ),
        ('template = "{} {}"', r"text.template = '\{\} \{\}'; expected"),
        ('alphabet = "greek"', r"text.alphabet = 'greek'; expected one of any, latin"),
        ("logit_scale = nan", r"text.logit_scale = nan; expected a number"),
        (
            "contxt = 3",
            r"the unknown key 'contxt' in \[text\]; expected alphabet, context",
        ),
        ("projection = 3", r"text.projection = 3; expected a table of texts"),
    ],
)
def test_invalid_text_tower_is_refused(tmp_path, line, fault):
    base = {"context": "context = 8", "graph": 'graph = {file = "x.onnx"}',
            "tokenizer": 'tokenizer = {file = "tokenizer.json"}'}  # fmt: skip
    key = line.split()[0]
    lines = [entry for name, entry in base.items() if name != key]
    path = tmp_path / "mine.toml"
    head = 'architecture = "onnx"\nsize = [8, 8]\ndim = 4\n'
    path.write_text(f"{head}[text]\n{line}\n" + "\n".join(lines), "utf-8")
    with pytest.raises(ModelError, match=rf"mine.toml has {fault}"):
        registry.resolve(path)
    for name in base:
        others = [entry for key, entry in base.items() if key != name]
        path.write_text(f"{head}[text]\n" + "\n".join(others), "utf-8")
        with pytest.raises(
            ModelError, match=rf"has a \[text\] without the key '{name}'"
        ):
            registry.resolve(path)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("text = 3", r"text = 3; expected a table with graph, tokenizer and context"),
        ("batch = 0", r"batch = 0; expected a number of images"),
        ("batch = 2", r"batch and architecture = 'pixels'"),
        ('image_input = "x"', r"image_input and architecture = 'pixels'"),
        (
            "crop_side = 9",
            r"crop_side = 9, resize = 'squash' .*expected resize = 'crop'",
        ),
        (
            'resize = "crop"\ncrop_side = 7',
            r"crop_side = 7, .*a crop_side of 8 or more",
        ),
        ('weights = {file = "a", size = -1}', r"size is a number of bytes"),
    ],
)
def test_invalid_field_of_a_description_is_refused(tmp_path, lines, fault):
    path = tmp_path / "mine.toml"
    path.write_text(f'architecture = "pixels"\nsize = [8, 8]\ndim = 192\n{lines}\n')
    with pytest.raises(ModelError, match=fault):
        registry.resolve(path)
