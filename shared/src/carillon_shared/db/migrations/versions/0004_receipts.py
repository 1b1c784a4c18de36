"""What providers say later about what they accepted."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    run_scripts(op.get_bind(), "0004_receipts")


def downgrade() -> None:
    """Remove them."""
