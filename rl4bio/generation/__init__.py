"""The job of `rl4bio generate`: prompts in, completions or molecules out, and chat."""
