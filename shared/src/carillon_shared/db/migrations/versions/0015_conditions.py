"""Channels that are used only if the others did not do."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0015"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them, and everybody's rights to them."""
    run_scripts(op.get_bind(), "0015_conditions")


def downgrade() -> None:
    """Remove them. What waits for a condition is sent when its time comes."""
    workers = "carillon_email_worker, carillon_whatsapp_worker"
    op.execute(f"REVOKE SELECT (seen_at) ON carillon.feed_items FROM {workers}")
    op.execute(f"REVOKE SELECT (seen_all_seq) ON carillon.feeds FROM {workers}")
    op.execute(
        "DROP FUNCTION carillon.insert_conditional, carillon.condition_now, carillon.channels_before, "
        "carillon.is_seen_in_feed"
    )
    op.execute("ALTER TABLE carillon.event_types DROP COLUMN conditions, DROP COLUMN stop_on_first_success")
