"""Events that come again and again, and events that wait for approval."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them, and everybody's rights to them."""
    run_scripts(op.get_bind(), "0010_schedules")


def downgrade() -> None:
    """Remove them, schedules and all. What waits for approval goes on waiting until it expires."""
    op.execute("DROP FUNCTION carillon.decide_approval, carillon.claim_schedules, carillon.advance_schedule")
    op.execute("DROP TABLE carillon.schedules")
    op.execute("DROP INDEX carillon.events_pending")
    op.execute("ALTER TABLE carillon.event_types DROP COLUMN approval")
