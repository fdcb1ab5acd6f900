import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from clusters import Cluster
from distributed import CancelledError
from distributed.client import default_client
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker
from waiting import until

from mnistcompose import BuildError, InputError, build, load_spec, verify
from mnistcompose.building.cluster import _Cluster, cluster, is_exposed
from mnistcompose.cli import cli
from mnistcompose.cli.shared import on_cluster
from mnistcompose.storage.locks import LockedError
from mnistcompose.storage.manifest import read_manifest

ROOT = Path(__file__).parents[2]
SPEC = load_spec("MNIST-III-10")
COUNTS = {"train": 40_000, "test": 2000}
CLI = (sys.executable, "-c", "from mnistcompose.cli import main; raise SystemExit(main())")


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    found = Cluster(tmp_path)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Iterator[Cluster]:
    """Three workers that no test may harm."""
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    for _ in range(3):
        found.add_worker("--resources", "GPU=1")
    yield found.ready(3)
    found.stop()


@pytest.fixture(scope="module")
def digests(tmp_path_factory) -> dict[str, str]:
    """What one thread makes."""
    root = tmp_path_factory.mktemp("thread") / "x"
    return build(SPEC, root, shard_size=1000, workers=1, **COUNTS).digests


def command(*arguments: object) -> subprocess.Popen[str]:
    sizes = [f"--{split}={count}" for split, count in COUNTS.items()]
    return subprocess.Popen(
        [*CLI, "build", SPEC.name, *sizes, "--shard-size", "1000", "--json", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def shards(root: Path) -> int:
    return len(list(root.glob("*-of-*.h5")))


def test_a_cluster_makes_what_one_thread_makes(three: Cluster, digests, tmp_path):
    with cluster(three.address) as (executor, threads):
        report = build(SPEC, tmp_path / "x", shard_size=1000, executor=executor, workers=threads, **COUNTS)
    assert threads == 3
    assert report.digests == digests
    assert verify(tmp_path / "x", rerender=200).ok


def test_the_scheduler_file_serves_as_address(three: Cluster, digests, tmp_path):
    process = command("--scheduler", three.folder / "scheduler.json", "--out", tmp_path / "x")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["digests"] == digests


def test_a_killed_worker_costs_nothing(empty: Cluster, digests, tmp_path):
    for _ in range(3):
        empty.add_worker()
    empty.ready(3)
    root = tmp_path / "x"
    process = command("--scheduler", empty.address, "--out", root)
    until(lambda: list(root.glob("*.tmp")) or shards(root) > 5)
    empty.workers[0].kill()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["digests"] == digests
    assert not list(root.glob("*.tmp"))


def test_a_worker_may_join(empty: Cluster, digests, tmp_path):
    empty.add_worker()
    empty.ready(1)
    root = tmp_path / "x"
    process = command("--scheduler", empty.address, "--out", root)
    until(lambda: shards(root))
    empty.add_worker()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["digests"] == digests


def test_a_restarted_scheduler_ends_the_build_which_goes_on_later(empty: Cluster, digests, tmp_path):
    empty.add_worker()
    empty.ready(1)
    root = tmp_path / "x"
    process = command("--scheduler", empty.address, "--out", root)
    until(lambda: shards(root) > 2)
    empty.scheduler.send_signal(signal.SIGKILL)
    empty.scheduler.wait(10)
    empty.start_scheduler()
    empty.add_worker()
    empty.ready(1)
    out, err = process.communicate(timeout=120)
    if process.returncode:
        assert (process.returncode, err.count("\n")) == (1, 1), err
        assert empty.address in err
        process = command("--scheduler", empty.address, "--out", root)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["digests"] == digests


def other_code(folder: Path, file: str, old: str, new: str) -> dict[str, str]:
    """Environment of a worker whose code differs in one file."""
    for package in ("mnistcompose", "dcl"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copytree(ROOT / "mnistcompose" / "data", folder / "mnistcompose" / "data")
    content = (folder / file).read_text()
    assert old in content
    (folder / file).write_text(content.replace(old, new))
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("mnistcompose/__init__.py", '"0.1.0"', '"9.9.9"', r"has mnistcompose 9\.9\.9.*0\.1\.0"),
        ("mnistcompose/digits/ink.py", "INK = ", "INK = 1 + ", r"has mnistcompose 0\.1\.0 \(code .*0\.1\.0 \(code "),
        (
            "mnistcompose/sources.py",
            "def code_version",
            "def other",
            r"cannot load mnistcompose 0\.1\.0 \(code .*: .*code_v",
        ),
    ],
)
def test_a_worker_of_other_code_is_refused(empty: Cluster, tmp_path, file, old, new, told):
    empty.add_worker(**other_code(tmp_path / "site", file, old, new))
    empty.ready(1)
    with pytest.raises(BuildError, match=told) as raised, cluster(empty.address):
        pass
    assert len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_worker_of_other_code_that_joins_is_refused(empty: Cluster, tmp_path):
    other = other_code(tmp_path / "site", "mnistcompose/__init__.py", '"0.1.0"', '"9.9.9"')
    good = empty.add_worker()
    empty.ready(1)
    with cluster(empty.address) as (executor, threads):
        empty.add_worker(**other)
        empty.ready(2)
        good.kill()
        with pytest.raises(BuildError, match=r"worker tcp://.* has mnistcompose 9\.9\.9"):
            build(SPEC, tmp_path / "x", shard_size=1000, executor=executor, workers=threads, **COUNTS)


def test_a_worker_without_the_digits_is_named(three: Cluster, tmp_path):
    from dataclasses import replace

    from mnistcompose.building.config import make_config
    from mnistcompose.building.worker import Task
    from mnistcompose.digits.source import DigitSource

    digits = tmp_path / "digits"
    config = replace(make_config(SPEC), digits=DigitSource(digits))
    task = Task(config, "train", 0, 1000, tmp_path, "x.h5")
    from mnistcompose.building.worker import make_shard

    with cluster(three.address) as (executor, _):
        error = executor.submit(make_shard, task).exception(timeout=60)
    assert isinstance(error, BuildError)
    assert f"{digits}" in str(error)
    assert "worker tcp://127.0.0.1" in str(error)


def test_a_grid_of_runs_is_the_same_on_a_cluster(three: Cluster, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    spec = tmp_path / "tiny.yaml"
    bundled = ROOT / "specs" / "MNIST-II-01.yaml"
    spec.write_text(bundled.read_text().replace("MNIST-II-01", "tiny") + "train: 1000\ntest: 500\n")
    monkeypatch.chdir(tmp_path)
    options = ["compare", str(spec), "--models", "baseline", "--epochs", "1", "--csv"]
    run = CliRunner().invoke
    here = run(cli, [*options, "--out", "here"], catch_exceptions=False)
    cluster_options = ["--scheduler", three.address, "--resource", "GPU=1"]
    there = run(cli, [*options, "--out", "there", *cluster_options], catch_exceptions=False)
    assert (here.exit_code, there.exit_code) == (0, 0)
    stored = [json.loads((tmp_path / place / "tiny" / "baseline-0.json").read_text()) for place in ("here", "there")]
    assert stored[0]["determined_by"] == stored[1]["determined_by"]
    assert there.stdout.splitlines()[1].startswith("tiny,baseline,")


def test_equal_tasks_are_done_each_time_by_workers_that_have_what_they_ask_for(three: Cluster):
    with cluster(three.address, resources={"GPU": 1}) as (executor, _):
        first, second = (executor.submit(time.time_ns).result(timeout=60) for _ in range(2))
        assert first < second
    with cluster(three.address, resources={"GPU": 2}) as (executor, _):
        future = executor.submit(time.time_ns)
        with pytest.raises(TimeoutError):  # no worker has two
            future.result(timeout=1)
        assert future.cancel()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KilledWorker("task", SimpleNamespace(address="tcp://127.0.0.1:1"), 3), "workers died repeatedly: "),
        (CommClosedError("closed"), "the connection was lost; the same command resumes"),
        (CancelledError("task"), "the connection was lost; the same command resumes"),
    ],
    ids=["killed", "closed", "cancelled"],
)
def test_what_ends_a_clusters_work_is_told_in_one_line(three: Cluster, error: Exception, told: str):
    with pytest.raises(BuildError, match=rf"\A[^\n]+: {told}[^\n]+"), cluster(three.address):
        raise error


