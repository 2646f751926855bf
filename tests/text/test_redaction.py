"""Secrets by the names of variables and keys, and by their shape; ordinary words stay."""

from __future__ import annotations

import time

import pytest

from rl4bio.callbacks.loggers.masking import masked
from rl4bio.text.redaction import mask_secrets

NOTHING = {"NETRC": "/none"}
NAMES = [
    *("WANDB_API_KEY", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_APIKEY", "TOKENS"),
    *(
        "MLFLOW_TRACKING_PASSWORD",
        "API_KEYS",
        "REDIS_AUTH",
        "DOCKING_PWD",
        "SSH_PRIVATE_KEY",
        "KEY",
    ),
    *("BEARER_TOKEN", "SESSION_COOKIE", "GCP_CREDENTIALS_JSON", "PGPASSWORD", "CLIENT_SECRET_1"),
    *("AZURE_STORAGE_CONNECTION_STRING", "KEY"),
]
SHAPES = [
    "https://user:hf_SECRETSECRETSECRET@huggingface.co/x",
    "https://somewhere/x?token=SECRETSECRET&n=1",
    "https://x.blob.core/x?sv=1&sig=SECRETSECRET%3D",
    "https://s3/x?X-Amz-Signature=SECRETSECRET",
    "Authorization: Bearer SECRETSECRET",
    "authorization: Basic SECRETSECRET==",
    "--header 'X-API-Key: SECRETSECRET'",
    "-H X-Auth-Token:SECRETSECRET",
    "Cookie: session=SECRETSECRET; other=SECRETSECRET",
    "aws_secret_access_key = SECRETSECRET/abc",
    "AccountName=me;AccountKey=SECRETSECRET==;x=1",
    "{'password': 'SECRETSECRET'}",
    '{"token": "SECRETSECRET"}',
    "--token SECRETSECRET",
    "--api-key=SECRETSECRET",
    "sk-ant-api03-SECRETSECRETSECRET",
    "AIzaSECRETSECRETSECRETSECRETSECRETSECRET",
    "ASIASECRETSECRETAAAA",
    "npm_SECRETSECRETSECRETSECRET",
    "pypi-SECRETSECRETSECRETSECRET",
    "wandb_v1_SECRETSECRETSECRETSECRET",
    "hf_oauth_SECRETSECRET",
    "nvapi-SECRETSECRETSECRETSECRET",
    "-----BEGIN RSA PRIVATE KEY-----\nSECRETSECRET\nSECRET\n-----END RSA PRIVATE KEY-----",
]
ORDINARY = [
    "unknown token: '<pad>' among special tokens",
    "rollout.max_prompt_tokens: got 900000, needs less",
    "grpo.tokens_per_micro_batch=auto; HF_XET_HIGH_PERFORMANCE=1; hf_hub_download failed",
    "the secret of asthma; author: Hippocrates; significance=0.050001",
    "Asiaticoside, an asia transplant 123456789012, CC(=O)Oc1ccccc1C(=O)O",
    "--tokenizer-path /data/models/x --keyword asthmatic",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_of_a_secret_name(name: str) -> None:
    found = mask_secrets("a planted-4242, planted-5353 b", {name: "planted-4242,planted-5353"})
    assert found == "a ***, *** b"


def test_other_variables_are_no_secrets() -> None:
    for name in ("PWD", "OLDPWD", "HOME", "KEYBOARD", "TOKENIZERS_PARALLELISM", "MONKEY"):
        assert mask_secrets("in /home/me/work", {name: "/home/me/work"}) == "in /home/me/work"


@pytest.mark.parametrize("text", SHAPES)
def test_a_shape(text: str) -> None:
    found = mask_secrets(text, NOTHING)
    assert "SECRET" not in found
    assert "***" in found
    assert mask_secrets(found, NOTHING) == found


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text: str) -> None:
    assert mask_secrets(text, NOTHING) == text


def test_keys_of_a_configuration() -> None:
    secret = {
        "Authorization": "a",
        "X-Api-Key": "b",
        "apikey": "c",
        "apiKey": "d",
        "pwd": "e",
        "access_token": "f",
        "auth": "g",
        "passwd": "h",
        "clientSecret": "i",
        "api_keys": ["j", "k"],
    }
    other = {
        "key_column": "smiles",
        "max_tokens": 5,
        "token_variable": "DOCK",
        "stop_tokens": ["x"],
    }
    found = masked({"options": {**secret, **other}})["options"]
    assert found == {**dict.fromkeys(secret, "***"), "api_keys": ["***", "***"], **other}


@pytest.mark.parametrize("piece", ["C", "api_", "--key-", "a-", "://", "eyJ", "x-a-", "password "])
def test_long_text_takes_linear_time(piece: str) -> None:
    started = time.process_time()
    mask_secrets(piece * (300_000 // len(piece)), NOTHING)
    assert time.process_time() - started < 20
