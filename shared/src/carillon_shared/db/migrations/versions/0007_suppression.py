"""Suppressions from bounces and stops, and when people last wrote."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    run_scripts(op.get_bind(), "0007_suppression")


def downgrade() -> None:
    """Remove them. What is suppressed stays so."""
    op.execute("REVOKE SELECT ON carillon.corrections FROM carillon_intake")
    op.execute("REVOKE SELECT, INSERT, UPDATE, DELETE ON carillon.suppressions FROM carillon_intake")
    op.execute("REVOKE DELETE ON carillon.suppressions FROM carillon_dispatcher")
    op.execute(
        "DROP FUNCTION carillon.suppress_recipients, carillon.note_whatsapp_replies, carillon.masked_address"
    )
    op.execute("DROP TABLE carillon.conversations")
