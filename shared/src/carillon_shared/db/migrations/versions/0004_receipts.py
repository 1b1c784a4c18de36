"""What providers say later about what they accepted."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create receipts, what they do to deliveries, and everybody's rights to them."""
    run_scripts(op.get_bind(), "0004_receipts")


def downgrade() -> None:
    """Remove them. Deliveries keep the states they have risen to."""
    op.execute(
        "DROP FUNCTION carillon.apply_pending_receipts, carillon.record_receipts, carillon.apply_failures, "
        "carillon.forget_due, carillon.delivery_of_message, carillon.receipt_raises"
    )
    op.execute("DROP INDEX carillon.subscribers_by_phone")
    op.execute("DROP TABLE carillon.receipts")
    op.execute("DROP TYPE carillon.receipt_state")
    op.execute("REVOKE INSERT, UPDATE ON carillon.due FROM carillon_intake")
    op.execute("REVOKE SELECT, INSERT ON carillon.attempts FROM carillon_intake")
    op.execute("REVOKE SELECT, DELETE ON carillon.dead_letters FROM carillon_intake")
