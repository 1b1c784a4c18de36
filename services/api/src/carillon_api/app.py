"""Wires the API together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from carillon_shared.broker import BrokerSession
from carillon_shared.clock import Clock
from carillon_shared.lifecycle import Shutdown
from carillon_shared.telemetry.health import health_routes
from fastapi import APIRouter, FastAPI

from carillon_api.bulk.routes import router as bulk_router
from carillon_api.cors import RecipientCors
from carillon_api.deliveries.routes import router as deliveries_router
from carillon_api.description import DESCRIPTION, TAGS, describe, operation_id
from carillon_api.errors import add_error_handlers
from carillon_api.events.routes import router as events_router
from carillon_api.explanations.routes import router as explanations_router
from carillon_api.inbox.routes import router as inbox_router
from carillon_api.intake.hot_route import HotRoute
from carillon_api.intake.routes import router as intake_router
from carillon_api.links import router as links_router
from carillon_api.operators.approval_routes import router as approvals_router
from carillon_api.operators.channel_routes import router as channels_router
from carillon_api.operators.delivery_routes import router as delivery_commands_router
from carillon_api.operators.export_routes import router as export_router
from carillon_api.operators.operation_routes import router as operations_router
from carillon_api.operators.poison_routes import router as poison_router
from carillon_api.operators.routes import router as operators_router
from carillon_api.pages.inbox_bundle import router as inbox_bundle_router
from carillon_api.pages.routes import router as pages_router
from carillon_api.parts import open_services
from carillon_api.preferences.routes import router as preferences_router
from carillon_api.readiness import readiness
from carillon_api.receipts.routes import router as receipts_router
from carillon_api.registry.layout_routes import router as layouts_router
from carillon_api.registry.routes import router as registry_router
from carillon_api.registry.template_routes import router as templates_router
from carillon_api.request_log import RequestLog
from carillon_api.schedules.routes import router as schedules_router
from carillon_api.settings import ApiSettings
from carillon_api.signals.routes import router as signals_router
from carillon_api.slow_bodies import BodyDeadline
from carillon_api.statistics.routes import router as statistics_router
from carillon_api.stream.holding import HeldResponses
from carillon_api.stream.routes import router as stream_router
from carillon_api.subscribers.membership_routes import router as memberships_router
from carillon_api.subscribers.routes import router as subscribers_router
from carillon_api.subscribers.tenant_routes import router as tenant_router
from carillon_api.subscribers.topic_routes import router as topics_router
from carillon_api.suppressions.routes import router as suppressions_router
from carillon_api.unsubscribing.routes import router as unsubscribing_router
from carillon_api.webhooks.routes import router as webhooks_router

ROUTERS: tuple[APIRouter, ...] = (
    intake_router,
    explanations_router,
    approvals_router,
    schedules_router,
    events_router,
    deliveries_router,
    statistics_router,
    registry_router,
    templates_router,
    layouts_router,
    bulk_router,
    subscribers_router,
    memberships_router,
    topics_router,
    tenant_router,
    preferences_router,
    stream_router,
    inbox_router,
    signals_router,
    export_router,
    operators_router,
    poison_router,
    operations_router,
    channels_router,
    suppressions_router,
    delivery_commands_router,
    receipts_router,
    unsubscribing_router,
    webhooks_router,
    pages_router,
    inbox_bundle_router,
    links_router,
)


def create_app(
    settings: ApiSettings, *, shutdown: Shutdown | None = None, clock: Clock | None = None
) -> FastAPI:
    """Return the application. It opens what it needs when it is started, and nothing before."""
    wish_to_stop = shutdown or Shutdown()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        session = BrokerSession(settings.broker_url.get_secret_value(), name="carillon-api")
        async with open_services(settings, session=session, clock=clock, shutdown=wish_to_stop) as services:
            app.state.services = services
            yield

    app = make_app()
    app.add_middleware(BodyDeadline, seconds=settings.api_body_seconds)
    app.router.lifespan_context = lifespan
    return app


def make_app() -> FastAPI:
    """Return the application with its routes and nothing behind them, for its description."""
    app = FastAPI(
        title="Carillon",
        version="1",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        redoc_url=None,
        generate_unique_id_function=operation_id,
        separate_input_output_schemas=False,
    )
    for router in ROUTERS:
        app.include_router(router)
    app.router.routes.insert(0, HotRoute())
    app.router.routes.extend(health_routes(readiness(app)))
    add_error_handlers(app)
    app.add_middleware(RecipientCors)
    app.add_middleware(HeldResponses)
    app.add_middleware(RequestLog)
    describe(app)
    return app
