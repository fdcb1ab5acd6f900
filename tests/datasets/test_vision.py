"""MNISTCompose behaves as torchvision's datasets do, for scripts and libraries that expect these."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")

import torch
from idx_files import digits, mnist_like, write
from torch import nn
from torch.utils.data import DataLoader, Subset, random_split
from torchvision import tv_tensors
from torchvision.transforms import Compose, Normalize, ToTensor, v2

import mnistcompose as mc
from mnistcompose.errors import InputError

SMALL = """
name: small
train: 300
test: 100
slots:
  - center: [0, 0]
  - center: [0.8, 0]
"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    path = tmp_path_factory.mktemp("layout") / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory, layout):
    folder = tmp_path_factory.mktemp("data")
    mc.MNISTCompose(folder, layout, download=True)
    mc.build("MNIST-boxes", folder / "MNIST-boxes", train=200, test=50, masks=True)
    mc.build("MNIST-colour", folder / "MNIST-colour", train=20, test=10)
    return folder


def test_samples_are_those_of_the_dataset(root, layout):
    ours, theirs = mc.MNISTCompose(root, layout, train=False), mc.ShardedDigits(root / "small", "test")
    assert len(ours) == len(theirs) == len(list(ours)) == 100
    for index in (0, 7, np.int64(99), torch.tensor(3), -1):
        (image, number), (tensor, label) = ours[index], theirs[int(index)]
        assert image.mode == "L"
        assert type(number) is int
        assert number == label
        assert np.array_equal(np.asarray(image), tensor[0])
    assert torch.equal(ours.data, theirs.as_tensors()[0][:, 0])
    assert torch.equal(ours.targets, theirs.as_tensors()[1])
    assert ours.classes[7] == "07"
    assert ours.class_to_idx["99"] == 99
    assert len(ours.classes) == 100
    assert ours.train is False
    assert "Split: test" in repr(ours)
    assert str(root) in repr(ours)
    with pytest.raises(IndexError):
        ours[100]


def test_samples_are_read_from_data_and_targets_as_torchvisions(root, layout):
    data = mc.MNISTCompose(root, layout)
    keep = data.targets < 50
    data.data, data.targets = data.data[keep], data.targets[keep]
    assert len(data) == int(keep.sum())
    assert max(number for _, number in data) < 50
    both = mc.MNISTCompose(root, layout, target_type=["number", "digits"])
    both.data = both.data[keep]
    with pytest.raises(mc.InputError, match=r"'digits': `data` was filtered; use torch\.utils\.data\.Subset"):
        both[0]
    longer = mc.MNISTCompose(root, layout)
    longer.data, longer.targets = (torch.cat([each, each]) for each in (longer.data, longer.targets))
    assert longer[len(longer) - 1][1] == int(longer.targets[-1])


def test_colour(root):
    image, _ = mc.MNISTCompose(root, "MNIST-colour")[0]
    assert image.mode == "RGB"
    assert image.size == mc.ShardedDigits(root / "MNIST-colour", "train")[0][0].shape[:0:-1]


def test_targets(root):
    kinds = ["number", "digits", "multilabel", "boxes", "masks"]
    data = mc.MNISTCompose(root, "MNIST-boxes", target_type=kinds)
    digits, several = (mc.ShardedDigits(root / "MNIST-boxes", "train", target=target) for target in ("digits", "set"))
    for index in range(50):
        image, (number, each, occurring, boxes, masks) = data[index]
        assert number == data.targets[index]
        assert torch.equal(each, digits[index][1])
        assert torch.equal(occurring, several[index][1])
        present = int((each < 10).sum())
        assert boxes.shape == (present, 4)
        assert boxes.canvas_size == image.size[::-1] == masks.shape[1:]
        assert masks.shape[0] == present
        assert set(masks.unique().tolist()) <= {0, 1}
        for box, mask in zip(boxes, masks, strict=True):
            rows, columns = np.nonzero(mask.numpy())
            assert box[0] <= columns.min()
            assert columns.max() < box[2]
            assert box[1] <= rows.min()
            assert rows.max() < box[3]
    assert isinstance(mc.MNISTCompose(root, "MNIST-boxes", target_type="boxes")[0][1], tv_tensors.BoundingBoxes)


