"""Names that other frameworks use for our keys and parts: hints at what was meant."""
