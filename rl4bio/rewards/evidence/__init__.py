"""Rewards that hold a thought against its context: grounding, facts, prose."""
