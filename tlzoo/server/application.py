"""The page and the HTTP API over a queue of questions."""

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, FastAPI, File, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

import tlzoo
from tlzoo.data.sources.parse import Document
from tlzoo.errors import UserError, no_such, printable, redacted
from tlzoo.server.drawing import Look, looks
from tlzoo.server.limits import BODY, FILES
from tlzoo.server.queue import LateError, Queue
from tlzoo.server.replies import Answer, Fault, Health, Known

PAGE: Final = Path(__file__).with_name("page")
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
MESSAGES: Final = {
    404: "there is no such address; /openapi.json lists those there are",
    413: f"the request has over {BODY // 1024**2} MiB; send fewer files at a time, or use `tlzoo predict`",
}


def application(queue: Queue, *, hosts: set[str]) -> FastAPI:
    """Return the server.

    Args:
        queue: What answers.
        hosts: Names by which the server may be called; an address in numbers is always one.
    """

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await queue.stop()

    app = FastAPI(
        title="tlzoo",
        version=tlzoo.__version__,
        # these pages load scripts from the net
        docs_url=None,
        redoc_url=None,
        lifespan=running,
        form_limits={"max_files": FILES, "max_fields": FILES},
        responses={422: {"model": Fault}, 503: {"model": Fault}},
    )

    @app.middleware("http")
    async def guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        wrong = strange(request, hosts)
        response = fault(400, wrong) if wrong else await call_next(request)
        if response.status_code == 413:
            response = fault(413, MESSAGES[413])  # where the length was announced this is plain text
        response.headers.update(HEADERS)
        return response

    app.add_exception_handler(UserError, refused)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(HTTPException, refused)
    app.include_router(addresses(queue))
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def addresses(queue: Queue) -> APIRouter:
    """Return what answers at which address."""
    router = APIRouter()

    def known() -> list[Known]:
        return [Known.model_validate(model) for model in queue.models]

    @router.get("/health")
    async def health() -> Health:
        """Say that the server answers."""
        return Health(version=tlzoo.__version__, waiting=queue.waiting, most_bytes=BODY)

    @router.get("/models")
    async def models() -> list[Known]:
        """List the models that can be asked."""
        return known()

    @router.get("/elements", include_in_schema=False)
    async def elements() -> dict[str, Look]:
        return looks()

    @router.post("/predict", max_body_size=BODY)
    async def predict(
        files: Annotated[list[UploadFile], File(description="CIF, POSCAR, pymatgen JSON or extended XYZ")],
        models: Annotated[
            list[str] | None, Form(description="Names; by default those that are chosen")
        ] = None,
    ) -> Answer:
        """Predict properties of the crystals in files; what is wrong with one spares the others."""
        there = {model.name: model.chosen for model in known()}
        asked = list(dict.fromkeys(models or [name for name, chosen in there.items() if chosen]))
        if unknown := [name for name in asked if name not in there]:
            raise UserError(no_such("model", unknown[0], there))
        told = [Document(file.filename or "", await file.read()) for file in files]
        answer = Answer.model_validate(await queue.ask(told, asked))
        if not answer.crystals:
            raise UserError("\n".join(f"{one.file}: {one.message}" for one in answer.problems))
        return answer

    return router


def strange(request: Request, hosts: set[str]) -> str:
    """Say why a request is not for this server, or comes from the page of another one; else nothing.

    A page of another site can give its own name to the address of this server (DNS rebinding), and may post
    to it; the browser tells both.
    """
    name = (request.url.hostname or "").lower()
    if name not in hosts and not _is_address(name):
        known = ", ".join(sorted(hosts))
        return (
            f"the request is for {name!r}, and this server is called {known}; use one of these names or its "
            "address in numbers, or start it with --host NAME"
        )
    if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        return "the request comes from a page of another site"
    return ""


def refused(_: Request, error: Exception) -> Response:
    """Answer a request that cannot be met: what came, what was wanted, what to do."""
    if isinstance(error, HTTPException):
        return fault(error.status_code, MESSAGES.get(error.status_code, error.detail))
    if isinstance(error, RequestValidationError):
        told = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
        return fault(422, f"{told}; wanted a form with files (multipart/form-data), see /openapi.json")
    return fault(503 if isinstance(error, LateError) else 422, str(error))


def fault(status: int, message: str) -> JSONResponse:
    """Return the message of what is wrong as an answer, as the command line would show it."""
    return JSONResponse(Fault(error=printable(redacted(message))).model_dump(), status)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
