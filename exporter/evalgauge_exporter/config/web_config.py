"""The web configuration: TLS, client certificates, users and headers, in the format of Prometheus' exporter-toolkit.

The format: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What Python's TLS
cannot do is refused, never ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from evalgauge_exporter.errors import ConfigError

ClientAuth = Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"]
TlsVersion = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
"""Go's names of elliptic curves, and OpenSSL's."""
CIPHERS = {
    f"TLS_ECDHE_{kind}_WITH_{cipher}": f"ECDHE-{kind}-{openssl}"
    for kind in ("RSA", "ECDSA")
    for cipher, openssl in (
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305", "CHACHA20-POLY1305"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )
}
"""Go's names of the TLS 1.2 cipher suites with forward secrecy, and OpenSSL's. Those of TLS 1.3 are all used."""
TLS13_CIPHERS = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})


def _known_cipher(name: str) -> str:
    if name not in CIPHERS and name not in TLS13_CIPHERS:
        raise ValueError(
            f"unknown cipher suite {name!r}; the suites are {', '.join((*CIPHERS, *sorted(TLS13_CIPHERS)))}"
        )
    return name


def _bcrypt_hash(value: str) -> str:
    if not value.startswith(("$2a$", "$2b$", "$2y$")) or len(value) != 60:
        raise ValueError("not a bcrypt hash; make one with: htpasswd -nBC 10 '' | tr -d ':\\n'")
    return value


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsServerConfig(_Table):
    """The server's certificate, and which clients are let in."""

    cert_file: Path | None = None
    key_file: Path | None = None
    cert: str | None = None
    """The certificate in PEM, in place of a file; as is ``key``."""
    key: str | None = None
    client_auth_type: ClientAuth = "NoClientCert"
    client_ca_file: Path | None = None
    client_ca: str | None = None
    client_allowed_sans: tuple[str, ...] = ()
    """A client's certificate must have one of these subject alternative names."""
    min_version: TlsVersion = "TLS12"
    max_version: TlsVersion = "TLS13"
    cipher_suites: tuple[Annotated[str, AfterValidator(_known_cipher)], ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[Literal["CurveP256", "CurveP384", "CurveP521", "X25519"], ...] = Field((), max_length=1)

    @model_validator(mode="after")
    def _is_complete(self) -> TlsServerConfig:
        for name in ("cert", "key"):
            if (getattr(self, name) is None) == (getattr(self, f"{name}_file") is None):
                raise ValueError(f"write either {name}_file or {name}")
        if self.client_ca is not None and self.client_ca_file is not None:
            raise ValueError("write either client_ca_file or client_ca")
        verified = self.client_auth_type != "NoClientCert"
        if verified and self.client_ca is None and self.client_ca_file is None:
            raise ValueError(f"client_auth_type {self.client_auth_type} needs client_ca_file")
        if not verified and (self.client_ca or self.client_ca_file or self.client_allowed_sans):
            raise ValueError("client_ca and client_allowed_sans need client_auth_type")
        return self


HeaderName = Literal[
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
]


class HttpServerConfig(_Table):
    """Settings of HTTP."""

    http2: bool = True
    """Whether HTTP/2 may be used. The exporter speaks HTTP/1.1, which every client does too."""
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    """Headers of every response."""


class WebConfig(_Table):
    """The web configuration."""

    tls_server_config: TlsServerConfig | None = None
    http_server_config: HttpServerConfig = HttpServerConfig()
    basic_auth_users: dict[str, Annotated[str, AfterValidator(_bcrypt_hash)]] = Field(default_factory=dict)
    """bcrypt hashes of the users' passwords."""


def load_web_config(path: Path) -> WebConfig:
    """Load a web configuration. Relative paths in it are relative to its folder.

    Raises:
        ConfigError: The file can't be read or a value is invalid.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; name an existing web configuration") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: write a mapping with tls_server_config, http_server_config and basic_auth_users")
    try:
        return WebConfig.model_validate(_resolve_paths(path.parent, content))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_describe(error)}") from error


def _resolve_paths(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    tls = content.get("tls_server_config")
    if not isinstance(tls, dict):
        return content
    files = ("cert_file", "key_file", "client_ca_file")
    resolved = dict(tls)
    for key in files:
        if isinstance(value := tls.get(key), str):
            resolved[key] = str(folder / value)
    return {**content, "tls_server_config": resolved}


def _describe(error: ValidationError) -> str:
    """Return the first error as one line, without any value: it may be a key or a password's hash."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}; see docs/operating.md"
    if place.endswith("client_auth_type"):
        allowed = "NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert"
        return f"{place}: write {allowed}; certificates that are asked for are always verified"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
