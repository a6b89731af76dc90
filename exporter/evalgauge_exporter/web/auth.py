"""Authentication, Host checking and security headers."""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evalgauge_exporter.web.credentials import SESSION_SECONDS, Sessions, Users

COOKIE = "evalgauge_session"
SIGNED_IN_COOKIE = "evalgauge_signed_in"
"""Readable by the page, so that it offers to log out; it opens nothing."""
OPEN_PATHS = frozenset({"/healthz"})
LOGIN_PATH, LOGOUT_PATH = "/login", "/logout"
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)]|([\w.-]+))(?::\d{1,5})?", re.ASCII)
"""A Host header: an IPv6 address in brackets or a name, then an optional port."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
MAX_LOGIN_BODY = 4096
"""Bytes of a submitted login form."""


class AuthMiddleware:
    """ASGI middleware that checks the Host header and the credentials and adds security headers.

    Args:
        app: The application behind it.
        token: The bearer token; without it and without users every path is open.
        host: The address that the exporter listens on.
        public_url: The URL under which people reach the exporter, behind a proxy for instance.
        users: bcrypt hashes by user, for HTTP Basic.
        headers: Headers of every response.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        host: str,
        public_url: str | None,
        users: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._app = app
        self._token = token
        self._sessions = None if token is None else Sessions(token)
        self._users = Users(users or {})
        self._headers = {name.lower(): value for name, value in (headers or {}).items()}
        names = {host.lower(), "localhost", socket.gethostname().lower()}
        if public_url and (public := urlsplit(public_url).hostname):
            names.add(public.lower())
        self._names = names
        self._loopback = _is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = scope["path"]
        refusal = None if self._is_allowed_host(headers.get("host", "")) else _reject_host(headers.get("host", ""))
        if refusal is None and self._sessions is None and path in (LOGIN_PATH, LOGOUT_PATH):
            refusal = _redirect_next(scope)
        elif refusal is None and path == LOGOUT_PATH:
            refusal = self._log_out(scope, headers)
        elif refusal is None and (self._token is not None or self._users) and path not in OPEN_PATHS:
            known = await self._is_authorised(headers)
            if path == LOGIN_PATH:
                refusal = _redirect_next(scope) if known else await self._login(scope, receive)
            elif not known and not (path.startswith("/live/") and self._token is not None):
                refusal = self._reject_unauthorised(scope, headers)
        send = self._add_security_headers(send)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_allowed_host(self, host: str) -> bool:
        """Whether the Host header names this exporter: DNS rebinding lets a foreign site point its own name here."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match[1] or match[2]).lower().removesuffix(".")
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            # inside a compose network the name of the service has no dot, and no outside site can have such a name
            return not self._loopback and "." not in name and bool(name)
        return True  # an address can't be rebound

    async def _is_authorised(self, headers: Headers) -> bool:
        authorization = headers.get("authorization", "")
        if self._token is not None and is_bearer(authorization, self._token):
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "basic" and self._users:
            return await run_in_threadpool(self._users.is_valid, given.strip())
        sessions = self._sessions
        return sessions is not None and any(sessions.is_valid(value) for value in _session_cookies(headers))

    def _log_out(self, scope: Scope, headers: Headers) -> Response:
        """End the session of a browser. Only by POST: a link of another site must not log anyone out."""
        if scope["method"] != "POST":
            return JSONResponse({"error": "use POST to log out"}, 405, headers={"allow": "POST"})
        for value in _session_cookies(headers):
            if self._sessions is not None:
                self._sessions.end(value)
        response = _redirect_to_login(".", "/")
        response.delete_cookie(SIGNED_IN_COOKIE, samesite="strict")
        response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=scope.get("scheme") == "https")
        return response

    def _is_token(self, given: bytes) -> bool:
        return self._token is not None and hmac.compare_digest(given, self._token.encode())

    async def _login(self, scope: Scope, receive: Receive) -> Response | None:
        """Answer the submitted form with an HttpOnly, SameSite=Strict cookie; ``None``: show the form."""
        if scope["method"] != "POST":
            return None
        body = b""
        while True:
            message: Message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body") or len(body) > MAX_LOGIN_BODY:
                break
        given = parse_qs(body[:MAX_LOGIN_BODY].decode("utf-8", "replace")).get("token", [""])[0].strip()
        if self._sessions is None or not self._is_token(given.encode()):
            return _redirect_to_login(".", _next_path(scope), failed="1")
        response = _redirect_next(scope)
        secure = scope.get("scheme") == "https"
        response.set_cookie(
            COOKIE, self._sessions.create(), httponly=True, samesite="strict", secure=secure, max_age=SESSION_SECONDS
        )
        response.set_cookie(SIGNED_IN_COOKIE, "1", samesite="strict", secure=secure, max_age=SESSION_SECONDS)
        return response

    def _reject_unauthorised(self, scope: Scope, headers: Headers) -> Response:
        wants_page = "text/html" in headers.get("accept", "") and not scope["path"].startswith("/api/")
        if wants_page and self._token is not None and not self._users:
            path = scope["raw_path"].decode("latin-1")
            query = scope["query_string"].decode("latin-1")
            root = "/".join([".", *[".."] * (path.count("/") - 1)])
            return _redirect_to_login(root, f"{path}?{query}" if query else path)
        ways = ["a user's password by HTTP Basic"] if self._users else []
        ways += ["Authorization: Bearer TOKEN"] if self._token is not None else []
        challenges = ['Basic realm="evalgauge"'] if self._users else []
        challenges += ["Bearer"] if self._token is not None else []
        response = JSONResponse({"error": f"credentials are needed: send {' or '.join(ways)}"}, 401)
        for challenge in challenges:
            response.headers.append("www-authenticate", challenge)
        return response

    def _add_security_headers(self, send: Send) -> Send:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("content-security-policy", PAGE_POLICY)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("referrer-policy", "no-referrer")
                headers.setdefault("cross-origin-resource-policy", "same-origin")
                headers.setdefault("x-frame-options", "DENY")
            await send(message)

        return guarded


def _session_cookies(headers: Headers) -> list[str]:
    """Return the values of the session cookie, parsed here: another server's malformed cookie must not hide it."""
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return [value for name, _, value in pairs if name == COOKIE]


def is_bearer(authorization: str, token: str) -> bool:
    """Return whether an Authorization header, decoded as Latin-1, carries a bearer token of any letters."""
    scheme, _, given = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), token.encode())


def _next_path(scope: Scope) -> str:
    """Return the path that led to the login form, from the root of the exporter."""
    query: str = scope["query_string"].decode("latin-1")
    return parse_qs(query).get("next", ["/"])[0]


def _redirect_next(scope: Scope) -> RedirectResponse:
    """Redirect from the login form to the path that led to it. A leading dot keeps it on this server."""
    wanted = _next_path(scope)
    return RedirectResponse(f".{wanted}" if wanted.startswith("/") else "./", status_code=303)


def _redirect_to_login(root: str, wanted: str, **more: str) -> RedirectResponse:
    """Redirect to the login form.

    Args:
        root: The relative path from the request to the exporter's root, which a proxy may have moved.
        wanted: The path to redirect to after the login.
        more: Further query parameters of the form.
    """
    query = urlencode(more | ({} if wanted == "/" else {"next": wanted}))
    return RedirectResponse(f"{root}{LOGIN_PATH}{'?' if query else ''}{query}", status_code=303)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reject_host(host: str) -> Response:
    shown = host[:100]
    return JSONResponse(
        {"error": f"the Host header {shown!r} is not a name of this exporter; set public_url to allow it"}, 421
    )
