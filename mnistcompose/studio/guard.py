"""Who may send requests to the studio's server, and what the browser may do with its answers.

Any web page that is open in this machine's browser can send requests to this server, and so can other users of the
machine. So every answer except styles, scripts and icon requires the token from the address that the command printed.
Requests must be addressed to this host, and requests that change something must come from the studio's own page.
"""

from collections.abc import Iterable
from secrets import compare_digest

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Reject requests that the studio's own page did not send, and tell the browser what that page may do.

    Parameters
    ----------
    port
        Port of 127.0.0.1 that the server listens on.
    token
        Secret that a request must contain: for the page as `?token=`, for others as the header X-Studio-Token.
    public
        Paths that need no token, because a browser sends none when it loads a page's styles and scripts.
    """

    def __init__(self, app: ASGIApp, port: int, token: str, public: Iterable[str]) -> None:
        self._app, self._token, self._public = app, token, frozenset(public)
        names = {"127.0.0.1", "localhost"}
        self._hosts = {f"{name}:{port}" for name in names} | (names if port == 80 else set())  # browsers omit :80

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it; the headers of either answer are the policy's."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refusal(Request(scope))
        answer = PlainTextResponse(refusal, 403) if refusal else self._app
        return await answer(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> str | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if host not in self._hosts:
            return "this server answers only requests for 127.0.0.1"
        own = origin == f"http://{host}"
        if not own and (origin is not None or request.method not in ("GET", "HEAD")):
            return "only the studio's own page may send requests"
        if request.url.path in self._public:
            return None
        where = request.query_params if request.url.path == "/" else request.headers
        given = where.get("token" if request.url.path == "/" else "x-studio-token", "")
        if not compare_digest(given.encode(), self._token.encode()):
            return "open the address that `mnistcompose studio` has printed"
        return None
