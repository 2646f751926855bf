"""What a run remembers of the molecules that it has scored."""
