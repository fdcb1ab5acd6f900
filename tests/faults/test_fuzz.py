"""Input that was mutated: the documented exceptions, soon, within little memory, and nothing written.

pytest tests/faults/test_fuzz.py --faults full      # 145,000 inputs
"""

import copy
import gzip
import json
import lzma
import math
import resource
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

import numpy as np
import pytest
import yaml

from mnistcompose import BuildError, InputError, load_digits, load_spec, spec_names
from mnistcompose.building.worker import compose_shard
from mnistcompose.layout.reading import dump_spec, parse_spec

SECONDS, BYTES = 2.0, 1 << 30
ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e-300, 1e308, 10**30, -(10**18), math.inf, -math.inf, math.nan),
    *("", " ", "none", "natural", "normal", "x" * 5000, "\u202e\x00", "1e3", "0x10", "1_000", "2001-01-01", "~", "<<"),
    *([], {}, [[]], {"": {}}, [0] * 500, {"normal": [0, 1]}, {"uniform": [3, 2]}, {"choice": []}),
]
TOKENS = [
    *(b"---\n", b"...\n", b"&a ", b"*a", b"<<: *a\n", b"!!binary |\n", b"\t", b"\r\n", b"%YAML 9.9\n", b"\xef\xbb\xbf"),
    *(b"- ", b": ", b"{", b"}", b"[", b"]", b"'", b'"', b"#", b"|\n", b">\n", b"? ", b"\x00", b"\xff\xfe"),
    b"!!python/object/apply:os.system ['true']",
]
JSON_TOKENS = [b"null", b"{}", b"[]", b"-1", b"1e999", b"NaN", b'"', b","]


def mutate_bytes(content: bytes, random: Random, tokens: list[bytes]) -> bytes:
    """One to five edits: bits, bytes, slices that go, double, move, or give way to something odd."""
    data = bytearray(content)
    for _ in range(random.randint(1, 5)):
        a = random.randrange(len(data) + 1)
        b = min(len(data), a + random.choice([1, 2, 8, 64]))
        match random.randrange(6):
            case 0 if a < len(data):
                data[a] ^= 1 << random.randrange(8)
            case 1:
                del data[a:b]
            case 2:
                data[a:a] = data[a:b]
            case 3:
                data[a:b] = random.randbytes(random.randrange(9))
            case 4:
                data[a:a] = random.choice(tokens)
            case _:
                piece = bytes(data[a:b])
                del data[a:b]
                place = random.randrange(len(data) + 1)
                data[place:place] = piece
    return bytes(data)


def mutate_tree(value: Any, random: Random) -> Any:
    """A copy of a tree of dicts and lists with one to three nodes exchanged, removed or added."""
    tree = {"root": copy.deepcopy(value)}
    for _ in range(random.randint(1, 3)):
        place: Any = tree
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = random.choice(keys)
            if not isinstance(place[key], dict | list) or random.random() < 0.3:
                match random.randrange(8):
                    case 0 if place is not tree:
                        del place[key]
                    case 1 if isinstance(place, dict) and place is not tree:
                        place[random.choice(["scale", "flip", "extra", "", "slots", "train"])] = place[key]
                    case 2 if isinstance(place[key], int | float):
                        place[key] = place[key] * random.choice([-1, 10, 1e-9, 1e6])
                    case _:
                        place[key] = copy.deepcopy(random.choice(ODD))
                break
            place = place[key]
    return tree["root"]


def try_input(use: Callable[[], object], shown: object) -> bool:
    """Whether the input was taken; it must not take long, or fail in another way than documented."""
    begun = process_time()
    try:
        use()
        return True
    except (InputError, BuildError) as error:
        text = str(error)
        assert text.strip()
        assert len(text) < 20_000
        return False
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}, of {shown!r}") from error
    finally:
        assert process_time() - begun < SECONDS, shown


