"""Settings: read from the environment once, in `__main__`, and passed on."""

from carillon_shared.settings.base import CarillonSettings, ServiceSettings, variable
from carillon_shared.settings.loading import WRONG_SETTINGS, load_settings

__all__ = ["WRONG_SETTINGS", "CarillonSettings", "ServiceSettings", "load_settings", "variable"]
