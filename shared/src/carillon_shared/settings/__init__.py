"""Settings: read from the environment once, in `__main__`, and passed on."""

from carillon_shared.settings.base import CarillonSettings, ServiceSettings, variable
from carillon_shared.settings.loading import WRONG_SETTINGS, load_settings
from carillon_shared.settings.retention import RetentionSettings

__all__ = [
    "WRONG_SETTINGS",
    "CarillonSettings",
    "RetentionSettings",
    "ServiceSettings",
    "load_settings",
    "variable",
]
