"""What waits for its time: quiet hours."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create what holds need, and everybody's rights to it."""
    run_scripts(op.get_bind(), "0006_holds")


def downgrade() -> None:
    """Remove it. What people chose stays in their preferences."""
    op.execute("ALTER TABLE carillon.event_types DROP COLUMN quiet_hours")
    op.execute("ALTER TABLE carillon.preferences DROP COLUMN quiet, DROP COLUMN quiet_zone")
