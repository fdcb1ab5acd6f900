import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mnistcompose import BuildError, InputError, build, draw, load_digits, load_spec, spec_names
from mnistcompose.preview import compose_samples, overview, read_samples, save, sheet

SPEC = load_spec("MNIST-III-10")


def run(*args):
    from mnistcompose.cli.preview import preview

    return CliRunner().invoke(preview, [str(arg) for arg in args])


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def shows(picture, image):
    """Whether an image, enlarged four times, is somewhere in a picture."""
    wanted = np.kron(image, np.ones((4, 4), np.uint8))
    grey = np.asarray(picture)[..., 0]
    starts = np.argwhere(grey[: -wanted.shape[0] + 1, : -wanted.shape[1] + 1] == wanted[0, 0])
    rows = (tuple(start) for start in starts if np.array_equal(grey[start[0], start[1] : start[1] + 112], wanted[0]))
    return any(np.array_equal(grey[y : y + 112, x : x + 112], wanted) for y, x in rows)


def test_a_sheet_shows_the_first_training_images():
    samples = compose_samples(SPEC, 6, seed=3)
    picture = sheet(samples, 3)
    assert all(shows(picture, image) for image in samples.images)
    assert not shows(picture, compose_samples(SPEC, 7, seed=3).images[6])
    source = draw(SPEC, "train", 0, 6, 3, load_digits("train")).source
    assert samples.digits.tolist() == load_digits("train").labels[source].tolist()


def test_a_built_dataset_shows_the_same_as_its_layout(tmp_path):
    build(SPEC, tmp_path, train=1500, test=0, shard_size=1000, seed=3)
    stored, fresh = read_samples(tmp_path, 1010), compose_samples(SPEC, 1010, seed=3)
    assert np.array_equal(stored.images, fresh.images)
    assert np.array_equal(stored.digits, fresh.digits)
    assert len(read_samples(tmp_path, 9999).images) == 1500
    assert "1,500 train and 0 test" in stored.note


def test_a_dataset_of_test_images_alone_shows_those(tmp_path):
    build(SPEC, tmp_path, train=0, test=20)
    assert len(read_samples(tmp_path, 9).images) == 9


def test_the_overview_has_a_card_for_each():
    datasets = [compose_samples(load_spec(name), 2) for name in spec_names()[:3]]
    picture = overview(datasets, 2, across=2)
    assert all(shows(picture, image) for each in datasets for image in each.images)


def test_the_command_draws_layouts_files_and_folders(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\nslots: [{center: [0, 0]}]\n")
    build(SPEC, tmp_path / "built", train=100, test=0)
    alone, several = tmp_path / "pictures" / "alone.png", tmp_path / "several.png"
    assert run("MNIST-II-03", "-o", alone, "--rows", 2, "--cols", 3).exit_code == 0
    assert run(tmp_path / "mine.yaml", tmp_path / "built", "MNIST-II-01", "-o", several).exit_code == 0
    assert pixels(several).shape[1] > pixels(alone).shape[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "mine.yaml", "pictures", "several.png"]
    first = pixels(alone)
    assert run("MNIST-II-03", "-o", alone, "--rows", 2, "--cols", 3, "--seed", 1).exit_code == 0
    assert (pixels(alone) != first).any()


def test_what_cannot_be_is_told(tmp_path):
    build(SPEC, tmp_path / "built", train=10, test=0)
    picture = tmp_path / "no.png"
    assert "seed of its own" in str(run(tmp_path / "built", "--seed", 1, "-o", picture).exception)
    assert isinstance(run("MNIST-II-3", "-o", picture).exception, InputError)
    assert isinstance(run("MNIST-II-03", "-o", tmp_path / "no.jpg").exception, InputError)
    assert run("-o", picture).exit_code == 2
    assert run("MNIST-II-03", "--all", "-o", picture).exit_code == 2
    assert run("MNIST-II-03", "--rows", 0, "-o", picture).exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built"]


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match="cannot"):
        save(Image.new("RGB", (3, 3)), tmp_path / "file" / "picture.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
