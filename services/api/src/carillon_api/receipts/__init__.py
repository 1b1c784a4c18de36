"""What providers report later about messages that they accepted."""
