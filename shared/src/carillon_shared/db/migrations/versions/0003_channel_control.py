"""Channels that operators pause, and what the queues hold."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    run_scripts(op.get_bind(), "0003_channel_control")


def downgrade() -> None:
    """Remove them. Paused channels go on."""
    op.execute("DROP FUNCTION carillon.measure_queues, carillon.oldest_seconds")
    op.execute("DROP TABLE carillon.queue_measurements, carillon.channel_pauses")
