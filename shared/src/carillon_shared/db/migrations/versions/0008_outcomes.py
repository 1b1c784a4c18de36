"""What producers learn: the dry run, outcomes and webhooks."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0008"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create tables, functions and everybody's rights to them."""
    run_scripts(op.get_bind(), "0008_outcomes")


def downgrade() -> None:
    """Remove them, endpoints and all. Outcomes that nobody was told yet are lost."""
    op.execute(
        "DROP FUNCTION carillon.finish_outcomes, carillon.write_webhook_messages, carillon.claim_webhooks, "
        "carillon.settle_webhook, carillon.give_up_webhooks, carillon.rotate_webhook_secret"
    )
    op.execute("DROP TABLE carillon.webhook_messages, carillon.webhook_endpoints")
    op.execute("DROP TRIGGER note_outcomes ON carillon.deliveries")
    op.execute("DROP FUNCTION carillon.note_outcomes, carillon.claim_outcomes, carillon.is_outcome")
    op.execute("DROP TABLE carillon.outcomes")
    op.execute("DROP FUNCTION carillon.rehearse, carillon.rehearse_planning")
