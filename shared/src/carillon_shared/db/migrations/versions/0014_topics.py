"""Topics within topics, and where a preference comes from."""

from alembic import op

from carillon_shared.db.schema import run_scripts

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    run_scripts(op.get_bind(), "0014_topics")


def downgrade() -> None:
    """Remove them. Topics stand beside each other again; what people muted stays in their preferences."""
    readers = "carillon_api, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker"
    op.execute(
        f"REVOKE EXECUTE ON FUNCTION carillon.topics_about(integer, jsonb) FROM carillon_intake, {readers}"
    )
    op.execute(f"REVOKE EXECUTE ON FUNCTION carillon.texts_of(jsonb) FROM {readers}")
    op.execute("DROP FUNCTION carillon.choice_origin")
    op.execute("DROP TABLE carillon.topic_parents")