def test_geometric_transforms_move_boxes_and_masks(root):
    flip = v2.RandomHorizontalFlip(p=1)
    plain, moved = (
        mc.MNISTCompose(root, "MNIST-boxes", target_type=["boxes", "masks"], transforms=transforms)
        for transforms in (None, flip)
    )
    (image, (boxes, masks)), (flipped, (mirrored, mirrored_masks)) = plain[0], moved[0]
    assert np.array_equal(np.asarray(flipped), np.asarray(image)[:, ::-1])
    assert torch.equal(mirrored[:, [2, 0]], 64 - boxes[:, [0, 2]])
    assert torch.equal(mirrored_masks, masks.flip(-1))


def test_transforms_may_be_set_later(root, layout):
    """As with torchvision's MNIST, where scripts exchange the transform between training and evaluation."""
    data = mc.MNISTCompose(root, layout)
    data.transform, data.target_transform = ToTensor(), lambda number: -number
    image, number = data[0]
    assert image.shape == (1, 28, 28)
    assert number == -int(data.targets[0])
    data.transforms = v2.RandomHorizontalFlip(p=1)  # of both, as torchvision's detection datasets have it
    assert data[0][0].mode == "L"
    data = mc.MNISTCompose(root, layout, transform=lambda _: pytest.fail("was exchanged"))
    data.transform = None
    assert data[0][0].mode == "L"


def test_the_name_of_a_dataset_in_the_root_will_do(root, tmp_path):
    """Also if its folder has another name than its layout, or a bundled layout was built with other counts."""
    assert mc.MNISTCompose(root, "small").folder == root / "small"
    mc.build("MNIST-II-01", tmp_path / "mine", train=30, test=10)
    assert len(mc.MNISTCompose(tmp_path, "mine", download=True)) == 30
    mc.build("MNIST-II-02", tmp_path / "MNIST-II-01", train=30, test=10)
    with pytest.raises(InputError, match="another layout"):
        mc.MNISTCompose(tmp_path, "MNIST-II-01")


def test_a_layout_of_other_digits_is_not_taken_for_that_of_mnist(root, layout, tmp_path):
    parts = mnist_like(digits(600), digits(100, seed=1))
    other = write(tmp_path / "other", parts)
    mc.build(layout, tmp_path / "small", digits=other)
    with pytest.raises(InputError, match="another digit set"):
        mc.MNISTCompose(tmp_path, layout, download=True)
    with pytest.raises(InputError, match="another digit set"):
        mc.MNISTCompose(root, layout, digits=other)
    named, asked = mc.MNISTCompose(tmp_path, "small"), mc.MNISTCompose(tmp_path, layout, digits=other)
    made = mc.MNISTCompose(tmp_path / "new", layout, download=True, digits=other)
    assert torch.equal(named.data, asked.data)
    assert torch.equal(named.data, made.data)


def test_errors_say_what_would_be_right(root, layout, tmp_path):
    for wrong, message in (
        (lambda: mc.MNISTCompose(root, layout, train="test"), "train = 'test'; should be True or False"),
        (lambda: mc.MNISTCompose(root, "smal"), "neither a bundled dataset"),
        (lambda: mc.MNISTCompose(tmp_path, layout), "download=True builds it"),
        (lambda: mc.MNISTCompose(root, layout, target_type="box"), "'boxes'"),
        (lambda: mc.MNISTCompose(root, layout, target_type=[]), "at least one"),
        (lambda: mc.MNISTCompose(root, layout, split="validation"), "'train' or 'test'"),
        (lambda: mc.MNISTCompose(root, layout, seed=1), r"another seed \(0, not 1\)"),
        (lambda: mc.MNISTCompose(root, layout, seed=1.0), "whole numbers"),
        (lambda: mc.MNISTCompose(root, layout, target_type="masks"), "--masks"),
        (lambda: mc.MNISTCompose(root, "MNIST-III-99"), "MNIST-III-99"),
    ):
        with pytest.raises(InputError, match=message):
            wrong()
    other = tmp_path / "other.yaml"
    other.write_text(SMALL.replace("0.8", "0.9"))
    with pytest.raises(InputError, match="another layout"):
        mc.MNISTCompose(root, other, download=True)


