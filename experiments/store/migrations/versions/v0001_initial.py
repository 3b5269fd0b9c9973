"""All tables of the first release, written by ``python -m experiments.store.regenerate``."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY_TEXT = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "api_keys",
        sa.Column("selector", KEY_TEXT, nullable=False),
        sa.Column("name", KEY_TEXT, nullable=False),
        sa.Column("environment", KEY_TEXT, nullable=False),
        sa.Column("verifier", KEY_TEXT, nullable=False),
        sa.Column("scopes", KEY_TEXT, nullable=False),
        sa.Column("ack", KEY_TEXT, nullable=False),
        sa.Column("source", KEY_TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", KEY_TEXT, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("replaces", KEY_TEXT, nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("selector", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "audiences",
        sa.Column("id", KEY_TEXT, nullable=False),
        sa.Column("experiment", KEY_TEXT, nullable=True),
        sa.Column("recommendation", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", KEY_TEXT, nullable=False),
        sa.Column("sha256", KEY_TEXT, nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audiences")),
    )
    op.create_table(
        "audit_log",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", KEY_TEXT, nullable=False),
        sa.Column("action", KEY_TEXT, nullable=False),
        sa.Column("kind", KEY_TEXT, nullable=False),
        sa.Column("key", KEY_TEXT, nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("previous_hash", KEY_TEXT, nullable=False),
        sa.Column("hash", KEY_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_log")),
    )
    op.create_table(
        "conflicts",
        sa.Column("decision_id", KEY_TEXT, nullable=False),
        sa.Column("variant", KEY_TEXT, nullable=False),
        sa.Column("stored_variant", KEY_TEXT, nullable=False),
        sa.Column("experiment", KEY_TEXT, nullable=False),
        sa.Column("phase", sa.BigInteger(), nullable=False),
        sa.Column("unit_type", KEY_TEXT, nullable=False),
        sa.Column("unit", KEY_TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("source", KEY_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("decision_id", "variant", name=op.f("pk_conflicts")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", KEY_TEXT, nullable=False),
        sa.Column("kind", KEY_TEXT, nullable=False),
        sa.Column("reason", KEY_TEXT, nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("source", KEY_TEXT, nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index("dead_letters_by_arrival", "dead_letters", ["received_at", "id"], unique=False)
    op.create_table(
        "decisions",
        sa.Column("decision_id", KEY_TEXT, nullable=False),
        sa.Column("experiment", KEY_TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("phase", sa.BigInteger(), nullable=False),
        sa.Column("unit_type", KEY_TEXT, nullable=False),
        sa.Column("unit", KEY_TEXT, nullable=False),
        sa.Column("occasion", KEY_TEXT, nullable=False),
        sa.Column("kind", KEY_TEXT, nullable=False),
        sa.Column("variant", KEY_TEXT, nullable=True),
        sa.Column("reason", KEY_TEXT, nullable=False),
        sa.Column("propensity", sa.Double(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("frozen", sa.Text(), nullable=False),
        sa.Column("holdout", KEY_TEXT, nullable=True),
        sa.Column("snapshot", KEY_TEXT, nullable=False),
        sa.Column("source", KEY_TEXT, nullable=False),
        sa.Column("send_at", sa.BigInteger(), nullable=True),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_decisions")),
    )
    op.create_table(
        "definition_heads",
        sa.Column("kind", KEY_TEXT, nullable=False),
        sa.Column("key", KEY_TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("salt", KEY_TEXT, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_definition_heads")),
    )
    op.create_table(
        "definition_revisions",
        sa.Column("kind", KEY_TEXT, nullable=False),
        sa.Column("key", KEY_TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_hash", KEY_TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", KEY_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", "revision", name=op.f("pk_definition_revisions")),
    )
    op.create_table(
        "events",
        sa.Column("source", KEY_TEXT, nullable=False),
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", KEY_TEXT, nullable=False),
        sa.Column("name", KEY_TEXT, nullable=False),
        sa.Column("unit_type", KEY_TEXT, nullable=False),
        sa.Column("unit", KEY_TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("object_id", KEY_TEXT, nullable=True),
        sa.Column("value_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", KEY_TEXT, nullable=True),
        sa.Column("decision_id", KEY_TEXT, nullable=True),
        sa.Column("experiment", KEY_TEXT, nullable=True),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.Column("stated_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source", "day", "event_id", name=op.f("pk_events")),
    )
    op.create_table(
        "experiment_phases",
        sa.Column("experiment", KEY_TEXT, nullable=False),
        sa.Column("phase", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("salt", KEY_TEXT, nullable=False),
        sa.Column("carry", KEY_TEXT, nullable=False),
        sa.Column("traffic", KEY_TEXT, nullable=False),
        sa.Column("weights", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("experiment", "phase", name=op.f("pk_experiment_phases")),
    )
    op.create_table(
        "experiment_states",
        sa.Column("experiment", KEY_TEXT, nullable=False),
        sa.Column("state", KEY_TEXT, nullable=False),
        sa.Column("pinned", sa.Text(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("paused_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("experiment", name=op.f("pk_experiment_states")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", KEY_TEXT, nullable=False),
        sa.Column("method", KEY_TEXT, nullable=False),
        sa.Column("path", KEY_TEXT, nullable=False),
        sa.Column("key", KEY_TEXT, nullable=False),
        sa.Column("fingerprint", KEY_TEXT, nullable=False),
        sa.Column("attempt", KEY_TEXT, nullable=False),
        sa.Column("locked_until", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "method", "path", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "identities",
        sa.Column("unit_type", KEY_TEXT, nullable=False),
        sa.Column("unit", KEY_TEXT, nullable=False),
        sa.Column("root", KEY_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("unit_type", "unit", name=op.f("pk_identities")),
    )
    op.create_index("identities_by_root", "identities", ["unit_type", "root"], unique=False)
    op.create_table(
        "imports",
        sa.Column("id", KEY_TEXT, nullable=False),
        sa.Column("kind", KEY_TEXT, nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("rows_done", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("conflicts", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    op.create_table(
        "job_files",
        sa.Column("job", KEY_TEXT, nullable=False),
        sa.Column("role", KEY_TEXT, nullable=False),
        sa.Column("content", KEY_TEXT, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", KEY_TEXT, nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", KEY_TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job", "role", name=op.f("pk_job_files")),
    )
    op.create_table(
        "job_parts",
        sa.Column("content", KEY_TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("content", "number", name=op.f("pk_job_parts")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", KEY_TEXT, nullable=False),
        sa.Column("kind", KEY_TEXT, nullable=False),
        sa.Column("experiment", KEY_TEXT, nullable=True),
        sa.Column("state", KEY_TEXT, nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", KEY_TEXT, nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("rows_done", sa.BigInteger(), nullable=False),
        sa.Column("rows_total", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("holder", KEY_TEXT, nullable=True),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_state_not_before"), "jobs", ["state", "not_before"], unique=False)
    op.create_table(
        "leases",
        sa.Column("name", KEY_TEXT, nullable=False),
        sa.Column("holder", KEY_TEXT, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "links",
        sa.Column("unit_type", KEY_TEXT, nullable=False),
        sa.Column("unit", KEY_TEXT, nullable=False),
        sa.Column("other", KEY_TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("source", KEY_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("unit_type", "unit", "other", name=op.f("pk_links")),
    )
    op.create_table(
        "members",
        sa.Column("unit_type", KEY_TEXT, nullable=False),
        sa.Column("unit", KEY_TEXT, nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("opted_out", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("stated_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("unit_type", "unit", name=op.f("pk_members")),
    )
    op.create_table(
        "policies",
        sa.Column("experiment", KEY_TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", KEY_TEXT, nullable=False),
        sa.Column("share", KEY_TEXT, nullable=False),
        sa.Column("sha256", KEY_TEXT, nullable=False),
        sa.Column("policy", KEY_TEXT, nullable=False),
        sa.Column("origin", KEY_TEXT, nullable=False),
        sa.Column("trained_at", sa.BigInteger(), nullable=False),
        sa.Column("data_until", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("experiment", "version", name=op.f("pk_policies")),
    )
    op.create_table(
        "policy_files",
        sa.Column("sha256", KEY_TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_policy_files")),
    )
    op.create_table(
        "policy_masks",
        sa.Column("experiment", KEY_TEXT, nullable=False),
        sa.Column("variant", KEY_TEXT, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("actor", KEY_TEXT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("experiment", "variant", name=op.f("pk_policy_masks")),
    )
    op.create_table(
        "published_snapshots",
        sa.Column("version", KEY_TEXT, nullable=False),
        sa.Column("content_digest", KEY_TEXT, nullable=False),
        sa.Column("effective_at", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column("definitions", sa.BigInteger(), nullable=False),
        sa.Column("program", KEY_TEXT, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_published_snapshots")),
    )
    op.create_table(
        "quarantined_events",
        sa.Column("source", KEY_TEXT, nullable=False),
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", KEY_TEXT, nullable=False),
        sa.Column("name", KEY_TEXT, nullable=False),
        sa.Column("unit_type", KEY_TEXT, nullable=False),
        sa.Column("unit", KEY_TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("object_id", KEY_TEXT, nullable=True),
        sa.Column("value_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", KEY_TEXT, nullable=True),
        sa.Column("decision_id", KEY_TEXT, nullable=True),
        sa.Column("experiment", KEY_TEXT, nullable=True),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.Column("stated_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source", "day", "event_id", name=op.f("pk_quarantined_events")),
    )
    op.create_table(
        "recommendations",
        sa.Column("experiment", KEY_TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("computed_at", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", KEY_TEXT, nullable=False),
        sa.Column("recommended", KEY_TEXT, nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("experiment", "number", name=op.f("pk_recommendations")),
    )
    op.create_table(
        "replicas",
        sa.Column("replica", KEY_TEXT, nullable=False),
        sa.Column("loaded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("replica", name=op.f("pk_replicas")),
    )
    op.create_table(
        "reports",
        sa.Column("experiment", KEY_TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("phase", sa.BigInteger(), nullable=False),
        sa.Column("computed_at", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", KEY_TEXT, nullable=False),
        sa.Column("reading", KEY_TEXT, nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("experiment", "number", name=op.f("pk_reports")),
    )
    op.create_table(
        "stage_history",
        sa.Column("rule", KEY_TEXT, nullable=False),
        sa.Column("unit_type", KEY_TEXT, nullable=False),
        sa.Column("unit", KEY_TEXT, nullable=False),
        sa.Column("since", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stage", KEY_TEXT, nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "unit_type", "unit", "since", name=op.f("pk_stage_history")),
    )
    op.create_table(
        "stage_runs",
        sa.Column("rule", KEY_TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "at", name=op.f("pk_stage_runs")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", KEY_TEXT, nullable=False),
        sa.Column("webhook", KEY_TEXT, nullable=False),
        sa.Column("type", KEY_TEXT, nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("state", KEY_TEXT, nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("last_at", sa.BigInteger(), nullable=True),
        sa.Column("last_status", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_state_next_at"), "webhook_deliveries", ["state", "next_at"], unique=False
    )
    op.create_table(
        "webhooks",
        sa.Column("id", KEY_TEXT, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", KEY_TEXT, nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )


def downgrade() -> None:
    """Remove them, and everything in them."""
    op.drop_table("webhooks")
    op.drop_index(op.f("ix_webhook_deliveries_state_next_at"), table_name="webhook_deliveries")
    op.drop_table("webhook_deliveries")
    op.drop_table("stage_runs")
    op.drop_table("stage_history")
    op.drop_table("reports")
    op.drop_table("replicas")
    op.drop_table("recommendations")
    op.drop_table("quarantined_events")
    op.drop_table("published_snapshots")
    op.drop_table("policy_masks")
    op.drop_table("policy_files")
    op.drop_table("policies")
    op.drop_table("members")
    op.drop_table("links")
    op.drop_table("leases")
    op.drop_index(op.f("ix_jobs_state_not_before"), table_name="jobs")
    op.drop_table("jobs")
    op.drop_table("job_parts")
    op.drop_table("job_files")
    op.drop_table("imports")
    op.drop_index("identities_by_root", table_name="identities")
    op.drop_table("identities")
    op.drop_table("idempotency_keys")
    op.drop_table("experiment_states")
    op.drop_table("experiment_phases")
    op.drop_table("events")
    op.drop_table("definition_revisions")
    op.drop_table("definition_heads")
    op.drop_table("decisions")
    op.drop_index("dead_letters_by_arrival", table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_table("conflicts")
    op.drop_table("audit_log")
    op.drop_table("audiences")
    op.drop_table("api_keys")
