"""What a machine may ask of the network, and whether it could say who asks."""

from __future__ import annotations

import os
from pathlib import Path


def network_state() -> dict[str, bool]:
    """Offline switches, and whether credentials are there (never the credentials)."""

    def on(name: str) -> bool:
        return os.environ.get(name, "").lower() in {"1", "on", "yes", "true"}

    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    token_file = Path(os.environ.get("HF_TOKEN_PATH", home / "token"))
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return {
        "hub_offline": on("HF_HUB_OFFLINE") or on("TRANSFORMERS_OFFLINE"),
        "hub_token": bool(os.environ.get("HF_TOKEN")) or token_file.is_file(),
        "wandb_offline": os.environ.get("WANDB_MODE") in {"offline", "disabled"},
        "wandb_key": bool(os.environ.get("WANDB_API_KEY")) or _mentions(netrc, "api.wandb.ai"),
    }


def _mentions(path: Path, word: str) -> bool:
    try:
        return word in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
