"""How is a Dask scheduler reached, and its chatter kept off the terminal?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import dask
import distributed
from distributed.comm.core import connect
from distributed.core import send_recv
from distributed.security import Security

from geoseg.errors import ConfigError

CONNECT_S = 8
"""How long to wait for the scheduler."""

WORKER_S = 8
"""How long to wait for a first worker."""

_NOISY = "distributed", "tornado", "asyncio"
"""What they log of a lost connection, an error says in one line."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Dask's own words off the terminal."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    # Dask sets levels of its own below its name.
    loggers += [
        logging.getLogger(name)
        for name in logging.root.manager.loggerDict
        if name.startswith(tuple(f"{noisy}." for noisy in _NOISY))
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def connect_to(address: str) -> Iterator[distributed.Client]:
    """Connect to a scheduler that has a worker; leaves it running."""
    # A thread, because a notebook has a running loop in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _check_scheduler(address)).result()
    client = distributed.Client(
        address, timeout=CONNECT_S, set_as_default=False, direct_to_workers=False
    )
    try:
        try:
            client.wait_for_workers(1, timeout=WORKER_S)
        except TimeoutError as error:
            raise ConfigError(
                f"--scheduler {address}: it has no workers; start some: dask worker {address}"
            ) from error
        yield client
    finally:
        client.close(timeout=CONNECT_S)


async def _check_scheduler(address: str) -> None:
    """Ask who answers; a client would wait for a server that is silent, or of another kind."""
    try:
        async with asyncio.timeout(CONNECT_S):
            options = Security().get_connection_args("client")
            comm = await connect(address, timeout=CONNECT_S, **options)
            found = await send_recv(comm, op="identity", reply=True, close=True)
        kind = found["type"]
    except Exception as error:
        reason = str(error) or f"waited {CONNECT_S} s"
        raise ConfigError(
            f"--scheduler {address}: no Dask scheduler answers there ({reason}); start one: "
            "dask scheduler"
        ) from error
    if kind != "Scheduler":
        raise ConfigError(f"--scheduler {address}: that is a Dask {kind}; give its scheduler")
