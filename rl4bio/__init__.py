"""rl4bio."""
