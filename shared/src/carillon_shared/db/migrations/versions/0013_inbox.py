"""The inbox: what was snoozed wakes by itself."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0013"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the function, and indexes for what was put away."""
    run_scripts(op.get_bind(), "0013_inbox")


def downgrade() -> None:
    """Remove them. What is snoozed sleeps on."""
    op.execute("DROP FUNCTION carillon.wake_snoozed")
    op.execute(
        "DROP INDEX carillon.feed_items_by_waking, carillon.feed_items_snoozed, carillon.feed_items_archived"
    )
    op.execute("REVOKE UPDATE (seq, unread, unseen) ON carillon.feeds FROM carillon_dispatcher")
    op.execute(
        "REVOKE UPDATE (seq, attention_seq, snoozed_until, archived_at, read_at, seen_at) "
        "ON carillon.feed_items FROM carillon_dispatcher"
    )
