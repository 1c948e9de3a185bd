"""Certificates for tests: an authority of the test's own, a server's and a client's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

from chunkferry_worker.embedded_redis import _free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Files of PEM."""

    authority: Path
    #: Certificate and key in one.
    server: Path
    client: Path

    def of_server(self, *, clients: bool = False) -> dict[str, str]:
        """Lines of a Redis' configuration: TLS at a port of its own.

        With ``clients``, whoever comes must show a certificate too.
        """
        return {
            "tls-port": str(_free_port()),
            "tls-cert-file": str(self.server),
            "tls-key-file": str(self.server),
            "tls-ca-cert-file": str(self.authority),
            "tls-auth-clients": "yes" if clients else "no",
        }

    def query(self, *, client: bool = False) -> str:
        """What a URL says of them; with ``client``, to show a certificate too."""
        mutual = f"&ssl_certfile={self.client}&ssl_keyfile={self.client}" if client else ""
        return f"?ssl_ca_certs={self.authority}{mutual}"


def certificates(folder: Path, *names: str) -> Certificates:
    """Issue them for a server with these names or addresses."""
    made = Certificates(
        authority=folder / "ca.pem", server=folder / "server.pem", client=folder / "client.pem"
    )
    authority = trustme.CA()
    authority.cert_pem.write_to_path(made.authority)
    authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(made.server)
    client = authority.issue_cert("client@example.org")
    client.private_key_and_cert_chain_pem.write_to_path(made.client)
    return made
