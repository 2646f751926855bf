"""This process: the memory that it holds, and the signals that end it."""
