"""Who may ask, and what browsers may do with the answers: token, Host header, content security policy."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "evalgauge_token"
OPEN_PATHS = frozenset({"/healthz"})
LOGIN_PATH = "/login"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
MAX_LOGIN_BODY = 4096


class TokenError(ValueError):
    """The token file can't be used; the message is one line."""


def read_token(path: Path) -> str:
    """The token in a file, without surrounding white space. Raises TokenError."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TokenError(f"{path}: the token can't be read ({error})") from error
    if len(token) < 16 or any(character.isspace() for character in token):
        raise TokenError(
            f"{path}: the token must be one word of 16 characters or more; make one with: openssl rand -hex 24"
        )
    return token


class Guard:
    """ASGI middleware in front of everything."""

    def __init__(self, app: ASGIApp, *, token: str | None, host: str, public_url: str | None) -> None:
        """``host``: the address that is listened on; ``public_url``: under which name people reach it."""
        self._app = app
        self._token = token
        names = {host.lower(), "localhost", socket.gethostname().lower()}
        if public_url and (public := urlsplit(public_url).hostname):
            names.add(public.lower())
        self._names = names
        self._loopback = _is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = scope["path"]
        refusal = None if self._knows(headers.get("host", "")) else _refused_host(headers.get("host", ""))
        if refusal is None and self._token is not None and path not in OPEN_PATHS:
            if path == LOGIN_PATH:
                refusal = await self._login(scope, receive)
            elif not self._authorised(headers) and not path.startswith("/live/"):
                refusal = _unauthorised(headers, path)
        if refusal is not None:
            await refusal(scope, receive, _with_policy(send))
            return
        await self._app(scope, receive, _with_policy(send))

    def _knows(self, host: str) -> bool:
        """Whether a browser may have come by this name: a page of another site that points a name here may not."""
        name = urlsplit(f"//{host}").hostname or ""
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            # inside a compose network the service's own name has no dot and no outside site can have it
            return not self._loopback and "." not in name and bool(name)
        return True  # an address can't be rebound

    def _authorised(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._equals(given.strip()):
            return True
        cookie: SimpleCookie = SimpleCookie()
        try:
            cookie.load(headers.get("cookie", ""))
        except Exception:
            return False
        return COOKIE in cookie and self._equals(cookie[COOKIE].value)

    def _equals(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())

    async def _login(self, scope: Scope, receive: Receive) -> Response | None:
        """The form's answer: a cookie that scripts can't read and other sites' requests do not carry."""
        if scope["method"] != "POST":
            return None
        body = b""
        while True:
            message: Message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body") or len(body) > MAX_LOGIN_BODY:
                break
        given = parse_qs(body[:MAX_LOGIN_BODY].decode("utf-8", "replace")).get("token", [""])[0].strip()
        if not self._equals(given):
            return RedirectResponse("/login?failed=1", status_code=303)
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(COOKIE, given, httponly=True, samesite="strict", max_age=30 * 86400)
        return response


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refused_host(host: str) -> Response:
    shown = host[:100]
    return JSONResponse(
        {"error": f"the Host header {shown!r} is not a name of this exporter; set public_url to allow it"}, 421
    )


def _unauthorised(headers: Headers, path: str) -> Response:
    if "text/html" in headers.get("accept", "") and not path.startswith("/api/"):
        return RedirectResponse(LOGIN_PATH, status_code=303)
    return JSONResponse(
        {"error": "a token is needed: send it as Authorization: Bearer TOKEN"},
        401,
        headers={"www-authenticate": "Bearer"},
    )


def _with_policy(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("content-security-policy", PAGE_POLICY)
            headers.setdefault("x-content-type-options", "nosniff")
            headers.setdefault("referrer-policy", "no-referrer")
            headers.setdefault("cross-origin-resource-policy", "same-origin")
            headers.setdefault("x-frame-options", "DENY")
        await send(message)

    return guarded
