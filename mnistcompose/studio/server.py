"""Serving the page on this machine."""

from collections.abc import Callable
from socket import create_server, socket

import uvicorn
from starlette.types import ASGIApp

from ..errors import InputError


def listen(port: int) -> socket:
    """Listen on a port of 127.0.0.1; 0 takes a free one.

    Raises
    ------
    InputError
        Another program uses the port, or this user may not listen on it.
    """
    try:
        return create_server(("127.0.0.1", port))
    except OSError as error:
        raise InputError(f"--port {port}: {error.strerror or error}; --port 0 takes a free port") from None


def serve(app: ASGIApp, listener: socket, started: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM, which are raised again; `started` is called once the server handles them."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket] | None = None) -> None:
            await super().startup(sockets)
            started()

    config = uvicorn.Config(
        app, log_level="error", server_header=False, ws="none", lifespan="off", timeout_graceful_shutdown=1
    )
    Server(config).run(sockets=[listener])
