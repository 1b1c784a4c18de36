"""Events that come again and again."""
