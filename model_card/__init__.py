"""Cards for what goes to the Hub, and the way there."""
