"""Pages and tables of sampled molecules."""
