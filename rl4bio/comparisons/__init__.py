"""Several runs: started from one command, and laid beside each other."""
