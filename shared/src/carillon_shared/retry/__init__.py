"""When to try again: policies, and what an outcome means. Pure; clock and randomness are passed in."""
