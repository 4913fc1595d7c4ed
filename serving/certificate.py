"""A gateway's TLS certificate, as nginx reads it at each handshake."""

import contextlib
import os
import pwd
import re
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import ServerError

FOLDER = "tls"
# What $current of nginx.conf stands for, and its files' ends.
CURRENT, CHAIN_END, KEY_END = "current", ".crt", ".key"


@dataclass(frozen=True)
class Certificate:
    """Two files of PEM.

    Attributes:
        chain: of certificates, the gateway's own first.
        key: its private key.
    """

    chain: Path
    key: Path

    def install(self, runtime: Path, program: str) -> None:
        """Copy them to where nginx's worker processes read them, and nobody else can.

        Args:
            runtime: nginx's folder.
            program: nginx's path.

        Raises:
            ServerError: they cannot be read, or do not belong to each other; nothing is changed.
        """
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.chain, self.key)
            contents = {CHAIN_END: self.chain.read_bytes(), KEY_END: self.key.read_bytes()}
        except OSError as error:  # of TLS as well
            raise ServerError(
                f"{self.chain} and {self.key}: expected a certificate and its private key: {error}"
            ) from None
        folder = runtime / FOLDER
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
        owner = _worker(program) if os.geteuid() == 0 else None
        partial = {end: folder / f"partial{end}" for end in contents}
        for end, content in contents.items():
            partial[end].unlink(missing_ok=True)
            with open(partial[end], "xb", opener=_for_its_owner) as file:
                file.write(content)
            if owner is not None:
                os.chown(partial[end], owner, -1)
        for end, path in partial.items():
            path.replace(folder / f"{CURRENT}{end}")


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o400)


def _worker(program: str) -> int:
    """The user whose rights nginx's worker processes have where root starts it."""
    built = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr
    found = re.search(r"--user=(\S+)", built)
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(found[1] if found else "nobody").pw_uid
    return os.geteuid()