def test_a_lost_connection_is_no_error_of_a_file():
    def closed() -> None:
        raise CommClosedError("closed")

    distant = SimpleNamespace(result=closed, add_done_callback=lambda ended: ended(None))
    future = _Cluster(SimpleNamespace(submit=lambda *_, **__: distant), {}).submit(print)
    assert isinstance(future.exception(), CancelledError)
    assert not isinstance(future.exception(), OSError)


def test_a_clusters_client_is_its_own_and_is_closed_with_it(three: Cluster):
    with cluster(three.address) as (executor, _):
        with pytest.raises(ValueError, match="No clients found"):
            default_client()
        assert executor._client.status == "running"
    assert executor._client.status == "closed"


def test_a_cluster_silences_its_own_log_only(three: Cluster):
    with on_cluster(three.address, None, None, None):
        assert logging.getLogger("mnistcompose.storage").isEnabledFor(logging.WARNING)
        assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)


@pytest.mark.parametrize(
    ("scheduler", "error", "names"),
    [
        ("tcp://127.0.0.1:9", BuildError, "tcp://127.0.0.1:9: no scheduler"),
        ("nowhere.json", InputError, "nowhere.json: neither an address"),
        (__file__, InputError, "test_cluster.py: not a scheduler file"),
        ("nope://x", InputError, "nope://x"),
    ],
)
def test_a_cluster_that_is_not_there(scheduler, error, names, monkeypatch):
    monkeypatch.setattr("mnistcompose.building.cluster._PATIENCE", 1)
    with pytest.raises(error, match=names), cluster(scheduler):
        pass