def test_processes_that_start_at_once_wait_for_each_other(tmp_path):
    code = (
        "import sys, mnistcompose as mc; data = mc.MNISTCompose(sys.argv[1], 'MNIST-II-01', train=False, build=True);"
        "print(len(data), int(data.targets.sum()))"
    )
    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(subprocess.run, [sys.executable, "-c", code, str(tmp_path)], capture_output=True, timeout=200)
            for _ in range(3)
        ]
    outputs = {run.result().stdout for run in runs}
    assert len(outputs) == 1, [run.result().stderr for run in runs]
    assert b"10000" in outputs.pop()
    assert mc.verify(tmp_path / "MNIST-II-01").problems == ()


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100))


def test_a_torchvision_script_with_workers_subsets_and_splits(root, layout):
    usual = Compose([ToTensor(), Normalize((0.13,), (0.31,))])
    data = mc.MNISTCompose(root, layout, train=True, transform=usual, target_transform=lambda number: number // 10)
    images, tens = next(iter(DataLoader(data, batch_size=32, shuffle=True)))
    assert images.shape == (32, 1, 28, 28)
    assert images.dtype == torch.float32
    assert tens.max() < 10
    part, rest = random_split(data, [200, 100], torch.Generator().manual_seed(0))
    assert len(part) == 200
    assert len(Subset(rest, range(10))) == 10
    plain = mc.MNISTCompose(root, layout, transform=usual)
    batches = list(DataLoader(plain, batch_size=100, num_workers=2))
    assert torch.equal(torch.cat([numbers for _, numbers in batches]), plain.targets)
    assert torch.equal(pickle.loads(pickle.dumps(plain)).data, plain.data)


def test_a_stratified_split_with_scikit_learn(root, layout):
    selection = pytest.importorskip("sklearn.model_selection")
    data = mc.MNISTCompose(root, layout)
    tens = data.targets // 10
    chosen, _ = selection.train_test_split(np.arange(len(data)), test_size=0.5, stratify=tens, random_state=0)
    assert abs(np.bincount(tens[chosen], minlength=10) * 2 - np.bincount(tens, minlength=10)).max() <= 1


def test_a_lightning_trainer(root, layout, tmp_path):
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net()

        def training_step(self, batch, _):
            images, numbers = batch
            return nn.functional.cross_entropy(self.net(images), numbers)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data = mc.MNISTCompose(root, layout, transform=ToTensor())
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), DataLoader(data, batch_size=64))
    assert trainer.global_step == 5


def test_avalanche_makes_a_benchmark_of_it(tmp_path):
    pytest.importorskip("avalanche")
    from avalanche.benchmarks import nc_benchmark

    layout = tmp_path / "one.yaml"
    layout.write_text("{name: one, train: 300, test: 100, slots: [{center: [0, 0]}]}")
    train, test = (
        mc.MNISTCompose(tmp_path, layout, train=train, transform=ToTensor(), download=True) for train in (True, False)
    )
    benchmark = nc_benchmark(train, test, n_experiences=5, task_labels=False, seed=0)
    assert len(benchmark.train_stream) == 5
    assert sum(len(e.dataset) for e in benchmark.train_stream) == 300


def test_learn2learn_makes_tasks_of_it(root, layout):
    learn2learn = pytest.importorskip("learn2learn")
    data = learn2learn.data.MetaDataset(mc.MNISTCompose(root, layout, transform=ToTensor()))
    assert sum(map(len, data.labels_to_indices.values())) == 300
