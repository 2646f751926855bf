"""From a configuration to the parts of a run, and what a finished run leaves."""
