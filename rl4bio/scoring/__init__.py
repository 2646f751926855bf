"""The job of `rl4bio score`: rows in, rewards of their completions out."""
