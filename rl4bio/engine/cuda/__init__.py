"""What the engine does on a CUDA device alone: compiled blocks, decoding in a graph."""
