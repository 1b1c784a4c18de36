"""The first schema: everything one event needs to reach a mailbox, a phone and a feed."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_INTAKE_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'carillon_intake') THEN
        CREATE ROLE carillon_intake NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""


def upgrade() -> None:
    """Create types, tables, functions and everybody's rights."""
    # Roles belong to the whole server, so another database may have made this one a moment ago.
    op.execute(_INTAKE_ROLE)
    op.execute("GRANT carillon_intake TO CURRENT_USER")
    run_scripts(op.get_bind(), "0001_initial")


def downgrade() -> None:
    """Remove the schema with everything in it."""
    op.execute("DROP SCHEMA carillon CASCADE")
