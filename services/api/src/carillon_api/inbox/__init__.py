"""The feed: a person's items, their counts, and every change to them."""
