"""The training loop: what it promises about results, resuming, checkpoints and errors."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dcl.data.augmentation import Augmentation
from dcl.experiments.registry import MODELS, make_network
from dcl.models.networks import IMAGE_NETWORKS, image_network, image_network_shape
from dcl.training import loop as training
from dcl.training.checkpoint import load_checkpoint
from dcl.training.device_data import Normalisation, fingerprint, resolve_device, to_tensors
from dcl.training.evaluation import evaluate
from dcl.training.history import DivergenceError, History
from dcl.training.loop import fit
from dcl.training.precision import Precision
from dcl.training.recipe import DEFAULT_RECIPE, Recipe, learning_rate, make_optimizer
from dcl.training.step import eval_step, loss_of, train_step
from mnistcompose.errors import BuildError, InputError

CLASSES = 4
SMALL = Recipe(batch_size=16, lr=0.05)


def some_data(count: int, seed: int = 0, positions: int = 0) -> tuple[Tensor, Tensor]:
    """Images whose brightest band tells the class."""
    g = torch.Generator().manual_seed(seed)
    targets = torch.randint(CLASSES, (count, positions) if positions else (count,), generator=g)
    images = torch.randint(60, (count, 1, 28, 28), generator=g, dtype=torch.uint8)
    for i, target in enumerate(targets):
        for position, digit in enumerate(target.view(-1).tolist()):
            images[i, 0, 7 * digit : 7 * digit + 7, 14 * position : 14 * position + 14] += 120
    return images, targets


def a_net(seed: int = 0, outputs: int = CLASSES) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, outputs)
    )


class Pairs(nn.Module):
    """As stochastic DCL: two of three branches take part in a training step, chosen by torch's generator."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Linear(784, CLASSES) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        chosen = torch.randperm(3)[:2].tolist() if self.training else range(3)
        return torch.stack([self.branches[i](x.flatten(1)) for i in chosen]).mean(0)


def weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


TRAIN, TEST = some_data(200), some_data(60, seed=1)


def test_learns_and_records_every_epoch() -> None:
    seen: list[int] = []
    net = a_net()
    history = fit(net, TRAIN, TEST, epochs=6, device="cpu", recipe=SMALL, progress=lambda h: seen.append(h.epochs))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert history.error < 5
    assert history.train_loss[-1] < history.train_loss[0] / 2
    columns = (history.test_loss, history.test_error, history.seconds, history.images_per_second)
    assert all(len(column) == 6 for column in columns)
    assert all(s * r == pytest.approx(192) for s, r in zip(history.seconds, history.images_per_second, strict=True))
    again = evaluate(net, TEST, history.normalisation, "cpu")
    assert (again.loss, again.error) == (history.test_loss[-1], history.error)
    np.testing.assert_array_equal(again.wrong, again.predictions != TEST[1].numpy())


def test_a_lazy_network_trains_as_one_of_known_shapes() -> None:
    def trained(last: nn.Module) -> nn.Sequential:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), last)
        fit(net, TRAIN, TEST, epochs=2, device="cpu", recipe=SMALL)
        return net

    torch.manual_seed(0)
    known, lazy = nn.Linear(784, CLASSES), nn.LazyLinear(CLASSES)
    assert torch.equal(weights(trained(known)), weights(trained(lazy)))


def test_a_lazy_network_has_the_shapes_of_augmented_images() -> None:
    net = nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES))
    cut = TEST[0][:, :, 2:26, 2:26], TEST[1]
    fit(net, TRAIN, cut, epochs=1, device="cpu", recipe=SMALL, augment=Augmentation(crop=24))
    assert net[1].weight.shape == (CLASSES, 24 * 24)


@pytest.mark.parametrize("make", [a_net, Pairs])
def test_a_seed_gives_the_same_bits_and_another_seed_others(make) -> None:
    def trained(seed: int) -> tuple[Tensor, list[float]]:
        torch.manual_seed(5)
        net = make()
        torch.rand(seed + 1)  # what others draw from torch's generator is no matter
        history = fit(net, TRAIN, TEST, epochs=2, seed=seed, device="cpu", recipe=SMALL)
        return weights(net), history.train_loss

    (first, losses), (second, again), (other, _) = trained(1), trained(1), trained(2)
    assert torch.equal(first, second)
    assert losses == again
    assert not torch.equal(first, other)


