"""A certificate for 127.0.0.1 that only tests trust, made once to last."""

import ssl
from pathlib import Path

_KEY_AND_CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgcBNxSiPReI7aF2Tx
8J6Jya0xB+79XzwqIGReFQU3vqShRANCAAT1sgRruR9ZXAv5W/8rmScKMNgvpCoA
xujZymw8N0ipkJprmJx1NZiWcVfVoEYf/59t2nXYndOYZgcRw+7fM3Va
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUMj0xWhWXUSRlqV4PlTyW4Q9ImSgwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJc210cC50ZXN0MCAXDTI2MTEyMjAxMjI1MloYDzIxMjYxMDI5
MDEyMjUyWjAUMRIwEAYDVQQDDAlzbXRwLnRlc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAT1sgRruR9ZXAv5W/8rmScKMNgvpCoAxujZymw8N0ipkJprmJx1NZiW
cVfVoEYf/59t2nXYndOYZgcRw+7fM3Vao28wbTAdBgNVHQ4EFgQUmffLL5x9Y2eH
1Ru12kpEoUVSHmYwHwYDVR0jBBgwFoAUmffLL5x9Y2eH1Ru12kpEoUVSHmYwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwCgYIKoZI
zj0EAwIDSQAwRgIhAJLSYthpCr9MQN9E4N2a1rPjaZyfFP8IlinEts3QZyACAiEA
oiXbV29nbptc/cCdUPixF8ckI9szqiIAuozd1N2EO1g=
-----END CERTIFICATE-----
"""


def server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file(folder))
    return context


def client_context(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certificate_file(folder))
    return context


def certificate_file(folder: Path) -> Path:
    """Write the key and the certificate into a file and return it."""
    file = folder / "throw-away.pem"
    file.write_text(_KEY_AND_CERTIFICATE)
    return file
