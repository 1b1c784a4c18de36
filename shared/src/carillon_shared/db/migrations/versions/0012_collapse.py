"""Collapse keys: one event for many that say the same."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0012"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them, and everybody's rights to them."""
    run_scripts(op.get_bind(), "0012_collapse")


def downgrade() -> None:
    """Remove them."""
    op.execute("REVOKE DELETE ON carillon.events FROM carillon_intake")
    op.execute(
        "REVOKE SELECT (event_id) ON carillon.feed_items FROM carillon_email_worker, carillon_whatsapp_worker"
    )
    op.execute("REVOKE EXECUTE ON FUNCTION carillon.count_unplanned(integer, uuid) FROM carillon_dispatcher")
    op.execute(
        "DROP FUNCTION carillon.clear_collapsed, carillon.enter_collapsed, carillon.collapse_verdict, "
        "carillon.open_collapsed, carillon.lock_collapse_keys"
    )
    op.execute("DROP TABLE carillon.collapse_events, carillon.collapse_keys")
