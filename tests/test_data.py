"""Training data: what the samples are, their order and variation, and what is refused."""

import hashlib
import io
import itertools
import sys
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("sklearn.datasets")

from torch.nn.functional import cross_entropy, interpolate  # noqa: E402

from codesign.errors import SpecError  # noqa: E402
from codesign.train import data_cifar  # noqa: E402
from codesign.train.data import TrainBatches, ValidationBatches, load_data  # noqa: E402
from codesign.train.data_images import Labelled, flip_and_shift, statistics  # noqa: E402
from codesign.train.data_text import Text, standard_library  # noqa: E402
from workloads.models import ModelInput, build, model_input  # noqa: E402

EIGHT = ModelInput((1, 8, 8), tokens=False)


def everything(batches):
    """Inputs and targets of all batches."""
    xs, ys = zip(*batches, strict=True)
    return torch.cat(xs), torch.cat(ys)


# -- order -------------------------------------------------------------------------------------------------------


class Numbers:
    """A source whose samples are their own numbers; the target tells the random variation."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def load(self, indices, rng):
        variation = (
            np.zeros(len(indices), np.int64) if rng is None else rng.integers(1 << 40, size=len(indices))
        )
        return torch.from_numpy(indices), torch.from_numpy(variation)


def listed(batches):
    return [(x.tolist(), y.tolist()) for x, y in batches]


def test_an_epoch_follows_from_seed_and_number():
    batches = TrainBatches(Numbers(103), batch=10, seed=7)
    third = listed(batches.epoch(3))
    assert len(third) == len(batches) == 10
    seen = [number for x, _ in third for number in x]
    assert len(set(seen)) == 100
    assert set(seen) < set(range(103))
    assert seen != sorted(seen)
    assert listed(TrainBatches(Numbers(103), 10, 7).epoch(3)) == third
    for start in (0, 4, 9, 10):  # resumed in the middle, as if never interrupted
        assert listed(batches.epoch(3, start=start)) == third[start:]
    others = [listed(batches.epoch(2)), listed(TrainBatches(Numbers(103), 10, 8).epoch(3))]
    for other in others:
        assert [x for x, _ in other] != [x for x, _ in third]
    variations = {tuple(y) for _, y in third + others[0] + others[1]}
    assert len(variations) == 30  # no batch of any epoch varies like another


def test_validation_is_everything_in_order():
    batches = ValidationBatches(Numbers(23), batch=10)
    assert len(batches) == 3
    assert [x.tolist() for x, _ in batches] == [[*range(10)], [*range(10, 20)], [20, 21, 22]]
    assert not any(y.any() for _, y in batches)


# -- digits ------------------------------------------------------------------------------------------------------


def test_digits():
    data = load_data("digits", batch=64, seed=1, model_input=EIGHT)
    digits = datasets.load_digits()
    held = np.arange(1797) % 5 == 4
    x, y = everything(data.validation)
    assert data.classes == 10
    assert x.dtype == torch.float32
    assert y.tolist() == digits.target[held].tolist()
    seen = digits.images[~held]
    expected = (digits.images[held] - seen.mean()) / seen.std()
    np.testing.assert_allclose(x[:, 0].numpy(), expected, atol=1e-5)
    assert (len(data.train.source), len(data.validation.source)) == (1438, 359)
    assert len(data.train) == 22


def test_digits_fill_an_image_of_three_channels():
    small = load_data("digits", batch=64, seed=1, model_input=EIGHT)
    large = load_data("digits", batch=64, seed=1)
    assert large.model_input == model_input("resnet9") == ((3, 32, 32), False)
    (x, y), (big, labels) = next(small.train.epoch(0)), next(large.train.epoch(0))
    assert y.equal(labels)
    enlarged = interpolate(x, size=(32, 32), mode="bilinear")
    torch.testing.assert_close(big, enlarged.repeat(1, 3, 1, 1))


def test_digits_fill_a_flat_input():
    image = load_data("digits", batch=4, seed=1, model_input=ModelInput((1, 28, 28), tokens=False))
    flat = load_data("digits", batch=4, seed=1, model_input=model_input("mlp"))
    rgb = load_data("digits", batch=4, seed=1, model_input=ModelInput((3072,), tokens=False))
    (x, _), (y, _), (z, _) = (next(data.train.epoch(5)) for data in (image, flat, rgb))
    assert y.equal(x.reshape(4, 784))
    assert z.equal(next(load_data("digits", batch=4, seed=1).train.epoch(5))[0].reshape(4, 3072))


def test_digits_can_be_learned():
    """One linear layer separates the digits, if inputs and targets belong together."""
    torch.manual_seed(1)
    data = load_data("digits", batch=32, seed=1, model_input=model_input("mlp:64x10"))
    net = build("mlp:64x10")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(5):
        for x, y in data.train.epoch(epoch):
            optimizer.zero_grad()
            cross_entropy(net(x), y).backward()
            optimizer.step()
    x, y = everything(data.validation)
    assert (net(x).argmax(dim=1) == y).float().mean() > 0.9


# -- text --------------------------------------------------------------------------------------------------------


def test_text(tmp_path):
    text = "".join(f"line {index}: é€𝄞\n" for index in range(400))
    (tmp_path / "book.txt").write_text(text, encoding="utf-8", newline="")
    data = load_data(
        "text:book.txt", batch=8, seed=3, root=tmp_path, model_input=ModelInput((16,), tokens=True)
    )
    characters = sorted(set(text))
    assert data.classes == len(characters)

    def spell(tokens):
        return "".join(characters[token] for token in tokens)

    cut = int(0.9 * len(text))
    x, y = everything(data.validation)
    assert x.dtype == y.dtype == torch.int64
    assert spell(x.flatten()) == text[cut:][: x.numel()]
    assert spell(y.flatten()) == text[cut + 1 :][: x.numel()]
    x, y = everything(data.train.epoch(0))
    assert x[:, 1:].equal(y[:, :-1])
    for window, successor in zip(x, y, strict=True):
        assert spell(window) + spell(successor[-1:]) in text[:cut]


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(0, 200), st.integers(0, 1000))
def test_windows_stay_inside_the_text(length, size, seed):
    """The text counts upwards, so that tokens tell where they stand."""
    size += 2 * length
    source = Text(np.arange(size, dtype=np.int32), length)
    count = len(source)
    assert count * length > size - 2 * length  # as many windows as fit, and one to shift into
    x, y = source.load(np.arange(count), np.random.default_rng(seed))
    starts = x[:, 0] - torch.arange(count) * length
    assert ((starts >= 0) & (starts < length)).all()
    assert x.equal(x[:, :1] + torch.arange(length))
    assert y.equal(x + 1)


def test_the_default_text_is_the_standard_library():
    data = load_data("text", batch=8, seed=3)
    corpus = standard_library()
    assert corpus == standard_library()
    assert corpus.isascii()
    assert 1 << 20 < len(corpus) <= 4 << 20
    assert "def dataclass(" in corpus
    assert data.classes == len(set(corpus)) < 128
    assert data.model_input == model_input("gpt-mini")
    x, y = next(data.train.epoch(0))
    assert x.shape == y.shape == (8, 128)
    logits = build("gpt-nano", vocab=data.classes)(x)
    assert logits.shape == (8, 128, data.classes)


# -- CIFAR -------------------------------------------------------------------------------------------------------


def write_archive(folder, archive, per_file=20):
    """An archive in the published layout with random records; gives each member's labels and pixels."""
    rng = np.random.default_rng(1)
    written = {}
    with tarfile.open(folder / archive.name, "w:gz") as tar:
        for name in ("readme.html", *reversed(archive.test + archive.train)):
            labels = rng.integers(archive.classes, size=per_file)
            pixels = rng.integers(256, size=(per_file, 3072))
            record = np.column_stack(
                [labels, pixels] if archive.label_bytes == 1 else [labels // 5, labels, pixels]
            )
            content = record.astype(np.uint8).tobytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            written[name] = labels, pixels.reshape(-1, 3, 32, 32)
    return written


@pytest.fixture(params=[10, 100])
def cifar(request, tmp_path, monkeypatch):
    """Spec, folder and content of a small archive that passes for the published one."""
    archive = data_cifar.ARCHIVES[request.param]
    written = write_archive(tmp_path, archive)
    md5 = hashlib.md5((tmp_path / archive.name).read_bytes()).hexdigest()
    monkeypatch.setitem(data_cifar.ARCHIVES, request.param, archive._replace(md5=md5))
    return f"cifar{request.param}", tmp_path, archive, written


def test_cifar(cifar):
    spec, folder, archive, written = cifar
    data = load_data(f"{spec}:{folder.name}", batch=7, seed=2, root=folder.parent)
    train = np.concatenate([written[name][1] for name in archive.train])
    labels, test = written[archive.test[0]]
    mean, deviation = train.mean(axis=(0, 2, 3)), train.std(axis=(0, 2, 3))
    x, y = everything(data.validation)
    assert data.classes == archive.classes
    assert y.tolist() == labels.tolist()
    np.testing.assert_allclose(x, (test - mean[:, None, None]) / deviation[:, None, None], atol=1e-5)
    samples = data.train.source
    plain, y = samples.load(np.arange(len(samples)), None)
    assert y.tolist() == np.concatenate([written[name][0] for name in archive.train]).tolist()
    torch.testing.assert_close(plain.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(plain.var(dim=(0, 2, 3), correction=0), torch.ones(3))


def test_cifar_training_images_are_varied_and_repeatable(cifar):
    spec, folder, _, _ = cifar
    data, again = (load_data(f"{spec}:{folder}", batch=7, seed=2) for _ in range(2))
    for (x, y), (same, labels) in zip(data.train.epoch(1), again.train.epoch(1), strict=True):
        assert x.equal(same)
        assert y.equal(labels)
    assert not next(data.train.epoch(1))[0].equal(next(data.train.epoch(2))[0])


def test_cifar_archive_that_is_not_the_published_one(tmp_path):
    archive = data_cifar.ARCHIVES[10]
    with pytest.raises(
        SpecError, match=r"cifar-10-binary.tar.gz: no such file; download https://www.cs.toronto"
    ):
        load_data("cifar10:.", batch=1, seed=0, root=tmp_path)
    write_archive(tmp_path, archive)
    with pytest.raises(SpecError, match=f"md5 is [0-9a-f]{{32}}, expected {archive.md5}; download .* again"):
        load_data("cifar10:.", batch=1, seed=0, root=tmp_path)


# -- variation and statistics --------------------------------------------------------------------------------------


def test_flip_and_shift():
    """Each result is one of the 2 x 5 x 5 images that can be, and over many draws each of them appears."""
    image = np.random.default_rng(1).integers(1, 256, size=(3, 16, 16)).astype(np.uint8)
    possible = []
    for mirrored, down, right in itertools.product((False, True), range(-2, 3), range(-2, 3)):
        source = image[:, :, ::-1] if mirrored else image
        shifted = np.zeros_like(image)
        for row, column in itertools.product(range(16), range(16)):
            if 0 <= row - down < 16 and 0 <= column - right < 16:
                shifted[:, row, column] = source[:, row - down, column - right]
        possible.append(shifted.tobytes())
    results = flip_and_shift(np.repeat(image[None], 2000, axis=0), np.random.default_rng(2))
    assert {result.tobytes() for result in results} == set(possible)
    assert results.dtype == np.uint8


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 1000))
def test_statistics(count, limit, seed):
    pixels = np.random.default_rng(seed).integers(256, size=(count, 3, 4, 5)).astype(np.uint8)
    asked = []
    samples = Labelled(lambda indices: asked.extend(indices) or pixels[indices], np.zeros(count, np.int64))
    mean, deviation = statistics(samples, limit)
    assert len(set(asked)) == len(asked) == min(count, limit)
    np.testing.assert_allclose(mean, pixels[asked].mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(deviation, pixels[asked].std(axis=(0, 2, 3)))


def test_statistics_of_a_constant_channel():
    pixels = np.full((2, 1, 4, 4), 9, np.uint8)
    mean, deviation = statistics(Labelled(pixels.__getitem__, np.zeros(2, np.int64)), None)
    assert (mean.tolist(), deviation.tolist()) == ([9], [1])


# -- image files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    """Writes plain-coloured images, `cats/3.png` being red value 3 of the cats."""
    image = pytest.importorskip("PIL.Image")

    def write(name, colour, size=(12, 12)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.new("RGB", size, colour).save(path)

    return write


SIX = ModelInput((3, 6, 6), tokens=False)


def test_image_folder(tmp_path, pictures):
    for index in range(10):
        pictures(f"cats/{index}.png", (index, 0, 0))
        pictures(f"dogs/{index}.PNG", (0, 10 * index, 0), size=(20, 8))
    (tmp_path / "dogs" / "notes.txt").write_text("not an image")
    data = load_data("imagefolder:.", batch=4, seed=1, root=tmp_path, model_input=SIX)
    assert data.classes == 2
    assert (len(data.train.source), len(data.validation.source)) == (16, 4)
    x, y = everything(data.validation)
    assert y.tolist() == [0, 0, 1, 1]
    prepare = data.validation.source.prepare
    pixels = x * prepare.deviation + prepare.mean
    held = [[4, 0, 0], [9, 0, 0], [0, 40, 0], [0, 90, 0]]
    torch.testing.assert_close(pixels[:, :, 3, 3], torch.tensor(held).float(), atol=1e-3, rtol=0)
    reds = [*range(4), *range(5, 9), *[0] * 8]
    assert prepare.mean[0].item() == pytest.approx(np.mean(reds))
    assert prepare.deviation[0].item() == pytest.approx(np.std(reds))
    assert load_data("imagefolder:.", batch=4, seed=1, root=tmp_path).model_input.shape == (3, 224, 224)


def test_image_folder_with_its_own_validation_part(tmp_path, pictures):
    for label, colour in (("ant", (200, 0, 0)), ("bee", (0, 0, 200))):
        pictures(f"train/{label}/a.jpg", colour)
        pictures(f"val/{label}/b.jpeg", colour)
    data = load_data(f"imagefolder:{tmp_path}", batch=2, seed=1, model_input=SIX)
    x, y = everything(data.validation)
    assert y.tolist() == [0, 1]
    assert x[0, 0].min() > x[1, 0].max()  # red
    assert x[0, 2].max() < x[1, 2].min()  # blue
    (tmp_path / "val" / "cow").mkdir()
    with pytest.raises(SpecError, match="train and val have different subfolders"):
        load_data(f"imagefolder:{tmp_path}", batch=2, seed=1)


def test_images_are_cropped_about_their_centre(tmp_path):
    image = pytest.importorskip("PIL.Image")
    picture = np.zeros((6, 18, 3), np.uint8)
    picture[:, :6], picture[:, 6:12], picture[:, 12:] = 50, 100, 150
    (tmp_path / "a").mkdir()
    for index in range(5):
        image.fromarray(picture).save(tmp_path / "a" / f"{index}.png")
    data = load_data("imagefolder:.", batch=2, seed=1, root=tmp_path, model_input=SIX)
    assert (data.validation.source.samples.read(np.array([0])) == 100).all()


def test_bad_image_folders(tmp_path, pictures):
    def refused(message):
        with pytest.raises(SpecError, match=message) as error:
            load_data("imagefolder:.", batch=1, seed=1, root=tmp_path, model_input=SIX)
        assert "\n" not in str(error.value)

    refused("has no subfolders; expected one for each class")
    (tmp_path / "a").mkdir()
    refused("a: has no images; expected files .png, .jpg, .jpeg")
    for index in range(4):
        pictures(f"a/{index}.png", (0, 0, 0))
    refused("no class has 5 images, of which one is held out")
    (tmp_path / "a" / "0.png").write_bytes(b"GIF89a no picture")
    (tmp_path / "a" / "9.png").write_bytes(b"")
    refused("0.png: is no PNG or JPEG image that can be read")
    content = (tmp_path / "a" / "1.png").read_bytes()
    (tmp_path / "a" / "0.png").write_bytes(content[:-30])
    refused("0.png: is no PNG or JPEG image that can be read")


def test_pillow_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(SpecError, match=r"needs the pillow package; run: pip install codesign\[train\]"):
        load_data("imagefolder:.", batch=1, seed=1, root=tmp_path)


def test_scikit_learn_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SpecError, match=r"need the scikit-learn package; run: pip install codesign\[train\]"):
        load_data("digits", batch=1, seed=1)


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("digit", {}, r"unknown data 'digit', did you mean \"digits\"; expected digits, cifar10"),
        ("cifar-10", {}, r"did you mean \"cifar10\""),
        ("", {}, "unknown data ''"),
        ("digits:here", {}, "write digits without a path"),
        ("digits", {"seed": -1}, "seed -1: expected an integer from 0"),
        (
            "digits",
            {"batch": 0},
            "batch 0: expected an integer from 1 to the 1438 training samples of digits",
        ),
        ("digits", {"batch": 1439}, "batch 1439"),
        (
            "digits",
            {"model_input": model_input("gpt-mini")},
            "reads sequences of 128 tokens, the data are images",
        ),
        (
            "digits",
            {"model_input": ModelInput((2, 8, 8), tokens=False)},
            r"shape \[2, 8, 8\].* expected \[1 or 3",
        ),
        ("digits", {"model_input": ModelInput((10,), tokens=False)}, "such as 784 or 3072"),
        (
            "text",
            {"model_input": model_input("resnet9")},
            r"reads real inputs of shape \[3, 32, 32\], the data are",
        ),
        ("text:absent.txt", {}, "absent.txt: no such file"),
        ("text:.", {}, "is a directory; expected a text file"),
        (
            "text:short.txt",
            {},
            "text of 100 characters is too short for sequences of 128 tokens; expected at",
        ),
        ("text:latin.txt", {}, "latin.txt: byte 3 is not UTF-8"),
        ("text:empty.txt", {}, "empty.txt: is empty"),
        ("imagefolder", {}, "expected imagefolder:PATH"),
        ("cifar100", {}, "expected cifar100:DIR, the folder of cifar-100-binary.tar.gz"),
        ("cifar100:x\n", {}, "no such file"),
    ],
)
def test_refusals(spec, options, message, tmp_path):
    (tmp_path / "short.txt").write_text("x" * 100)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(SpecError, match=message) as error:
        load_data(spec, **{"batch": 4, "seed": 0, "root": tmp_path} | options)
    assert "\n" not in str(error.value)


def test_the_shortest_text(tmp_path):
    wanted = ModelInput((8,), tokens=True)
    path = tmp_path / "text.txt"
    path.write_text("x" * 159)
    with pytest.raises(SpecError, match="expected at least 160"):
        load_data(f"text:{path}", batch=1, seed=0, model_input=wanted)
    path.write_text("x" * 160)
    x, y = everything(load_data(f"text:{path}", batch=1, seed=0, model_input=wanted).validation)
    assert x.shape == y.shape == (1, 8)
