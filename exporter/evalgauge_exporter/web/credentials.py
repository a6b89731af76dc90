"""What lets a request in: the bearer token, a signed session of the browser, a user's password."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping

import bcrypt
from itsdangerous import BadSignature, URLSafeTimedSerializer

SESSION_SECONDS = 7 * 86400
MAX_ENDED = 10_000
"""Ended sessions that are remembered; a session that is older than ``SESSION_SECONDS`` is invalid anyway."""
MAX_CACHED = 1000
"""Right passwords that are remembered: bcrypt is slow on purpose, and Prometheus asks every few seconds."""


class Sessions:
    """Signed sessions: the browser holds a signature, never the token. A new token ends all sessions.

    Args:
        token: The bearer token, from which the signing key is derived.
    """

    def __init__(self, token: str) -> None:
        key = hmac.new(token.encode(), b"evalgauge session key", hashlib.sha256).hexdigest()
        self._serializer = URLSafeTimedSerializer(key, salt="evalgauge.session")
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def create(self) -> str:
        """Return the value of the cookie of a new session."""
        return self._serializer.dumps(secrets.token_urlsafe(16))

    def is_valid(self, value: str) -> bool:
        """Return whether a cookie's value is a session that is neither expired nor ended."""
        session = self._load(value)
        return session is not None and session not in self._ended

    def end(self, value: str) -> None:
        """End the session of a cookie, wherever a copy of it is."""
        session = self._load(value)
        if session is not None:
            with self._lock:
                self._ended[session] = None
                while len(self._ended) > MAX_ENDED:
                    self._ended.popitem(last=False)

    def _load(self, value: str) -> str | None:
        try:
            session = self._serializer.loads(value, max_age=SESSION_SECONDS)
        except BadSignature:  # expired ones too
            return None
        return session if isinstance(session, str) else None


class Users:
    """Users with passwords, as HTTP Basic has them.

    Args:
        hashes: bcrypt hashes by user.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = {user: value.encode() for user, value in hashes.items()}
        self._key = secrets.token_bytes(32)
        self._cached: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()
        self._unknown = next(iter(self._hashes.values()), b"")
        """A hash that an unknown user's password is compared with, so that the answer takes as long."""

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def is_valid(self, encoded: str) -> bool:
        """Return whether the credentials of an ``Authorization: Basic`` header are right. Slow, so not for the loop."""
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return False
        digest = hmac.new(self._key, f"{user}\0{password}".encode(), hashlib.sha256).digest()
        if digest in self._cached:
            return True
        expected = self._hashes.get(user)
        # bcrypt sees 72 bytes; its library refuses more, where others cut
        right = bcrypt.checkpw(password.encode()[:72], expected or self._unknown)
        if not right or expected is None:
            return False
        with self._lock:
            self._cached[digest] = None
            while len(self._cached) > MAX_CACHED:
                self._cached.popitem(last=False)
        return True
