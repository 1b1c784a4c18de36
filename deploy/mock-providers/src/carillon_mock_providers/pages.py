"""The page that shows mailboxes and phones; it fills itself over the JSON API."""

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from carillon_mock_providers.faults import SIMULATORS

_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def add_pages(app: FastAPI) -> None:
    """Adds the page, its files and the liveness answer."""
    app.include_router(_router(Jinja2Templates(_HERE / "templates")))
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")


def _router(templates: Jinja2Templates) -> APIRouter:
    router = APIRouter()

    @router.get("/", include_in_schema=False)
    async def show_page(request: Request) -> Response:
        """The page."""
        response = templates.TemplateResponse(request, "index.html", {"simulators": SIMULATORS})
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    @router.get("/livez")
    async def answer_alive() -> PlainTextResponse:
        """Whether the process answers."""
        return PlainTextResponse("ok")

    return router
