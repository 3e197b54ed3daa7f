"""The workers of a cluster, Dask's or Ray's, as what joblib hands tasks to while a block lasts."""

from __future__ import annotations

import _thread
import importlib
import logging
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from zslkit.cli.worker import Lost
from zslkit.errors import UserError, ZslkitError

CONNECT = 15
"""Seconds that a scheduler may take to answer."""


@contextmanager
def dask(address: str) -> Iterator[None]:
    """The workers of a Dask cluster.

    Raises:
        UserError: No scheduler answers, it has no worker, or its workers lack a package.
        ZslkitError: The scheduler was lost.
        Lost: Workers ended before they answered.
    """
    distributed = _needed("distributed", "dask")
    import joblib

    for name in ("distributed", "distributed.client"):  # their errors are told here in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"No Dask scheduler answers at {address} ({error}); start one with: dask scheduler"
        ) from error
    mend = "start it again, and the same command goes on from here"
    gone = f"The scheduler at {address} was lost; {mend}"
    with client, joblib.parallel_config(backend="dask", client=client), _watched(client) as failed:
        try:
            yield
        except TimeoutError as error:
            raise UserError(
                f"The scheduler at {address} has no worker; start some with: dask worker {address} "
                "--nthreads 1"
            ) from error
        except CancelledError as error:
            raise ZslkitError(gone) from error
        except KeyboardInterrupt:
            if not failed:
                raise
            if isinstance(failed[0], ConnectionError):
                raise ZslkitError(gone) from failed[0]
            if isinstance(failed[0], distributed.KilledWorker):
                raise Lost("Dask gave it up after several workers died") from failed[0]
            why = f"{type(failed[0]).__name__}: {failed[0]}"
            raise UserError(
                f"The workers of {address} could not begin ({why}); install zslkit and the plugins "
                "in their environment as well"
            ) from failed[0]


@contextmanager
def ray(address: str | None) -> Iterator[None]:
    """The workers of a Ray cluster; raises as `dask`."""
    ray = _needed("ray", "ray")
    import joblib

    _needed("ray.util.joblib", "ray").register_ray()
    try:
        ray.init(address=address or "auto", logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"No Ray cluster answers at {address or 'this machine'} ({error}); start one with: ray "
            "start --head"
        ) from error
    try:
        with joblib.parallel_config(backend="ray", n_jobs=-1):
            try:
                yield
            except Exception as error:
                raise Lost(f"{type(error).__name__}: {error}") from error
    finally:
        ray.shutdown()


@contextmanager
def _watched(client: Any) -> Iterator[list[BaseException]]:
    """The errors of tasks that Dask gave up, or lost with the scheduler. joblib would wait for them
    for ever, so it is interrupted."""
    failed: list[BaseException] = []
    ended = threading.Event()
    # A shell lets its background jobs ignore SIGINT, and then that would wake nobody.
    signum = getattr(signal, "SIGUSR1", signal.SIGINT)
    before = signal.signal(signum, signal.default_int_handler)

    def watch() -> None:
        while not ended.wait(0.5):
            if client.status in ("closing", "closed"):
                failed.append(ConnectionError("the scheduler is gone"))
            failed.extend(
                s.exception
                for s in list(client.futures.values())
                if s.status == "error" and s.exception is not None
            )
            if failed:
                _thread.interrupt_main(signum)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield failed
    finally:
        ended.set()
        thread.join()
        signal.signal(signum, before)


def _needed(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"--backend {extra} needs {package}, which is not installed; install it with: pip "
            f"install 'zslkit[{extra}]'"
        ) from error
