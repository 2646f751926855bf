"""Experience replay: the best completions of earlier steps, learnt from again."""
