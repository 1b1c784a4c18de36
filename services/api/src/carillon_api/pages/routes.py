"""`/demo`: an inbox to look at."""

from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from carillon_api.errors import not_found

router = APIRouter(include_in_schema=False)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TYPES = {"demo.css": "text/css", "demo.js": "text/javascript"}


@router.get("/demo")
async def demo() -> Response:
    """Return the demo page."""
    return _file("demo.html", "text/html")


@router.get("/demo/{name}")
async def demo_part(name: str) -> Response:
    """Return what the demo page is made of."""
    if name not in _TYPES:
        raise not_found("page")
    return _file(name, _TYPES[name])


def _file(name: str, media_type: str) -> Response:
    content = files("carillon_api.pages").joinpath("static", name).read_bytes()
    return Response(content, media_type=media_type, headers=_HEADERS)
