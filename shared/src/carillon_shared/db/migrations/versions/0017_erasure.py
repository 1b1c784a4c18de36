"""Erasing a person on request."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the functions, and the API's rights to them."""
    run_scripts(op.get_bind(), "0017_erasure")


def downgrade() -> None:
    """Remove them. Who is erased stays so."""
    op.execute(
        "DROP FUNCTION carillon.end_erasure, carillon.erase_from_items, carillon.erase_from_events, "
        "carillon.end_deliveries_of, carillon.begin_erasure, carillon.only_own, carillon.without_person, "
        "carillon.trace_pattern, carillon.pattern_of, carillon.in_json, carillon.traces_of, "
        "carillon.erased_name"
    )
