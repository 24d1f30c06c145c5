"""The server at an address, until it is stopped."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final

import uvicorn

from tlzoo.errors import UserError
from tlzoo.server.application import application
from tlzoo.server.limits import CONNECTIONS
from tlzoo.server.queue import Queue

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
GRACE: Final = 3  # seconds for answers under way after Ctrl-C


def serve(models: Sequence[str], *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        models: Names of models; none are all checkpoints.
        host: Address or name to listen at.
        port: Port; 0 takes a free one.
        ready: Called with the address for browsers once the server listens.

    Raises:
        UserError: The address cannot be had, or there is no such model.
        KeyboardInterrupt: Ctrl-C came.
    """
    with _listening(host, port) as listener:
        asyncio.run(_serve(models, listener, host, ready))


async def _serve(
    models: Sequence[str], listener: socket.socket, host: str, ready: Callable[[str], None]
) -> None:
    queue = Queue(models)
    try:
        await queue.start()
        names = {"localhost", host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
        config = uvicorn.Config(
            application(queue, hosts=names),
            log_level="warning",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE,
            server_header=False,
        )
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listener.getsockname()[1]}/")
        await uvicorn.Server(config).serve([listener])
    finally:
        await queue.stop()


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UserError: The address cannot be had.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # which names the address once more
        raise UserError(
            f"{host}:{port} cannot be listened at: {reason}; choose another --port (0 "
            "takes a free one) or --host"
        ) from error
