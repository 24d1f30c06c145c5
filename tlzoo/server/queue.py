"""Where requests wait for the one process that computes."""

import asyncio
import base64
import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from tlzoo.data.sources.parse import Document
from tlzoo.errors import UserError
from tlzoo.server.limits import BODY, SECONDS

CODE: Final = "import sys; from tlzoo.server.oracle import main; main(sys.argv[1:])"
# Bytes of an answer: a crystal of 500 atoms has 40 kB.
LINE: Final = 4 * BODY
LOST: Final = "the process that computes has ended, perhaps for want of memory; send fewer crystals at a time"


class LateError(UserError):
    """The answer took too long: the question may be right, and the server too slow."""


class Queue:
    """Asks one question after another, in their order, of a process that is started anew when it is lost.

    Args:
        names: Models that it is to know; none are all checkpoints.

    Attributes:
        models: What is known of them, once it has started.
        waiting: Questions that are not answered yet.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.models: list[dict[str, Any]] = []
        self.waiting = 0
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process, and wait until it knows its models.

        Raises:
            UserError: There is no such model, or the process has ended.
        """
        # of another session, so that Ctrl-C is this process's to handle
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", CODE, *self.names),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=LINE,
        )
        self._process = process
        try:
            self.models = (await self._heard(process))["models"]
        except (UserError, asyncio.CancelledError):
            # what it says of its models would be taken for an answer
            await self.stop()
            raise

    async def ask(self, files: Sequence[Document], models: Sequence[str]) -> dict[str, Any]:
        """Return what models say of the crystals in files; see :func:`tlzoo.server.oracle.answer`.

        Raises:
            UserError: As there; or that the process took too long, or ran out of memory.
        """
        told = [(file.name, base64.b64encode(file.content).decode()) for file in files]
        line = json.dumps({"files": told, "models": list(models)}) + "\n"
        self.waiting += 1
        try:
            async with self._turn:
                return await self._answered(line.encode())
        finally:
            self.waiting -= 1

    async def stop(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def _answered(self, line: bytes) -> dict[str, Any]:
        if self._process is None or self._process.returncode is not None:
            await self.start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            async with asyncio.timeout(SECONDS):
                process.stdin.write(line)
                await process.stdin.drain()
                return await self._heard(process)
        except TimeoutError as error:
            await self.stop()
            raise LateError(
                f"no answer within {SECONDS} s; send fewer or smaller crystals at a time, or use "
                "`tlzoo predict`"
            ) from error
        except OSError as error:
            await self.stop()
            raise UserError(LOST) from error
        except asyncio.CancelledError:
            # an answer that nobody waits for would be taken for the next one
            await self.stop()
            raise

    async def _heard(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            await self.stop()
            raise UserError(LOST)
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise UserError(found["error"])
        return found
