"""Layouts of mails, and brands."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    run_scripts(op.get_bind(), "0009_layouts")


def downgrade() -> None:
    """Remove them."""
    op.execute("DROP TABLE carillon.layouts")
    op.execute("ALTER TABLE carillon.tenants DROP COLUMN brand")
