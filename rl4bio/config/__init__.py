"""From YAML and overrides to a checked `RunConfig`."""

from typing import TYPE_CHECKING

from rl4bio.registry import handed_on

if TYPE_CHECKING:
    from rl4bio.config.load import config_dict, load_config, to_yaml

__all__ = ["config_dict", "load_config", "to_yaml"]

__getattr__ = handed_on(__name__, config_dict="load", load_config="load", to_yaml="load")
