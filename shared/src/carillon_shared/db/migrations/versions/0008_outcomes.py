"""What producers learn: the dry run."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0008"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create its functions and everybody's rights to them."""
    run_scripts(op.get_bind(), "0008_outcomes")


def downgrade() -> None:
    """Remove them."""
    op.execute("DROP FUNCTION carillon.rehearse, carillon.rehearse_planning")
