"""Rollouts by vLLM: a server or an engine in this process."""
