"""How long things are kept: for the dispatcher, which carries it out, and `carillon db`, which shows it."""

from pydantic import Field

from carillon_shared.settings.base import CarillonSettings

LONGEST_HOLD_DAYS = 30
"""Nothing is held longer; what is younger than this may still be on its way."""


class RetentionSettings(CarillonSettings):
    """Days. A day's rows (a month's, of feeds) go together when the last of them is older."""

    retention_event_days: int = Field(default=90, gt=LONGEST_HOLD_DAYS, description="Events are kept.")
    retention_delivery_days: int = Field(default=90, gt=LONGEST_HOLD_DAYS, description="Deliveries are kept.")
    retention_attempt_days: int = Field(default=90, ge=1, description="Attempts and receipts are kept.")
    retention_feed_days: int = Field(
        default=90, gt=LONGEST_HOLD_DAYS, description="Feed items are kept, by whole months."
    )
    retention_dead_letter_days: int = Field(
        default=90, ge=1, description="Dead letters wait for an operator; then they are discarded."
    )

    @property
    def kept_days(self) -> dict[str, int]:
        """Days by partitioned table, as `carillon.outdated_partitions` takes them."""
        return {
            "events": self.retention_event_days,
            "deliveries": self.retention_delivery_days,
            "attempts": self.retention_attempt_days,
            "feed_items": self.retention_feed_days,
        }
