"""When to try again: policies and the decision what an outcome means. Pure; clock and randomness are passed in."""
