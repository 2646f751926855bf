"""What the engine does on a CPU alone: packed weights, small layers, recorded steps."""
