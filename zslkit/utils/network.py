"""One attempt to reach a server of weights, so that a machine without a network is told at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

PATIENCE = 2.0
"""Seconds after which a server that has not answered counts as out of reach."""


@contextmanager
def hub() -> Iterator[str]:
    """Run hub libraries (timm, sentence-transformers) in this block with the network tried once.

    huggingface_hub repeats a request that finds no network five times for every file, which takes
    a minute. If the server does not answer one short request, the libraries are set to offline
    inside the block: files in their caches are still found, and missing ones fail at once. Yields
    the reason why nothing can be fetched, "" if there is none.
    """
    try:
        from huggingface_hub import constants
    except ImportError:
        yield ""
        return
    if constants.HF_HUB_OFFLINE:
        yield "the environment sets HF_HUB_OFFLINE"
        return
    if answers(constants.ENDPOINT):
        yield ""
        return
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # for weights that are fetched from other addresses
    constants.HF_HUB_OFFLINE = True
    try:
        yield f"{urlsplit(constants.ENDPOINT).hostname} does not answer"
    finally:
        constants.HF_HUB_OFFLINE = False
        socket.setdefaulttimeout(before)


def answers(address: str, patience: float = PATIENCE) -> bool:
    """Whether a web server answers one request in time, with anything but a server's error.

    Proxies of the environment are used. A certificate that is not trusted counts as an answer,
    since the library that asks later may trust other ones. Names and connections alike have
    `patience` seconds.
    """
    import requests

    found: list[bool] = []

    def ask() -> None:
        try:
            status = requests.head(address, timeout=patience, allow_redirects=False).status_code
            found.append(status < 500 and status != requests.codes.proxy_authentication_required)
        except requests.exceptions.SSLError:
            found.append(True)
        except (requests.RequestException, OSError, ValueError):
            found.append(False)

    # A thread, because looking up a name has no time limit of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    return bool(found and found[0])
