"""Who may ask: not another page that is open in the same browser, and not too many at once. No torch."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOCAL = ("localhost", "127.0.0.1", "::1")
_HEADERS = {
    # Nothing but the files beside this one: no other address, no script or style in the page itself.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses requests that another site makes in a visitor's browser, and adds the headers that keep the page closed.

    A page elsewhere can send forms and pictures to 127.0.0.1 (its ``Origin`` tells), or let its own name point there
    (DNS rebinding; the ``Host`` tells).

    Args:
        app: What answers the others.
        host: Where the server listens.
        names: Further names under which it may be asked for.
    """

    def __init__(self, app: ASGIApp, host: str, names: Collection[str] = ()) -> None:
        self.app = app
        self._names = {name.lower() for name in (*_LOCAL, host, *names)}
        self._any_address = host not in _LOCAL  # an address is no name that could be pointed elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            return

        async def closed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refused = self._refused(Headers(scope=scope), scope["method"])
        answer = JSONResponse({"error": refused}, 403) if refused else self.app
        await answer(scope, receive, closed)

    def _refused(self, headers: Headers, method: str) -> str:
        host = headers.get("host", "")
        name = _name(f"//{host}")
        if not (name in self._names or (self._any_address and _is_address(name))):
            return f"the page is not served under the name {name[:100]!r}; names=[...] of fer.demo lets more in"
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return "requests of other sites are refused"
        if method not in ("GET", "HEAD") and headers.get("sec-fetch-site", "same-origin") not in (
            "same-origin",
            "none",
        ):
            return "requests of other sites are refused"
        return ""


def _name(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