def test_leaves_torchs_generator_as_it_was() -> None:
    net = a_net()
    before = torch.get_rng_state()
    fit(net, TRAIN, TEST, epochs=1, device="cpu", recipe=SMALL)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("make", [a_net, Pairs])
def test_goes_on_from_a_checkpoint_with_the_same_bits(make, tmp_path: Path) -> None:
    def trained(checkpoint: Path | None, stop_after: int = 99) -> tuple[Tensor, History]:
        torch.manual_seed(5)
        net = make()

        def progress(history: History) -> None:
            if history.epochs == stop_after:
                raise KeyboardInterrupt

        history = fit(net, TRAIN, TEST, epochs=4, device="cpu", recipe=SMALL, checkpoint=checkpoint, progress=progress)
        return weights(net), history

    whole, history = trained(None)
    checkpoint = tmp_path / "run.pt"
    for stop in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            trained(checkpoint, stop)
    resumed, continued = trained(checkpoint)
    assert torch.equal(whole, resumed)
    assert (continued.train_loss, continued.test_loss) == (history.train_loss, history.test_loss)
    finished, unchanged = trained(checkpoint)
    assert torch.equal(whole, finished)
    assert unchanged == continued


def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import importlib.util, sys, time
        spec = importlib.util.spec_from_file_location("tests", sys.argv[1])
        tests = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tests)

        def progress(history):
            print(history.epochs, flush=True)
            time.sleep(60)

        tests.train_on_one_thread(tests.Path(sys.argv[2]), progress)
    """)
    command = [sys.executable, "-c", script, __file__, str(tmp_path / "killed.pt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        os.kill(process.pid, signal.SIGKILL)
    seen: list[int] = []
    for name in ("killed.pt", "whole.pt"):
        train_on_one_thread(tmp_path / name, lambda history: seen.append(history.epochs))
    assert seen == [2, 3, 4, 1, 2, 3, 4]
    killed, whole = load_checkpoint(tmp_path / "killed.pt"), load_checkpoint(tmp_path / "whole.pt")
    for part in ("weights", "momentum"):
        assert all(torch.equal(killed[part][name], tensor) for name, tensor in whole[part].items())
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["killed.pt", "whole.pt"]


def train_on_one_thread(checkpoint: Path, progress: Callable[[History], None]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fit(a_net(), TRAIN, TEST, epochs=4, device="cpu", recipe=SMALL, checkpoint=checkpoint, progress=progress)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seed": 1}, "seed"),
        ({"epochs": 3}, "epochs"),
        ({"recipe": replace(SMALL, lr=0.01)}, "lr"),
        ({"train": some_data(200, seed=9)}, "data"),
        ({"metadata": {"model": "B2"}}, "model"),
    ],
)
def test_refuses_another_runs_checkpoint(change: dict, field: str, tmp_path: Path) -> None:
    arguments = {
        "train": TRAIN,
        "test": TEST,
        "epochs": 1,
        "device": "cpu",
        "recipe": SMALL,
        "metadata": {"model": "A2"},
    }
    fit(a_net(), **arguments, checkpoint=tmp_path / "run.pt")
    with pytest.raises(InputError, match=f"another {field} "):
        fit(a_net(), **{**arguments, **change}, checkpoint=tmp_path / "run.pt")


@given(kind=st.sampled_from([np.int8, np.int64, np.uint32]), real=st.sampled_from([np.float32, np.float64, np.float16]))
@settings(max_examples=5, deadline=None)
def test_numbers_of_numpy_leave_a_checkpoint_that_can_be_read(kind: type, real: type) -> None:
    with TemporaryDirectory() as place:
        path = Path(place) / "run.pt"
        recipe = Recipe(
            kind(16),
            *(
                real(value)
                for value in (
                    0.05,
                    0.9,
                    0,
                )
            ),
            warmup=real(0.25),
            max_grad_norm=real(9),
        )
        fit(a_net(), TRAIN, TEST, epochs=kind(1), seed=kind(3), device="cpu", recipe=recipe, checkpoint=path)
        assert load_checkpoint(path)["identity"]["seed"] == 3
        plain = Recipe(16, *(float(real(value)) for value in (0.05, 0.9, 0)), warmup=0.25, max_grad_norm=9.0)
        assert plain == recipe
        history = fit(a_net(), TRAIN, TEST, epochs=1, seed=3, device="cpu", recipe=plain, checkpoint=path)
        assert history.epochs == 1


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "pickle"])
def test_a_damaged_checkpoint_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    fit(a_net(), TRAIN, TEST, epochs=1, device="cpu", recipe=SMALL, checkpoint=path)
    if damage == "pickle":  # a pickle that would run a command is refused unread
        torch.save({"format": 1, "identity": Path("x")}, path)
    else:
        path.write_bytes({"cut": path.read_bytes()[:-500], "garbage": b"garbage" * 99, "empty": b""}[damage])
    with pytest.raises(BuildError, match=r"run\.pt: damaged"):
        fit(a_net(), TRAIN, TEST, epochs=1, device="cpu", recipe=SMALL, checkpoint=path)


def test_a_checkpoint_that_cannot_be_written_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match=r"file: cannot make the folder") as caught:
        fit(a_net(), TRAIN, TEST, epochs=1, device="cpu", recipe=SMALL, checkpoint=tmp_path / "file" / "run.pt")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    fit(a_net(), TRAIN, TEST, epochs=1, device="cpu", recipe=SMALL, checkpoint="~/run.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_a_diverged_run_stops_with_one_line(tmp_path: Path) -> None:
    recipe = replace(SMALL, lr=1e30, warmup=0)
    with pytest.raises(DivergenceError, match="diverged in epoch 1") as caught:
        fit(a_net(), TRAIN, TEST, epochs=2, device="cpu", recipe=recipe, checkpoint=tmp_path / "run.pt")
    assert "\n" not in str(caught.value)
    assert caught.value.epoch == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": (TRAIN[0].float(), TRAIN[1])}, "should be uint8"),
        ({"train": (TRAIN[0], TRAIN[1].int())}, "should be int64"),
        ({"test": (TEST[0], TEST[1][:-1])}, "test: 60 images and 59 targets"),
        ({"test": (TEST[0][:0], TEST[1][:0])}, "at least 1"),
        ({"net": a_net(outputs=3)}, r"from 0 to 3 do not fit a network with outputs \(N, 3\)"),
        ({"train": some_data(9, positions=2)}, "do not fit"),
        ({"epochs": 0}, "epochs = 0"),
        ({"epochs": 1.0}, "epochs = 1.0"),
        ({"seed": True}, "seed = True"),
        ({"metadata": {"augment": Path("x")}}, "metadata: augment = .*Path"),
        ({"metadata": {"rate": [np.float64(1)]}}, "metadata: rate = "),
        ({"metadata": {"data": "mine"}}, "metadata: 'data' is a name that a checkpoint uses itself"),
        ({"metadata": {"lr": 1.0}}, "metadata: 'lr' is a name"),
        ({"seed": -1}, "seed = -1"),
        ({"device": "tpu"}, "'tpu' is not available"),
        ({"precision": "float64"}, "precision = 'float64'"),
    ],
)
def test_bad_arguments_get_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(**{"net": a_net(), "train": TRAIN, "test": TEST, "epochs": 1, "device": "cpu", **arguments})


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 0},
        {"batch_size": 16.0},
        {"batch_size": True},
        {"lr": "0.1"},
        {"lr": torch.tensor(0.1)},
        {"warmup": False},
        {"schedule": None},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"schedule": "cosy"},
        {"schedule": "x0.1 at 3,2 of 4"},
        {"schedule": "x0.1 at 2,4 of 4"},
        {"schedule": "x0 at 2 of 4"},
        {"schedule": "x0.1 at 2 of 4 "},
        {"warmup": 1.0},
        {"max_grad_norm": 0.0},
    ],
)
def test_a_recipe_checks_itself(change: dict) -> None:
    with pytest.raises(InputError, match=f"recipe: {next(iter(change))} = "):
        replace(DEFAULT_RECIPE, **change)


@given(
    schedule=st.sampled_from(["one-cycle", "linear", "constant"]),
    warmup=st.floats(0, 0.9),
    steps=st.integers(1, 500),
)
def test_the_learning_rate_rises_to_its_peak_and_then_falls(schedule, warmup: float, steps: int) -> None:
    recipe = replace(DEFAULT_RECIPE, schedule=schedule, warmup=warmup)
    rates = np.array([learning_rate(recipe, step, steps) for step in range(steps)])
    assert (rates > 0).all()
    assert (rates <= recipe.lr).all()
    changes, peak = np.diff(rates), rates.argmax()
    assert (changes[:peak] >= 0).all()
    assert (changes[peak:] <= 0).all()
    if schedule != "constant" and steps > 100:
        assert rates[-1] < 0.15 * recipe.lr


@given(places=st.sets(st.integers(1, 99), min_size=1, max_size=4), epochs=st.integers(1, 5), factor=st.integers(1, 9))
def test_the_learning_rate_drops_where_the_schedule_says(places: set[int], epochs: int, factor: int) -> None:
    recipe = Recipe(lr=0.5, schedule=f"x0.{factor} at {','.join(map(str, sorted(places)))} of 100", warmup=0)
    rates = [learning_rate(recipe, step, 100 * epochs) for step in range(100 * epochs)]
    for step, rate in enumerate(rates):
        passed = sum(step >= place * epochs for place in places)
        assert rate == pytest.approx(0.5 * (factor / 10) ** passed)


def test_a_batch_is_augmented_in_training_alone_and_by_the_seed(tmp_path: Path) -> None:
    def trained(seed: int, checkpoint: Path | None = None, stop_after: int = 99) -> Tensor:
        def augment(images: Tensor) -> Tensor:
            sizes.append(tuple(images.shape))
            return Augmentation(crop=24, flip=True)(images)

        def progress(history: History) -> None:
            if history.epochs == stop_after:
                raise KeyboardInterrupt

        torch.manual_seed(5)
        net = nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(36, CLASSES))
        history = fit(
            net, TRAIN, TEST, epochs=2, seed=seed, device="cpu", recipe=SMALL, augment=augment,
            checkpoint=checkpoint, progress=progress,
        )  # fmt: skip
        assert evaluate(net, TEST, history.normalisation, "cpu").error == history.error
        return weights(net)

    sizes: list[tuple[int, ...]] = []
    first, second, other = trained(1), trained(1), trained(2)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert set(sizes) == {(1, 1, 28, 28), (16, 1, 28, 28)}  # one to see that the outputs fit, then whole batches
    with pytest.raises(KeyboardInterrupt):
        trained(1, tmp_path / "run.pt", stop_after=1)
    assert torch.equal(trained(1, tmp_path / "run.pt"), first)


def test_images_that_stay_where_they_are_train_the_same() -> None:
    def trained(data_on_device: bool) -> tuple[Tensor, History]:
        net = a_net()
        history = fit(net, TRAIN, TEST, epochs=1, device="cpu", recipe=SMALL, data_on_device=data_on_device)
        return weights(net), history

    (here, first), (there, second) = trained(True), trained(False)
    assert torch.equal(here, there)
    assert (first.train_loss, first.test_loss) == (second.train_loss, second.test_loss)


def test_only_the_batch_leaves_for_the_device() -> None:
    meta = torch.device("meta")
    images, targets = to_tensors(TRAIN, meta, data_on_device=False)
    assert (images.device.type, targets.device.type) == ("cpu", "meta")
    assert to_tensors(TRAIN, meta)[0].device.type == "meta"

    class Source:
        def as_tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
            return TRAIN[0].to(device), TRAIN[1].to(device)

    images, targets = to_tensors(Source(), meta, data_on_device=False)
    assert (images.device.type, targets.device.type) == ("cpu", "meta")


def test_test_images_of_another_shape_are_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "train_step", None)
    images, targets = TEST
    with pytest.raises(InputError, match=r"test: images \(1, 14, 28\); should be \(1, 28, 28\)"):
        fit(a_net(), TRAIN, (images[:, :, ::2], targets), epochs=1, device="cpu", recipe=SMALL)


def test_a_network_of_positions_is_its_classifiers_trained_apart() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(3)
            self.parts = nn.ModuleList(nn.Sequential(nn.Flatten(), nn.Linear(784, CLASSES)) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([part(x) for part in self.parts], 1)

    train, test = some_data(100, positions=2), some_data(40, seed=1, positions=2)
    both, alone = Both(), Both().parts
    fit(both, train, test, epochs=2, device="cpu", recipe=SMALL)
    histories = [
        fit(part, (train[0], train[1][:, i]), (test[0], test[1][:, i]), epochs=2, device="cpu", recipe=SMALL)
        for i, part in enumerate(alone)
    ]
    torch.testing.assert_close(weights(both), weights(alone), rtol=1e-4, atol=1e-5)
    measured = evaluate(both, test, histories[0].normalisation, "cpu")
    assert measured.loss == pytest.approx(sum(h.test_loss[-1] for h in histories), rel=1e-4)
    np.testing.assert_array_equal(measured.wrong, (measured.predictions != test[1].numpy()).any(1))


def test_the_loss_of_positions_is_the_sum_of_their_losses() -> None:
    outputs, targets = torch.randn(7, 3, 5), torch.randint(5, (7, 3))
    expected = sum(loss_of(outputs[:, i], targets[:, i]) for i in range(3))
    torch.testing.assert_close(loss_of(outputs, targets), expected)


def test_normalised_training_images_have_mean_0_and_deviation_1() -> None:
    images = torch.randint(256, (5000, 2, 4, 4), dtype=torch.uint8)
    images[:, 1] //= 3
    normalised = Normalisation.measured(images).on(torch.device("cpu"))(images).transpose(0, 1).flatten(1)
    torch.testing.assert_close(normalised.mean(1), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(1, correction=0), torch.ones(2), atol=1e-5, rtol=0)
    assert Normalisation.measured(torch.full((3, 1, 2, 2), 9, dtype=torch.uint8)) == Normalisation((9.0,), (1.0,))


def test_biases_are_not_decayed_and_an_unused_branch_does_not_move() -> None:
    net = Pairs()
    optimizer = make_optimizer(net, DEFAULT_RECIPE)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name.rpartition(".")[2]: decay[id(p)] for name, p in net.named_parameters()} == {
        "weight": DEFAULT_RECIPE.weight_decay,
        "bias": 0.0,
    }
    normalise = Normalisation((0.0,), (1.0,)).on(torch.device("cpu"))
    for _ in range(4):
        before = [weights(branch) for branch in net.branches]
        train_step(net.train(), optimizer, TRAIN, torch.arange(8), normalise)
        assert sum(torch.equal(a, weights(b)) for a, b in zip(before, net.branches, strict=True)) == 1


def test_every_sample_is_used_at_most_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Tensor] = []

    def spy(net, optimizer, data, index, *rest) -> Tensor:
        used.append(index)
        return torch.tensor(0.0)

    monkeypatch.setattr(training, "train_step", spy)
    fit(a_net(), TRAIN, TEST, epochs=2, device="cpu", recipe=SMALL)
    epochs = torch.cat(used).view(2, 192)  # the last 8 of 200 fill no batch of 16
    assert all(len(epoch.unique()) == 192 for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    used.clear()
    fit(a_net(), TRAIN, TEST, epochs=1, device="cpu", recipe=replace(SMALL, batch_size=999))
    assert [len(index) for index in used] == [200]


def test_a_longer_gradient_is_shortened_and_a_shorter_one_is_left() -> None:
    def gradient(clip: float | None) -> Tensor:
        net = a_net()
        optimizer, normalise = make_optimizer(net, SMALL), Normalisation.measured(TRAIN[0]).on(torch.device("cpu"))
        train_step(net.eval(), optimizer, TRAIN, torch.arange(16), normalise, None, clip)
        return torch.cat([p.grad.flatten() for p in net.parameters()])

    whole = gradient(None)
    norm = float(whole.norm())
    assert torch.equal(gradient(2 * norm), whole)
    assert torch.allclose(gradient(norm / 4), whole / 4, atol=1e-6)


def test_a_recipe_without_clipping_is_stored_as_before_there_was_any() -> None:
    assert "clip" not in Recipe().fields()
    assert Recipe(max_grad_norm=2.0).fields()["clip"] == 2.0


def test_fingerprints_tell_data_apart() -> None:
    images, targets = TEST
    prints = {
        fingerprint(images, targets),
        fingerprint(images.flip(0), targets),
        fingerprint(images, targets.flip(0)),
        fingerprint(images.view(30, 2, 28, 28), targets),
    }
    assert len(prints) == 4
    assert fingerprint(images.clone(), targets.clone()) in prints


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in {"cuda", "mps", "cpu"}
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="'cuda' is not available"):
            resolve_device("cuda")


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    assert resolve_device("cuda") == torch.device("cuda")
    with pytest.raises(InputError, match="'cuda:2' is not available; the last one is cuda:1"):
        resolve_device("cuda:2")


@given(data=st.data())
def test_evaluate_counts_as_topk_does(data) -> None:
    count, classes, slots = (data.draw(st.integers(1, most)) for most in (30, 12, 3))
    shape = data.draw(st.sampled_from([(count,), (count, slots)]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    outputs = torch.randn(*shape, classes, generator=generator)
    targets = torch.randint(classes, shape, generator=generator)

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return outputs

    images = torch.zeros(count, 1, 2, 2, dtype=torch.uint8)
    measured = evaluate(Fixed(), (images, targets), Normalisation((0.0,), (1.0,)), "cpu")
    for best, error in ((1, measured.error), (5, measured.top5_error)):
        hits = (outputs.topk(min(best, classes)).indices == targets[..., None]).any(-1).view(count, -1).all(1)
        assert error == pytest.approx(100 * (1 - hits.double().mean().item()))


def steps_on_meta(net: nn.Module, targets: Tensor) -> None:
    """A training and an evaluation step on torch's meta device, where reading a value back fails."""
    meta = torch.device("meta")
    net.to(meta)
    data = torch.empty(64, 1, 28, 28, dtype=torch.uint8, device=meta), targets.to(meta)
    normalise = Normalisation((33.0,), (78.0,)).on(meta)
    index = torch.empty(32, dtype=torch.int64, device=meta)
    loss = train_step(net.train(), make_optimizer(net, DEFAULT_RECIPE), data, index, normalise)
    assert loss.shape == ()
    _, predictions, ranks = eval_step(net.eval(), *data, normalise)
    assert predictions.shape == ranks.shape == targets.shape


