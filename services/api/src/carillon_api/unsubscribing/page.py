"""The page behind the link: what it is about, a button, and no script."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

from carillon_api.unsubscribing.wishes import Scope

_STYLE: Final = (
    "body{margin:0;padding:24px;background:#f4f5f7;color:#1d2433;font:16px/1.5 sans-serif}"
    "main{max-width:480px;margin:0 auto;padding:24px;background:#fff;border-radius:8px}"
    "h1{margin:0 0 16px;font-size:20px}"
    "button{font:inherit;padding:10px 16px;margin:0 8px 8px 0;border:1px solid #1d2433;border-radius:6px;"
    "background:#1d2433;color:#fff;cursor:pointer}button.less{background:#fff;color:#1d2433}"
)
_STYLE_HASH: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "title": "Unsubscribe",
        "ask": "Stop these e-mails from {tenant} ({category})?",
        "category": "Unsubscribe",
        "all": "Stop all e-mails that are not mandatory",
        "done": "You are unsubscribed. It holds from now on.",
        "gone": "This link is not valid, or not valid any more.",
    },
    "mn": {
        "title": "Захиалга цуцлах",
        "ask": "{tenant} ({category})-ийн эдгээр имэйлийг зогсоох уу?",
        "category": "Захиалга цуцлах",
        "all": "Заавал биш бүх имэйлийг зогсоох",
        "done": "Захиалга цуцлагдлаа. Одооноос хүчинтэй.",
        "gone": "Энэ холбоос хүчингүй байна.",
    },
}
_BUTTON: Final = '<button type="submit" name="scope" value="{scope}" class="{kind}">{label}</button>'


def asking_page(*, tenant: str, category: str, locale: str, scopes: Sequence[Scope]) -> HTMLResponse:
    """Return the page that asks, with a button for each of these. Only its buttons change anything."""
    words = _words(locale)
    question = words["ask"].format(tenant=tenant, category=category)
    buttons = "".join(
        _BUTTON.format(scope=scope, kind="less" if place else "", label=escape(words[scope]))
        for place, scope in enumerate(scopes)
    )
    return _page(locale, f'<p>{escape(question)}</p><form method="post">{buttons}</form>')


def done_page(*, locale: str) -> HTMLResponse:
    """Return the page that says it is done."""
    return _page(locale, f"<p>{escape(_words(locale)['done'])}</p>")


def gone_page() -> HTMLResponse:
    """Return the page of a link that nobody here has signed, or whose person is gone."""
    return _page("en", f"<p>{escape(_words('en')['gone'])}</p>", status=404)


def _words(locale: str) -> Mapping[str, str]:
    return _WORDS.get(locale.partition("-")[0].lower(), _WORDS["en"])


def _page(locale: str, content: str, *, status: int = 200) -> HTMLResponse:
    language = locale.partition("-")[0].lower()
    title = escape(_words(locale)["title"])
    return HTMLResponse(
        f'<!doctype html><html lang="{language if language in _WORDS else "en"}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{title}</h1>{content}</main></body></html>\n",
        status,
        _HEADERS,
    )
