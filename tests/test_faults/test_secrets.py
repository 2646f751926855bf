"""Secrets that are planted everywhere are in nothing that a run leaves."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from tests.test_faults.forks import Ended

PLANTED = {
    "HF_TOKEN": "hf_AbCdEfGhIjKlMnOpQrStUvWx",
    "OPENAI_API_KEY": "sk-plantedAAAAAAAAAAAAAAAAAAAAAAAA1",
    "MY_PASSWORD": "planted-pass-word-77",
    "DB_SECRET": "plantedsecret99",
    "DOCKING_CREDENTIALS": "planted-cred-4242",
    "PGPASS": "planted-pgpass-31",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/plantedAWS",
    "DOCKING_KEYS": "planted-first-51,planted-second-52",
    "REDIS_AUTH": "planted-auth-61",
}
IN_CONFIG = {
    "api_key": "planted-config-key-1",
    "url": "https://me:planted-url-pw@docking.example/x?token=planted-query-6",
    "header": "Bearer planted-bearer-88",
    "headers": "X-Api-Key: planted-header-91",
}
NETRC = "planted-netrc-pw-5"
ALL = [*PLANTED.values(), NETRC, "planted-config-key-1", "planted-url-pw", "planted-query-6"]
ALL += ["planted-bearer-88", "planted-header-91", "planted-first-51", "planted-second-52"]

PLUGIN = '''
import os
from dataclasses import dataclass

import logging
from rl4bio.rewards import REWARDS, Reward


@REWARDS.register("leaky")
@dataclass(kw_only=True)
class Leaky(Reward):
    """Writes what it knows into its errors and the log."""

    api_key: str = ""
    url: str = ""
    header: str = ""
    headers: str = ""

    def score(self, completion, sample):
        known = " ".join([self.api_key, self.url, self.header, self.headers, *os.environ.values()])
        logging.getLogger("rl4bio").warning("called with %s", known)
        if os.environ.get("CRASH"):
            raise RuntimeError(known[:200] + known[-3000:])
        return 0.5
'''


def leaks(folder: Path, ended: Ended) -> list[str]:
    texts = {"out": ended.out.encode(), "err": ended.err.encode()}
    texts |= {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return [f"{s} in {name}" for name, text in texts.items() for s in ALL if s.encode() in text]


def test_nothing_is_found(fit: Callable[..., Ended], tmp_path: Path) -> None:
    importlib.import_module("wandb")  # once, for all that are forked
    plugin = tmp_path / "leaky.py"
    plugin.write_text(PLUGIN)
    (tmp_path / "netrc").write_text(f"machine a.example login me password {NETRC}\n")
    environment = {**PLANTED, "NETRC": str(tmp_path / "netrc"), "WANDB_API_KEY": "0123456789" * 4}
    options = ", ".join(f"{key}: '{value}'" for key, value in IN_CONFIG.items())
    for isolation in ("process", "none"):
        command = [
            f"name={isolation}",
            f"plugins=[{plugin}]",
            "callbacks=[]",
            f"rewards=[{{name: leaky, isolation: {isolation}, options: {{{options}}}}}]",
            "trainer.max_steps=1",
            "logging={loggers: [wandb], mode: offline}",
        ]
        folder = tmp_path / "runs" / isolation
        ended = fit(*command, environment=environment)
        assert ended.code == 0, ended.err
        assert "plugins" in (folder / "config.yaml").read_text()
        assert leaks(folder, ended) == []
        if isolation == "none":
            continue
        again = fit(*command, environment=environment)
        assert (again.code, again.out[:9]) == (0, "complete:")
        crashed = fit(*command, "name=crash", environment=environment | {"CRASH": "1"})
        assert crashed.code == 6
        assert "***" in crashed.err
        assert leaks(folder, crashed) == []


def test_a_masked_value_is_asked_for(fit: Callable[..., Ended], tmp_path: Path) -> None:
    plugin = tmp_path / "leaky.py"
    plugin.write_text(PLUGIN)
    masked = "rewards=[{name: leaky, options: {api_key: '***'}}]"
    ended = fit(f"plugins=[{plugin}]", "callbacks=[]", masked)
    assert ended.code == 2
    assert "rewards.0.options.api_key: its secret is masked in a stored file" in ended.err
