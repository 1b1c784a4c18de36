"""The parts of SQL that say what an item is. `i` is carillon.feed_items, `f` the person's carillon.feeds."""

READ_AT = "coalesce(i.read_at, CASE WHEN i.attention_seq <= f.read_all_seq THEN f.read_all_at END)"
SEEN_AT = "coalesce(i.seen_at, CASE WHEN i.attention_seq <= f.seen_all_seq THEN f.seen_all_at END)"
IS_READ = "(i.read_at IS NOT NULL OR i.attention_seq <= f.read_all_seq)"
# Time alone shows nothing: a snooze ends with a change of the feed, so that what is shown is what is counted.
IS_SHOWN = "(i.archived_at IS NULL AND i.snoozed_until IS NULL)"
IS_SEEN = "(i.seen_at IS NOT NULL OR i.attention_seq <= f.seen_all_seq)"

ITEM_COLUMNS = f"""i.id, i.seq, i.event_id, i.type, i.category, i.priority::text AS priority, i.title, i.body,
    i.action_url, i.data, i.created_at, {SEEN_AT} AS seen_at, {READ_AT} AS read_at, i.archived_at,
    i.snoozed_until"""

ITEM_FIELDS = (
    "id",
    "seq",
    "event_id",
    "type",
    "category",
    "priority",
    "title",
    "body",
    "action_url",
    "data",
    "created_at",
    "seen_at",
    "read_at",
    "archived_at",
    "snoozed_until",
)
