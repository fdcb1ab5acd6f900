"""A grid of (dataset, model, seed) runs, each of which is stored as it ends."""

from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future
from concurrent.futures import wait as futures_wait
from contextlib import AbstractContextManager, closing, suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from mnistcompose.building import processes
from mnistcompose.errors import BuildError, InputError
from mnistcompose.storage.locks import LockedError

from ..data.image_sets import ImageSet
from ..data.numbers import Dataset
from ..training.history import History
from .run import Run, refuse_other, run_one, unfinished
from .run_file import FAILED, Record, read_record, read_records, status_of, write_record

Pool = Callable[[], AbstractContextManager[Executor]]
RETRIES = 1  # of a run whose process has died


def grid(
    datasets: Sequence[Dataset | ImageSet], models: Sequence[str], seeds: Sequence[int], **settings: Any
) -> list[Run]:
    """List all runs of a grid, seed by seed; `settings` are the other fields of `Run`."""
    return [Run(data, model, seed, **settings) for seed, data, model in product(seeds, datasets, models)]


def run_grid(
    runs: Sequence[Run],
    out: Path,
    *,
    keep: bool = False,
    pool: Pool | None = None,
    on_epoch: Callable[[Run, History], None] = lambda *_: None,
    on_end: Callable[[Run, Record], None] = lambda *_: None,
) -> list[Record]:
    """Do the runs that are not in the folder yet, here or in a pool; return all records, in order.

    A folder may grow by datasets, models and seeds, but keeps one recipe, one data seed, and one number of epochs per
    model. Several processes may work on one folder: each run is done by one of them. A run that fails does not stop
    the others: it is stored as failed with its reason, and is run again by the next call. A worker that dies is
    replaced, and its run is done once more.

    Parameters
    ----------
    pool : callable, optional
        Makes the executor that does the runs; called again after a worker has died.
    on_epoch, on_end : callable
        Called after an epoch (of a run in this process) and after a run.

    Raises
    ------
    InputError
        The folder holds runs of another grid, or two runs share a file; the message names the file and the field.
    BuildError
        At least one run has failed.
    """
    identities = [run.identity() for run in runs]
    first: dict[str, dict[str, Any]] = {}
    for run, two in zip(runs, identities, strict=True):
        one = first.setdefault(run.file, two)
        if field := next((key for key in two if one.get(key) != two[key]), None):
            raise InputError(
                f"{out / run.file}: two of the runs share this file, but differ in {field}; give each its own --out"
            )
    stored = read_records(out)
    for wanted, (path, record) in product(identities, stored.items()):
        _check_fits(path, record["determined_by"], wanted)
    records: dict[str, Record] = {}
    failures: list[str] = []
    attempt = partial(_here, out, keep, on_epoch) if pool is None else partial(_in_pool, out, keep, pool)
    busy: list[Run] = []
    for wait in (False, True):  # runs that another process is doing come last
        with closing(attempt(busy if wait else runs, wait)) as attempts:
            for run, result in attempts:
                try:
                    records[run.file] = result()
                except LockedError:
                    busy.append(run)
                except (InputError, CancelledError):  # a lost scheduler cancels all runs
                    raise
                except Exception as error:  # ends this run only: out of memory, a lost worker, a full disk
                    reason = _reason(error)
                    failures.append(f"{run.file}: {reason}")
                    records[run.file] = _store_failure(run, out / run.file, reason)
                else:
                    on_end(run, records[run.file])
    if failures:
        more = f" (and {len(failures) - 1} more failed)" if len(failures) > 1 else ""
        raise BuildError(f"{failures[0]}{more}; the same command runs what is missing")
    return [records[run.file] for run in runs]


_OnEpoch = Callable[[Run, History], None]
_Attempts = Generator[tuple[Run, Callable[[], Record]]]


def _here(out: Path, keep: bool, on_epoch: _OnEpoch, runs: Sequence[Run], wait: bool) -> _Attempts:
    for run in runs:
        yield run, partial(run_one, run, out / run.file, keep=keep, wait=wait, progress=partial(on_epoch, run))


def _in_pool(out: Path, keep: bool, pool: Pool, runs: Sequence[Run], wait: bool) -> _Attempts:
    """Yield results as they come. A dead process breaks its whole pool, so each process has one run in it at most."""
    left, deaths = deque(runs), Counter[str]()
    while left:
        with pool() as executor:
            at_once = getattr(executor, "_max_workers", len(left))
            waiting: dict[Future[Record], Run] = {}
            broken = False
            while waiting or (left and not broken):
                while left and not broken and len(waiting) < at_once:
                    if waiting and any(deaths[run.file] for run in (left[0], *waiting.values())):
                        break  # a run that lost its process is done alone, so that no other is blamed for it
                    run = left.popleft()
                    try:
                        waiting[executor.submit(run_one, run, out / run.file, keep=keep, wait=wait)] = run
                    except BrokenExecutor:
                        left.appendleft(run)
                        broken = True
                for done in futures_wait(waiting, return_when=FIRST_COMPLETED).done:
                    run = waiting.pop(done)
                    if isinstance(done.exception(), BrokenExecutor):
                        broken = True
                        deaths[run.file] += 1
                        if deaths[run.file] <= RETRIES:
                            left.appendleft(run)
                            continue
                    yield run, done.result


def _reason(error: Exception) -> str:
    if isinstance(error, BrokenExecutor):
        return "its process has died, twice"
    first = str(error).partition("\n")[0]
    return first if isinstance(error, BuildError) else f"{type(error).__name__}: {first}"


def _store_failure(run: Run, path: Path, reason: str) -> Record:
    """Store a failed run, unless another process has stored its result by now."""
    if path.exists() and status_of(record := read_record(path)) != FAILED:
        return record
    record = unfinished(run, FAILED, reason)
    with suppress(BuildError, OSError):  # where nothing can be written, the reason is worth more than a stored run
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(path, record)
    return record


def _check_fits(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    keys = ["recipe", "precision", "data_seed", "measured_on"]
    keys += ["fusion"] if "fusion" in wanted and stored["model"] == wanted["model"] else []
    data = [key for key in ("spec", "digits", "preparation", "splits") if key in wanted]
    keys += data if stored["dataset"] == wanted["dataset"] else []
    keys += ["epochs"] if stored["model"] == wanted["model"] else []
    refuse_other(path, stored, wanted, keys)


def process_pool(jobs: int) -> AbstractContextManager[Executor]:
    """Make a pool of processes that share the processor's cores evenly, and end with this process.

    An error or a signal in this process ends them at once; their runs resume from checkpoints.
    """
    return processes.process_pool(jobs, partial(torch.set_num_threads, max(1, torch.get_num_threads() // jobs)))
