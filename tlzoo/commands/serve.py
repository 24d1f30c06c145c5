"""`tlzoo serve [MODEL …]`: serve a web page that predicts properties of the crystals dropped onto it.

The server also has an HTTP API for programs (docs/how-to/serve.md). Uploaded files are kept in memory and
discarded once they are answered. Ctrl-C stops the server.
"""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tlzoo.commands import arguments, say
from tlzoo.errors import UserError

SPELLED = {"models": "MODEL"}
NEEDED = ("fastapi", "uvicorn", "python_multipart")


@dataclass(frozen=True, kw_only=True)
class Served:
    """What is served, and where.

    Attributes:
        models: Checkpoints, run directories or other models that `tlzoo predict` takes; by default all
            checkpoints.
        host: Address or host name to listen on. By default only this machine can connect; with another
            address, everybody who can reach it can use the server, without a password.
        port: Port to listen on; 0 picks a free one.
    """

    models: Sequence[str] = ()
    host: str = "127.0.0.1"
    port: int = 8000

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise UserError(f"--port must be between 0 and 65535, got {self.port}")
        if not self.host.strip():  # which sockets take for every address of the machine
            raise UserError("--host must be an address or a name, got none; 0.0.0.0 is every address")


def main(args: Sequence[str]) -> int:
    """Serve until Ctrl-C."""
    (asked,) = arguments.parse(args, Served, prog="tlzoo serve", about=__doc__, spelled=SPELLED)
    if lacking := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise UserError(f"`tlzoo serve` needs {', '.join(lacking)}: pip install 'tlzoo[serve]'")
    from tlzoo.server import listening

    if asked.host not in listening.LOOPBACK:
        sys.stderr.write(
            f"tlzoo: everybody who can reach {asked.host} can use this server; there are no passwords\n"
        )
    listening.serve(
        asked.models, host=asked.host, port=asked.port, ready=lambda address: say(f"{address} (Ctrl-C ends)")
    )
    return 0
