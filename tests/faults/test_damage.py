"""Damaged datasets: `verify` finds everything, and no wrong image is ever read.

pytest tests/faults/test_damage.py --faults full
"""

import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

from mnistcompose import BuildError, InputError, build, load_spec, verify

SPEC = load_spec("MNIST-II-03")
SIZE = {"train": 2000, "test": 1000, "shard_size": 1000}


@pytest.fixture(scope="module", params=["none", "gzip"])
def sound(request, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "x"
    build(SPEC, root, compression=request.param, **SIZE)
    return root


@pytest.fixture
def dataset(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "x")


def files(root: Path) -> list[Path]:
    """The files that a dataset consists of; `build.json` is the builder's own."""
    return sorted(path for path in root.iterdir() if path.name != "build.json")


def check_found(root: Path, *victims: Path) -> None:
    """Each damaged file must be named by `verify`; the Datasets refuse those that they read."""
    problems = verify(root).problems
    for victim in victims:
        assert any(problem.startswith(f"{victim}:") for problem in problems), (victim, problems)
        assert all("\n" not in problem for problem in problems)
    torch_datasets(root, *victims)


def torch_datasets(root: Path, *victims: Path) -> None:
    pytest.importorskip("torch")
    from mnistcompose import ShardedDigits

    for split in ("train", "test"):
        read = [v for v in victims if v.name == "manifest.json" or v.name.startswith(f"{split}-")]
        if read:
            with pytest.raises((BuildError, InputError), match="|".join(victim.name for victim in read)):
                ShardedDigits(root, split)
        elif not any(victim.name == "manifest.json" for victim in victims):
            ShardedDigits(root, split)


def test_single_bits(trials, dataset):
    for _, random in trials("single bits", 30, 2000):
        victim = random.choice(files(dataset))
        sound = victim.read_bytes()
        content = bytearray(sound)
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        victim.write_bytes(content)
        check_found(dataset, victim)
        victim.write_bytes(sound)
    assert verify(dataset).ok


def test_truncations(trials, dataset):
    for _, random in trials("truncations", 10, 500):
        victim = random.choice(files(dataset))
        sound = victim.read_bytes()
        victim.write_bytes(sound[: random.randrange(len(sound))])
        check_found(dataset, victim)
        victim.write_bytes(sound)


def test_swapped_and_missing_shards(trials, dataset, tmp_path):
    other = tmp_path / "other"
    build(SPEC, other, seed=1, **SIZE)
    shards = sorted(dataset.glob("*-of-*.h5"))
    for _, random in trials("swapped, foreign and missing shards", 6, 200):
        one, two = random.sample(shards, 2)
        sound = {path: path.read_bytes() for path in (one, two)}
        match random.randrange(4):
            case 0:
                one.unlink()
                check_found(dataset, one)
            case 1:
                one.write_bytes(sound[two])
                two.write_bytes(sound[one])
                check_found(dataset, one, two)
            case 2:
                one.write_bytes((other / one.name).read_bytes())
                check_found(dataset, one)
            case 3:
                one.unlink()
                one.symlink_to(two)
                assert any(str(one) in problem for problem in verify(dataset).problems)
                one.unlink()
        for path, content in sound.items():
            path.write_bytes(content)
    assert verify(dataset).ok


_READ = """
import sys
from mnistcompose import BuildError, InputError, ShardedDigits
try:
    data = ShardedDigits(sys.argv[1], "train", verify=False)
    data[:]
except (BuildError, InputError) as error:
    assert "\\n" not in str(error)
    print("refused")
else:
    print("read")
"""


def test_without_verification_damage_is_no_crash(trials, dataset):
    """Nothing was asked to be checked; the interpreter lives on, all the same."""
    pytest.importorskip("torch")
    victim = dataset / "train-00001-of-00002.h5"
    sound = victim.read_bytes()
    for _, random in trials("bits of the HDF5 header, unchecked, in a process of its own", 1, 40):
        content = bytearray(sound)
        for _ in range(random.randrange(1, 20)):
            content[random.randrange(6000)] ^= 1 << random.randrange(8)
        victim.write_bytes(content)
        done = subprocess.run([sys.executable, "-c", _READ, str(dataset)], capture_output=True, text=True, timeout=60)
        assert done.stdout in ("refused\n", "read\n"), (done.returncode, done.stderr)
    victim.write_bytes(sound)


def test_what_it_costs_to_verify_when_opening(dataset, capsys):
    pytest.importorskip("torch")
    from mnistcompose import ShardedDigits

    size = sum(path.stat().st_size for path in dataset.glob("train-*.h5"))
    begun = perf_counter()
    ShardedDigits(dataset, "train")
    with capsys.disabled():
        print(f"\nverification on opening: {(perf_counter() - begun) / size * 1e9:.2f} s/GB", end="")
