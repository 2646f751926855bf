"""The jobs of `rl4bio export` and `rl4bio convert`: folders that load elsewhere, model cards."""
