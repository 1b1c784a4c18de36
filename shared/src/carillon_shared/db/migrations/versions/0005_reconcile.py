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
    """Remove them, and with them every reconciliation. Dead letters stay as they are."""
    op.execute("REVOKE SELECT, DELETE ON carillon.poison_messages FROM carillon_api")
    op.execute("DROP FUNCTION carillon.note_moved, carillon.take_moved, carillon.owe_again")
    op.execute("DROP TABLE carillon.moved_dead_letters")
    op.execute("DELETE FROM carillon.operations WHERE kind = 'reconcile'")
    op.execute(
        "ALTER TABLE carillon.operations DROP CONSTRAINT operations_kind_check, "
        "ADD CONSTRAINT operations_kind_check CHECK (kind IN ('replay', 'discard')), "
        "DROP COLUMN dry_run, DROP COLUMN report"
    )
    op.execute("ALTER TABLE carillon.dead_letters DROP COLUMN copy_seen_at")
