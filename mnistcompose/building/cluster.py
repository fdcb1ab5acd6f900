"""An existing Dask cluster as a `concurrent.futures.Executor`, for `build` and for grids of training runs."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..arguments import here
from ..errors import BuildError, InputError
from ..sources import code_version
from ..storage.locks import LockedError

_SAFE = ("tls", "wss", "inproc")  # Dask's protocols that are encrypted, or stay in one process
_PATIENCE = 20  # seconds to wait for the scheduler, and for its first worker


@dataclass(frozen=True)
class Tls:
    """PEM files for an encrypted connection: the certificate authority, the certificate, and its key."""

    ca: Path
    cert: Path
    key: Path


class _Cluster(Executor):
    """A Dask client as an executor.

    With Dask's own executor (`Client.get_executor`), a future waits forever if the scheduler is lost before its result
    is fetched. Errors of this executor also name the worker.
    """

    def __init__(self, client: Any, resources: Mapping[str, float]) -> None:
        self._client, self._resources = client, dict(resources) or None

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        from distributed.comm.core import CommClosedError

        task = partial(on_worker, code_version(), function, *arguments, **keywords)
        distant = self._client.submit(task, pure=False, resources=self._resources)
        future: Future[Any] = Future()

        def ended(_: object) -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(distant.result())
            except CommClosedError as error:  # an OSError, which a build would take for one of its files
                future.set_exception(CancelledError(str(error)))
            except BaseException as error:
                future.set_exception(error)

        distant.add_done_callback(ended)
        future.add_done_callback(lambda _: distant.cancel() if future.cancelled() else None)
        return future


def on_worker(wanted: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a function on a worker of the cluster.

    Raises
    ------
    LockedError
        The function raised it.
    BuildError
        The worker has other code of mnistcompose, or the function raised another InputError or BuildError; the message
        names the worker.
    """
    from distributed import get_worker

    if (here := code_version()) != wanted:
        raise BuildError(_other_code(get_worker().address, here, wanted))
    try:
        return function(*arguments, **keywords)
    except LockedError:  # the caller may come back later
        raise
    except (InputError, BuildError) as error:
        raise BuildError(f"worker {get_worker().address}: {error}") from None


def _other_code(worker: str, here: object, wanted: str) -> str:
    if isinstance(here, BaseException):  # from a worker that does not have the function
        reason = " ".join(str(here).split())
        return f"worker {worker} cannot load mnistcompose {wanted}: {reason}; install the same code there"
    return f"worker {worker} has mnistcompose {here}, this process has {wanted}; install the same code there"


@contextmanager
def cluster(
    scheduler: str, tls: Tls | None = None, resources: Mapping[str, float] | None = None
) -> Iterator[tuple[Executor, int]]:
    """Connect to a cluster's scheduler; the cluster keeps running afterwards.

    Parameters
    ----------
    scheduler
        Its address, as in tcp://host:8786 or tls://host:8786, or the scheduler file that Dask wrote.
    resources
        Resources of a worker that each task needs, as in {"GPU": 1}.

    Yields
    ------
    executor
        For functions and arguments that can be pickled.
    threads
        Number of threads that the cluster has now; workers may join later.

    Raises
    ------
    InputError
        Dask is not installed, or the address or the files cannot be used.
    BuildError
        No scheduler or worker answers, a worker has other code of mnistcompose, or the connection is lost.
    """
    try:
        from distributed import Client, KilledWorker, Security
        from distributed.comm.core import CommClosedError
    except ImportError:
        raise InputError("a cluster needs Dask: pip install distributed") from None
    address = scheduler_address(scheduler)
    keys = {"tls_ca_file": tls.ca, "tls_client_cert": tls.cert, "tls_client_key": tls.key} if tls else {}
    security = Security(require_encryption=bool(tls), **{name: str(path) for name, path in keys.items()})
    try:
        client = Client(address, security=security, timeout=_PATIENCE, set_as_default=False)
    except (ValueError, TypeError) as error:
        raise InputError(f"{scheduler}: {' '.join(str(error).split())}") from None
    except (OSError, RuntimeError) as error:
        raise BuildError(f"{scheduler}: no scheduler answers: {' '.join(str(error).split())}") from None
    with client:
        _check_workers(client, scheduler, address)
        try:
            yield _Cluster(client, resources or {}), sum(client.nthreads().values())
        except KilledWorker as error:
            raise BuildError(f"{scheduler}: workers died repeatedly: {error}") from None
        except (CancelledError, CommClosedError):
            raise BuildError(f"{scheduler}: the connection was lost; the same command resumes the work") from None


def _check_workers(client: Any, scheduler: str, address: str) -> None:
    """Reject a cluster without workers, or with a worker that has other code."""
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        raise BuildError(f"{scheduler}: the cluster has no worker; start one with: dask worker {address}") from None
    wanted = code_version()
    for worker, found in client.run(code_version, on_error="return").items():
        if found != wanted:
            raise BuildError(_other_code(worker, found, wanted))


def scheduler_address(scheduler: str) -> str:
    """Address of a scheduler, given as that or as the file that Dask wrote.

    Raises
    ------
    InputError
        There is no such file, or it is not a scheduler's.
    """
    if "://" in scheduler:
        return scheduler
    try:
        return str(json.loads(here(scheduler).read_bytes())["address"])
    except OSError as error:
        raise InputError(
            f"{scheduler}: neither an address such as tcp://host:8786 nor a scheduler file: {error.strerror}"
        ) from None
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{scheduler}: not a scheduler file: no JSON object with an 'address'") from None


def is_exposed(address: str) -> bool:
    """Whether a scheduler can be reached, without encryption, from beyond this machine and its private network.

    Whoever reaches it can run code on its workers. A host name counts as public, because it can stand for any address.
    """
    parts = urlsplit(address)
    if parts.scheme in _SAFE or parts.hostname in (None, "localhost"):
        return False
    try:
        host = ip_address(parts.hostname)
    except ValueError:
        return True
    return not (host.is_loopback or host.is_private or host.is_link_local)