@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_every_model_reads_nothing_back_from_the_device(model: str) -> None:
    shape = (64, 2) if model == "oracle" else (64,)
    steps_on_meta(make_network(model, classes=10, slots=2), torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_a_step_of_every_network_for_images_reads_nothing_back_from_the_device(name: str) -> None:
    (channels, side, _), _ = image_network_shape(name)
    meta = torch.device("meta")
    with meta:
        net = image_network(name)
    data = torch.empty(8, channels, side + 4, side + 4, dtype=torch.uint8, device=meta), torch.zeros(8).long().to(meta)
    normalise = Normalisation((1.0,) * channels, (2.0,) * channels).on(meta)
    augment = Augmentation(crop=side, flip=True)
    index = torch.empty(4, dtype=torch.int64, device=meta)
    optimizer = make_optimizer(net, DEFAULT_RECIPE)
    loss = train_step(net.train(), optimizer, data, index, lambda images: normalise(augment(images)))
    assert loss.shape == ()
    _, predictions, ranks = eval_step(net.eval(), augment.central(data[0]), data[1], normalise)
    assert predictions.shape == ranks.shape == (8,)


def test_the_meta_device_notices_a_read() -> None:
    class Reading(nn.Flatten):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * x.max().item()

    with pytest.raises(RuntimeError):
        steps_on_meta(nn.Sequential(Reading(), nn.Linear(784, 4)), torch.zeros(64, dtype=torch.int64))


# --- precision ------------------------------------------------------------------------------------------------------

has_bfloat16 = pytest.mark.skipif(
    not any(getattr(torch.cpu, f"_is_{name}_supported", bool)() for name in ("avx512_bf16", "amx_tile")),
    reason="this processor does not multiply bfloat16 natively",
)


@has_bfloat16
def test_bfloat16_trains_on_a_processor_that_has_it_and_keeps_float32_weights() -> None:
    net = a_net()
    history = fit(net, TRAIN, TEST, epochs=3, device="cpu", recipe=SMALL, precision="bfloat16")
    assert history.train_loss[-1] < history.train_loss[0]
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    plain = fit(a_net(), TRAIN, TEST, epochs=3, device="cpu", recipe=SMALL)
    assert plain.train_loss != history.train_loss
    found = evaluate(net, TEST, history.normalisation, "cpu", precision="bfloat16")
    assert found.error == history.error
    assert found.loss == history.test_loss[-1]
    untrained = [evaluate(a_net(), TEST, history.normalisation, "cpu", precision=p).loss for p in get_args(Precision)]
    assert untrained[0] != untrained[1]


def test_bfloat16_is_refused_where_it_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    with pytest.raises(InputError, match="this cpu device does not compute it natively; use float32"):
        fit(a_net(), TRAIN, TEST, epochs=1, device="cpu", precision="bfloat16")
