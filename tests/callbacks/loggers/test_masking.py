"""A configuration and texts about it, without secrets."""

from __future__ import annotations

import pytest

from rl4bio.callbacks.loggers.masking import mask_text, masked


def test_masked() -> None:
    config = {
        "rollout": {"max_prompt_tokens": 64},
        "api_key": "abc",
        "list": [{"Password": "x"}, "https://me:pw@host/x"],
        "empty_token": None,
    }
    assert masked(config) == {
        "rollout": {"max_prompt_tokens": 64},
        "api_key": "***",
        "list": [{"Password": "***"}, "https://***@host/x"],
        "empty_token": None,
    }


def test_texts_lose_what_the_configuration_calls_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "of-the-environment")
    config = {
        "name": "shown-name",
        "data": {"options": {"hub_token": "planted-1", "passages": ["shown-too"]}},
        "rewards": [{"options": {"password": ["planted-2"]}}],
    }
    text = "shown-name planted-1 planted-2 of-the-environment shown-too"
    assert mask_text(text, config) == "shown-name *** *** *** shown-too"
