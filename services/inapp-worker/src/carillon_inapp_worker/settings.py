"""Everything the in-app worker can be told from outside."""

from carillon_shared.settings import ServiceSettings
from pydantic import Field


class InappWorkerSettings(ServiceSettings):
    """Settings of the in-app worker: what every service has."""

    metrics_port: int = Field(default=9468, ge=0, le=65535, description="Health and metrics; 0: a free port.")
