"""What waits for its time: quiet hours, digests and frequency caps."""

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
    """Remove it. Preferences stay as they are; what waits in a digest is released one by one."""
    op.execute("DROP TRIGGER settle_members ON carillon.deliveries")
    op.execute(
        "INSERT INTO carillon.due (delivery_id, due_at, kind) "
        "SELECT m.delivery_id, now(), 'hold' FROM carillon.digest_members m "
        "JOIN carillon.deliveries d ON d.id = m.delivery_id WHERE d.status = 'held' ON CONFLICT DO NOTHING"
    )
    op.execute(
        "DROP FUNCTION carillon.settle_members, carillon.digest_content, carillon.types_of, "
        "carillon.release_digests, carillon.waiting_members, carillon.sift_members, carillon.digest_targets, "
        "carillon.join_digests, carillon.open_digests, carillon.has_channel, carillon.cap_of"
    )
    op.execute("DROP TYPE carillon.joining")
    op.execute("DROP TABLE carillon.digest_members, carillon.digests")
    op.execute("DROP TYPE carillon.digest_kind")
    op.execute("ALTER TABLE carillon.deliveries DROP COLUMN carrier")
    op.execute("ALTER TABLE carillon.tenants DROP COLUMN frequency_caps")
    op.execute(
        "ALTER TABLE carillon.event_types "
        "DROP COLUMN quiet_hours, DROP COLUMN digest, DROP COLUMN frequency_cap"
    )
    op.execute("ALTER TABLE carillon.preferences DROP COLUMN quiet, DROP COLUMN quiet_zone")
    for worker in ("carillon_email_worker", "carillon_whatsapp_worker"):
        op.execute(f"REVOKE SELECT ON carillon.feeds, carillon.feed_items FROM {worker}")
