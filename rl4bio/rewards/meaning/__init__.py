"""Rewards that a frozen model judges: semantic similarity, perplexity, polarity."""
