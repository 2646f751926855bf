"""Pages and tables of answers to questions."""
