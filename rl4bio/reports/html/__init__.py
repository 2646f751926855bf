"""The frame of every page, and its charts."""
