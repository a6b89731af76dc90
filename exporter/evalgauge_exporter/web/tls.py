"""TLS of the exporter: the context of a web configuration."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from evalgauge_exporter.config.web_config import CIPHERS, CURVES, TlsServerConfig
from evalgauge_exporter.errors import ConfigError

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_VERIFY = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


def create_ssl_context(config: TlsServerConfig) -> ssl.SSLContext:
    """Create the TLS context of the server.

    Raises:
        ConfigError: A certificate or key can't be read, they do not belong together, or the certificate has expired.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # Python loads keys from files alone
        cert = _as_file(config.cert_file, config.cert, Path(folder) / "cert.pem")
        key = _as_file(config.key_file, config.key, Path(folder) / "key.pem")
        _load(context, cert, key, config)
        _check_validity(context, cert)
    try:
        context.minimum_version, context.maximum_version = _VERSIONS[config.min_version], _VERSIONS[config.max_version]
        if ciphers := [CIPHERS[name] for name in config.cipher_suites if name in CIPHERS]:
            context.set_ciphers(":".join(ciphers))
        for curve in config.curve_preferences:
            context.set_ecdh_curve(CURVES[curve])
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"tls_server_config: OpenSSL refuses the versions, ciphers or curve: {error}") from error
    if config.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    context.verify_mode = _VERIFY[config.client_auth_type]
    try:
        if config.client_ca is not None:
            context.load_verify_locations(cadata=config.client_ca)
        elif config.client_ca_file is not None:
            context.load_verify_locations(cafile=str(config.client_ca_file))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{config.client_ca_file or 'client_ca'}: not a certificate: {_reason(error)}") from error
    return context


def _as_file(path: Path | None, content: str | None, temporary: Path) -> Path:
    if path is not None:
        return path
    temporary.touch(mode=0o600)
    temporary.write_text(content or "", encoding="utf-8")
    return temporary


def _load(context: ssl.SSLContext, cert: Path, key: Path, config: TlsServerConfig) -> None:
    for path, name in ((cert, config.cert_file or "cert"), (key, config.key_file or "key")):
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{name}: {error.strerror or error}") from error
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:
        names = f"{config.cert_file or 'cert'} and {config.key_file or 'key'}"
        raise ConfigError(f"{names} are not a certificate and its key: {_reason(error)}") from error


def _check_validity(server: ssl.SSLContext, cert: Path) -> None:
    """Let a client that trusts exactly this certificate connect in memory: OpenSSL then judges its dates."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cafile=cert)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_side=False),
    )
    for _ in range(10):  # a handshake takes three flights
        for end in reversed(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                if "expired" in error.verify_message or "not yet valid" in error.verify_message:
                    message = f"{cert}: the {error.verify_message}; renew it, or check the clock"
                    raise ConfigError(message) from error
                return  # another finding, such as a purpose, is for clients to judge
            except ssl.SSLError:
                return


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