@pytest.fixture(autouse=True)
def little_memory():
    """The most that the process ever held grows by less than a gigabyte."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < BYTES


def test_specs(trials, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = [dump_spec(load_spec(name)).encode() for name in spec_names()]
    bank, taken = load_digits("train"), 0
    compose_shard(bank, load_spec("MNIST-II-01"), "train", 0, 0, 0)  # compiles the kernel, if need be
    for _, random in trials("mutated specs", 1500, 100_000):
        text = random.choice(texts)
        if random.random() < 0.5:
            content = mutate_bytes(text, random, TOKENS)
        else:
            content = yaml.safe_dump(mutate_tree(yaml.safe_load(text), random), allow_unicode=True).encode()

        def use(content=content, random=random) -> None:
            spec = parse_spec(content, "mutated.yaml")
            parse_spec(dump_spec(spec))
            if random.random() < 0.1:
                compose_shard(bank, spec, "train", 0, 0, 2)

        taken += try_input(use, content)
    assert taken > 0
    assert not list(tmp_path.iterdir())


PACK = {"": bytes, ".gz": lambda b: gzip.compress(b, 1), ".xz": lambda b: lzma.compress(b, preset=0)}


def test_idx_files(trials, tmp_path):
    from io import BytesIO

    def idx(array: np.ndarray) -> bytes:
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        return BytesIO(header + array.tobytes()).getvalue()

    random_images = np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype(np.uint8)
    labels = (np.arange(60) % 3).astype(np.uint8)
    sound = {
        "train-images-idx3-ubyte": idx(random_images),
        "train-labels-idx1-ubyte": idx(labels),
        "t10k-images-idx3-ubyte": idx(random_images[:20]),
        "t10k-labels-idx1-ubyte": idx(labels[:20]),
    }
    tokens = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\x08\x03", b"\0\0\x0c\x02"]
    taken = 0
    for trial, random in trials("mutated IDX files", 300, 20_000):
        folder, victim = tmp_path / str(trial), random.choice(list(sound))
        folder.mkdir()
        for name, content in sound.items():
            suffix = random.choice(list(PACK)) if name == victim else ""
            before = mutate_bytes(content[:16], random, tokens) + content[16:] if random.random() < 0.5 else content
            packed = PACK[suffix](before if name == victim else content)
            if name == victim and before == content:
                packed = mutate_bytes(packed, random, tokens)
            (folder / f"{name}{suffix}").write_bytes(packed)
        there = sorted(path.name for path in folder.iterdir())
        taken += try_input(lambda folder=folder: load_digits("train", folder), (trial, victim))
        assert sorted(path.name for path in folder.iterdir()) == there
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    assert taken > 0


def test_notations(trials):
    pytest.importorskip("torch")
    from dcl.models.builder import plan_network
    from dcl.models.networks import VARIANTS, lenet_notation

    texts = [lenet_notation(1000, variant).encode() for variant in VARIANTS]
    texts += [b"C5(P2)@32-MP3(S2)-C5(P2)@64-MP3(S2)-FC512[2x128]-D0.5-OUT", b"C3@8[64+32S]-MP2-FC50-OUT[3x20D]"]
    tokens = [*b"C M P F D O @ - [ ] ( ) x + S 0 9".split(), b"99999999999", b"MP2S2", b"OUT", "²".encode(), b"1e9"]
    taken = 0
    for _, random in trials("mutated notations", 2000, 20_000):
        text = mutate_bytes(random.choice(texts), random, tokens).decode("utf-8", "replace")
        taken += try_input(lambda text=text: plan_network(text, (1, 28, 28), 1000), text)
    assert taken > 0


def test_run_files(trials, tmp_path):
    pytest.importorskip("torch")
    from dcl.experiments.run_file import read_records
    from dcl.reporting.table import as_csv, as_markdown, summarise

    stored = Path(__file__).parents[2] / "results" / "first" / "MNIST-II-01"
    sound = [json.loads(path.read_text()) for path in sorted(stored.glob("*.json"))[:2]]
    assert len(sound) == 2
    folder = tmp_path / "runs" / "MNIST-II-01"
    folder.mkdir(parents=True)
    taken = 0
    for _, random in trials("mutated run files", 300, 5000):
        (folder / "a.json").write_text(json.dumps(sound[0]))
        if random.random() < 0.5:
            content = mutate_bytes(
                json.dumps(sound[1]).encode(), random, [b"null", b"{}", b"[]", b"-1", b"1e999", b"NaN"]
            )
        else:
            content = json.dumps(mutate_tree(sound[1], random)).encode()
        (folder / "b.json").write_bytes(content)

        def use() -> None:
            rows = summarise(read_records(tmp_path / "runs").values())
            as_csv(rows), as_markdown(rows)

        taken += try_input(use, content[:2000])
    assert taken > 0
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "b.json"]
