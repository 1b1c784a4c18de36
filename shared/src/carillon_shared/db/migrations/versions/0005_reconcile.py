"""Dead letters: corrected replays, and the comparison with the queues."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    run_scripts(op.get_bind(), "0005_reconcile")


def downgrade() -> None:
    """Remove them."""
