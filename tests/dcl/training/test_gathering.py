"""Any torch dataset or DataLoader of (image, target) trains like the two tensors that it holds."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset, random_split
from torchvision.transforms import v2

import dcl
from dcl.training.device_data import to_tensors
from mnistcompose import ComposedDigits, InputError

COUNT = 40
IMAGES, TARGETS = ComposedDigits("MNIST-II-01", "train", length=COUNT)[:]


class Samples(torch.utils.data.Dataset):
    def __init__(self, image=lambda image: image, target=lambda target: target):
        self.image, self.target = image, target

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return self.image(IMAGES[index]), self.target(int(TARGETS[index]))


def picture(image):
    return Image.fromarray(image[0].numpy())


TO_FLOAT = v2.ToDtype(torch.float32, scale=True)
SAME = {
    "tensors": lambda: TensorDataset(IMAGES, TARGETS),
    "samples": Samples,
    "whole subset": lambda: Subset(Samples(), range(COUNT)),
    "pieces": lambda: ConcatDataset([Subset(Samples(), range(7)), Subset(Samples(), range(7, COUNT))]),
    "PIL": lambda: Samples(picture),
    "colour PIL": lambda: Samples(lambda image: picture(image).convert("RGB")),
    "arrays": lambda: Samples(lambda image: image[0].numpy()),
    "no channel": lambda: Samples(lambda image: image[0]),
    "ToTensor": lambda: Samples(TO_FLOAT),
    "a little less": lambda: Samples(lambda image: image / 255 - 1e-7),
    "half": lambda: Samples(v2.ToDtype(torch.float16, scale=True)),
    "int32 targets": lambda: Samples(target=np.int32),
    "tensor targets": lambda: Samples(target=torch.tensor),
    "loader": lambda: DataLoader(Samples(), 7),
    "loader of floats": lambda: DataLoader(Samples(TO_FLOAT), 7, num_workers=1),
    "loader of batches": lambda: DataLoader(TensorDataset(IMAGES, TARGETS), None, sampler=[slice(9), slice(9, COUNT)]),
}  # fmt: skip


@pytest.mark.parametrize("make", SAME.values(), ids=SAME)
def test_it_is_gathered_as_it_is(make):
    images, targets = to_tensors(make(), torch.device("cpu"))
    assert (images.dtype, targets.dtype) == (torch.uint8, torch.int64)
    assert torch.equal(images, IMAGES.expand_as(images))
    assert torch.equal(targets, TARGETS)


def test_a_loader_that_shuffles_is_gathered_in_the_same_order_each_time():
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(to_tensors(DataLoader(Samples(), 7, shuffle=True), torch.device("cpu")))
    first, second = found
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[1], TARGETS)
    assert first[1].sort().values.tolist() == TARGETS.sort().values.tolist()


def test_torchs_random_numbers_are_left_alone():
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    to_tensors(DataLoader(Samples(), 7, shuffle=True), torch.device("cpu"))
    assert torch.equal(torch.rand(3), wanted)


def test_fit_and_evaluate_take_subsets():
    train, test = random_split(Samples(), [30, 10], torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 100))
    history = dcl.fit(net, train, DataLoader(test, 4), epochs=1, device="cpu")
    rows = torch.tensor(train.indices)
    torch.manual_seed(0)
    other = nn.Sequential(nn.Flatten(), nn.Linear(784, 100))
    same = dcl.fit(other, (IMAGES[rows], TARGETS[rows]), test, epochs=1, device="cpu")
    assert history.train_loss == same.train_loss
    assert dcl.evaluate(net, test, history.normalisation, "cpu").error == history.error


class Stream(IterableDataset):
    def __iter__(self):
        yield IMAGES[0], 1


REFUSED = {
    "stream": (Stream, "Stream has no length"),
    "loader of a stream": (lambda: DataLoader(Stream()), "Stream has no length"),
    "normalised": (lambda: Samples(lambda image: TO_FLOAT(image) * 3 - 1), "leave Normalize out"),
    "floats of 0 to 255": (lambda: Samples(lambda image: image.float()), "should be uint8, or "),
    "int16": (lambda: Samples(lambda image: image.short()), "images are torch.int16"),
    "float targets": (lambda: Samples(target=float), "targets are torch.float"),
    "no pairs": (lambda: IMAGES_ONLY, "should be a pair"),
    "three": (lambda: TensorDataset(IMAGES, TARGETS, TARGETS), "should be a pair"),
    "empty": (lambda: Subset(Samples(), []), "no images"),
    "shapes": (
        lambda: ConcatDataset([Samples(), Samples(lambda image: image[:, 2:])]),
        "train: images of different shapes",
    ),
    "a path": (lambda: "data/MNIST-II-01", "train = str: should be two tensors"),
    "a tensor": (lambda: IMAGES, "train = Tensor: should be two tensors"),
}
IMAGES_ONLY = TensorDataset(IMAGES)


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_told(make, message):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 100))
    with pytest.raises(InputError, match=message):
        dcl.fit(net, make(), (IMAGES, TARGETS), epochs=1, device="cpu")
