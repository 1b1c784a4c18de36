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
        "UPDATE carillon.deliveries SET status = 'cancelled', reason = 'cancelled', hold_reason = NULL "
        "WHERE carrier AND status IN ('held', 'queued', 'retrying')"
    )
    op.execute(
        "INSERT INTO carillon.due (delivery_id, due_at, kind) "
        "SELECT m.delivery_id, now(), 'hold' FROM carillon.digest_members m "
        "JOIN carillon.deliveries d ON d.id = m.delivery_id WHERE d.status = 'held' ON CONFLICT DO NOTHING"
    )
    _take_back_rights()
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


def _take_back_rights() -> None:
    senders = "carillon_email_worker, carillon_whatsapp_worker"
    is_read = "carillon.is_read_in_feed(integer, bigint, uuid)"
    op.execute(f"REVOKE SELECT ON carillon.feeds, carillon.feed_items FROM {senders}")
    op.execute(f"REVOKE EXECUTE ON FUNCTION carillon.hold_targets(uuid[], uuid, uuid) FROM {senders}")
    op.execute(f"REVOKE EXECUTE ON FUNCTION {is_read} FROM carillon_dispatcher, {senders}")
    op.execute(
        "REVOKE EXECUTE ON FUNCTION carillon.quiet_minutes(jsonb), carillon.quiet_rule(text, carillon.lane), "
        "carillon.quiet_until(int4multirange, text, timestamptz), carillon.ruling_type(text, jsonb, boolean) "
        f"FROM carillon_api, carillon_dispatcher, carillon_inapp_worker, carillon_intake, {senders}"
    )
