"""From YAML and overrides to a checked `RunConfig`."""

from rl4bio.config.load import config_dict, load_config, to_yaml

__all__ = ["config_dict", "load_config", "to_yaml"]
