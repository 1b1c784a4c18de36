"""Retention: partitions that have had their time are ended, emptied and dropped."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the functions, and the dispatcher's rights to them."""
    run_scripts(op.get_bind(), "0016_retention")


def downgrade() -> None:
    """Remove them. What is gone stays gone."""
    op.execute(
        "DROP FUNCTION carillon.drop_partition, carillon.empty_feeds, carillon.discard_outdated, "
        "carillon.end_outdated_page, carillon.end_outdated, carillon.end_outdated_events, "
        "carillon.outdated_partitions, carillon.kept_days, carillon.partitions, carillon.uuid_moment"
    )
