"""What operators do: replay, discard, stop, and who did it."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the operations, their functions and everybody's rights to them."""
    run_scripts(op.get_bind(), "0002_operators")


def downgrade() -> None:
    """Remove them. Dead letters stay as they are."""
    op.execute("REVOKE SELECT ON carillon.feeds, carillon.feed_items FROM carillon_dispatcher")
    op.execute("REVOKE INSERT ON carillon.audit_log FROM carillon_dispatcher")
    op.execute(
        "DROP FUNCTION carillon.matching_dead_letters, carillon.replay_skips, carillon.overridden, "
        "carillon.replay_dead, carillon.discard_dead, carillon.cancel_delivery"
    )
    op.execute("DROP TABLE carillon.operations")
