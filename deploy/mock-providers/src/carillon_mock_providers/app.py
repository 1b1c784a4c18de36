"""Wiring: both servers over one state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from carillon_mock_providers.control_api import control_router
from carillon_mock_providers.http_server import HttpConnections, HttpServer
from carillon_mock_providers.pages import add_pages
from carillon_mock_providers.providers import Providers, build_providers
from carillon_mock_providers.read_api import read_router
from carillon_mock_providers.resend_api import resend_router
from carillon_mock_providers.settings import MockSettings
from carillon_mock_providers.smtp_server import SmtpServer
from carillon_mock_providers.twilio_api import twilio_router
from carillon_mock_providers.whatsapp_api import whatsapp_router


@dataclass(frozen=True, slots=True)
class RunningMocks:
    """The ports really taken, and the state behind them."""

    http_port: int
    smtp_port: int
    providers: Providers


def build_app(providers: Providers, connections: HttpConnections) -> FastAPI:
    """The HTTP application: the APIs of providers, JSON API, control API and page."""
    app = FastAPI(title="Carillon mock providers", docs_url=None, redoc_url=None)
    app.include_router(read_router(providers))
    app.include_router(control_router(providers))
    app.include_router(whatsapp_router(providers, connections))
    app.include_router(resend_router(providers, connections))
    app.include_router(twilio_router(providers, connections))
    add_pages(app)
    return app


@asynccontextmanager
async def running(settings: MockSettings) -> AsyncIterator[RunningMocks]:
    """Both servers, listening for as long as the block runs; raises OSError when a port is taken."""
    providers = build_providers(settings)
    connections = HttpConnections()
    smtp = SmtpServer(providers)
    http = HttpServer(build_app(providers, connections), connections)
    await smtp.start(host=settings.host, port=settings.smtp_port)
    try:
        await http.start(host=settings.host, port=settings.http_port)
        try:
            yield RunningMocks(http.port, smtp.port, providers)
        finally:
            await http.stop()
    finally:
        await smtp.stop()
        await providers.webhooks.close()
        await providers.bounce_mails.close()
