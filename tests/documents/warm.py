"""`tlzoo` and `python` as processes that begin with everything imported.

Most of what a short command does is to import torch and lightning: seconds of a processor, and the
documentation has dozens of commands. A server imports them once and forks a process for each call, which has
the caller's folder, environment and streams, and whose exit code the caller ends with.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

PRELOADED = (
    "tlzoo.commands.fit",
    "tlzoo.commands.predict",
    "tlzoo.commands.finetune",
    "tlzoo.commands.study",
    "tlzoo.commands.screen",
)
CALLER = """\
#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
call = json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(call).to_bytes(4, "big")], [0, 1, 2])
server.sendall(call)
sys.exit(int(server.recv(16) or 70))
"""


@contextlib.contextmanager
def commands(folder: Path) -> Iterator[Path]:
    """Yield a folder for ``PATH`` with both commands, of a server that runs as long as the context.

    Args:
        folder: An empty one. Paths of sockets are short: at most a hundred characters.
    """
    address = folder / "socket"
    for name in ("tlzoo", "python"):
        caller = folder / name
        caller.write_text(
            CALLER.format(python=sys.executable, address=str(address), name=name), encoding="utf-8"
        )
        caller.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, str(address)])
    try:
        while not address.exists():
            assert server.poll() is None, "the server of commands did not start"
            time.sleep(0.05)
        yield folder
    finally:
        server.terminate()
        server.wait()


def serve(address: str) -> None:
    """Import what commands need, then fork a process for each call."""
    for name in PRELOADED:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that have ended
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.partial")
        listening.listen()
        Path(f"{address}.partial").rename(address)
        while True:
            caller, _ = listening.accept()
            with caller:
                if not os.fork():
                    listening.close()
                    answer(caller)


def answer(caller: socket.socket) -> None:
    """Be the process that was called."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, _, _ = socket.recv_fds(caller, 4, 3)
    with caller.makefile("rb") as rest:
        name, arguments, folder, environment = json.loads(rest.read(int.from_bytes(length, "big")))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # Python has noted of its own whether they can be sought in
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = 70
    try:
        code = run(name, arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 (what Python does with it)
        code = 1
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        caller.sendall(str(code).encode())
        os._exit(code)


def run(name: str, arguments: list[str]) -> int:
    """Run `tlzoo ARGUMENTS` or `python -c TEXT`."""
    # what this process starts itself, such as the others of a training on several, are the commands proper
    sys.argv = [str(Path(sys.executable).with_name(name)), *arguments]
    if name == "tlzoo":
        from tlzoo.__main__ import main

        return main(arguments)
    option, text = arguments
    assert option == "-c"
    exec(compile(text, "<block>", "exec"), {"__name__": "__main__"})  # noqa: S102 (our own documentation)
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
