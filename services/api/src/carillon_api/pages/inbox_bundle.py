"""`/static/carillon-inbox.js`: the inbox for any page, as clients/javascript builds it."""

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

NAME = "carillon-inbox.js"

router = APIRouter(include_in_schema=False)

# Whoever asks for one version by its hash may keep it for ever; the plain address is looked at anew every
# five minutes (RFC 9111, RFC 8246, RFC 5861).
_KEPT = "public, max-age=31536000, immutable"
_SHORT = "public, max-age=300, stale-while-revalidate=86400"


class Bundle(NamedTuple):
    """The file, once as it is and once packed (RFC 1952)."""

    plain: bytes
    packed: bytes
    version: str  # the first 16 digits of its SHA-256


@cache
def bundle() -> Bundle:
    """Return the committed bundle."""
    content = files("carillon_api.pages").joinpath("static", NAME).read_bytes()
    return Bundle(content, gzip.compress(content, 9, mtime=0), hashlib.sha256(content).hexdigest()[:16])


@router.get(f"/static/{NAME}")
async def inbox_script(
    version: Annotated[str | None, Query(alias="v", max_length=64)] = None,
    if_none_match: Annotated[str | None, Header(max_length=1_000)] = None,
    accept_encoding: Annotated[str, Header(max_length=1_000)] = "",
) -> Response:
    """Return the script that defines `<carillon-inbox>` and `<carillon-progress>`."""
    kept = bundle()
    packed = _takes_gzip(accept_encoding)
    tag = f'"{kept.version}{"-gzip" if packed else ""}"'
    headers = {
        "ETag": tag,
        "Cache-Control": _KEPT if version == kept.version else _SHORT,
        "Vary": "Accept-Encoding",
        # A public file, and module scripts of other origins are fetched with CORS.
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    if if_none_match is not None and _names(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    content = kept.packed if packed else kept.plain
    return Response(content, media_type="text/javascript", headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Tell whether a client takes gzip (RFC 9110, 12.5.3); ``gzip;q=0`` is a no."""
    for part in accepted.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";q=")
        if coding in {"gzip", "*"}:
            return weight.strip("0.") != "" or not weight
    return False


def _names(conditions: str, tag: str) -> bool:
    """Tell whether an ``If-None-Match`` names this tag (RFC 9110, 13.1.2: compared weakly)."""
    return any(each.strip().removeprefix("W/") in {tag, "*"} for each in conditions.split(","))