def test_a_cluster_without_workers(empty: Cluster, monkeypatch):
    monkeypatch.setattr("mnistcompose.building.cluster._PATIENCE", 1)
    with pytest.raises(BuildError, match="has no worker"), cluster(empty.address):
        pass


@pytest.mark.parametrize(
    ("address", "exposed"),
    [
        ("tcp://127.0.0.1:8786", False),
        ("tcp://localhost:8786", False),
        ("tcp://[::1]:8786", False),
        ("tcp://10.0.0.1:8786", False),
        ("tcp://[fd00::1]:8786", False),
        ("tcp://169.254.3.4:8786", False),
        ("tcp://[fe80::1%25eth0]:8786", False),
        ("tcp://8.8.8.8:8786", True),
        ("tcp://172.32.0.1:8786", True),
        ("tcp://[2600::1]:8786", True),
        ("ucx://8.8.8.8:8786", True),
        ("ws://8.8.8.8:8786", True),
        ("tls://8.8.8.8:8786", False),
        ("wss://8.8.8.8:8786", False),
        ("tcp://node7:8786", True),
    ],
)
def test_addresses_that_anyone_may_reach(address, exposed):
    assert is_exposed(address) is exposed


@pytest.mark.parametrize(("address", "warned"), [("tcp://8.8.8.8:8786", True), ("tls://8.8.8.8:8786", False)])
def test_a_public_address_draws_one_warning_also_from_a_file(address, warned, tmp_path, monkeypatch):
    def no_cluster(*_):
        raise BuildError("not reached")

    monkeypatch.setattr("mnistcompose.building.cluster.cluster", no_cluster)
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"type": "Scheduler", "address": address}))
    for given in (address, str(file)):
        result = CliRunner().invoke(cli, ["build", "MNIST-II-01", "--scheduler", given, "--out", str(tmp_path / "x")])
        assert str(result.exception) == "not reached"
        lines = result.stderr.splitlines()
        assert [line.startswith(f"warning: {address} has no encryption") for line in lines] == [True] * warned


# --- encryption -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> dict[str, Path]:
    """An authority's certificate, which is its own, and key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("keys")
    files = {"ca": folder / "cert.pem", "cert": folder / "cert.pem", "key": folder / "key.pem"}
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(files["key"]), "-out", str(files["cert"])),
        ],
        check=True,
        capture_output=True,
    )
    return files


def test_tls(keys, tmp_path):
    options = [item for name, path in keys.items() for item in (f"--tls-{name}", str(path))]
    found = Cluster(tmp_path, "--protocol", "tls", "--tls-ca-file", *options[1:])
    try:
        assert found.address.startswith("tls://")
        found.add_worker()
        process = command("--scheduler", found.address, *options, "--out", tmp_path / "x", "--train", "2000")
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        assert json.loads(out)["counts"]["train"] == 2000
        with pytest.raises(InputError, match=r"tls://.*TLS"), cluster(found.address):
            pass
    finally:
        found.stop()


def test_a_lock_that_another_process_holds_is_no_failure(three: Cluster):
    """A grid comes back to such a run; see `run_grid`."""

    def busy() -> None:
        raise LockedError("another process does this run")

    with cluster(three.address) as (executor, _), pytest.raises(LockedError, match="another process"):
        executor.submit(busy).result(timeout=60)


def test_half_a_key_is_refused(tmp_path):
    (tmp_path / "x.pem").touch()
    result = CliRunner().invoke(
        cli, ["build", "MNIST-II-01", "--scheduler", "tls://127.0.0.1:1", "--tls-ca", str(tmp_path / "x.pem")]
    )
    assert result.exit_code == 2
    assert "--tls-key are needed together" in result.output


def test_manifest_of_a_cluster_is_that_of_a_thread(three: Cluster, tmp_path):
    counts = {"train": 3000, "test": 1000}
    with cluster(three.address) as (executor, threads):
        build(SPEC, tmp_path / "a", shard_size=1000, executor=executor, workers=threads, **counts)
    build(SPEC, tmp_path / "b", shard_size=1000, workers=1, **counts)
    assert read_manifest(tmp_path / "a") == read_manifest(tmp_path / "b")
