"""`GET /`: where things are."""

from fastapi import APIRouter
from starlette.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Carillon</title>
<style>body { font: 16px/1.6 sans-serif; margin: 3rem auto; max-width: 40rem; padding: 0 1rem }</style></head>
<body>
<h1>Carillon</h1>
<ul>
<li><a href="/docs">API documentation</a>, <a href="/openapi.json">OpenAPI description</a></li>
<li><a href="/demo">Inbox demo page</a></li>
<li><a href="/readyz?verbose">Readiness</a>, <a href="/metrics">metrics</a></li>
</ul>
</body>
</html>
"""


@router.get("/", response_class=HTMLResponse)
async def links() -> str:
    """Return a page with the addresses a person may look for."""
    return _PAGE
