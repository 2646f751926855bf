"""Fixtures that every test may use: the shared data, and tiny random models built offline."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
# Before torch is imported: tiny models are faster on one thread, far faster on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

FAMILIES = ("gemma3", "gemma2", "llama", "qwen2", "phi3", "gpt2")
WINDOW = 8
"""Sliding window of the tiny models that have one, shorter than most prompts + completions."""
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
WORDS = ["<thought>", "</thought>", "<answer>", "</answer>", "yes", "no", "maybe"]
SENTENCES = [
    "Does the drug lower the pain score in patients with asthma?",
    "The trial compared two groups and the difference was significant.",
    "Answer with yes, no or maybe.",
]
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}"
    "{% set lead = messages[0]['content'] + '\n\n' %}{% set turns = messages[1:] %}"
    "{% else %}{% set lead = '' %}{% set turns = messages %}{% endif %}"
    "{% for turn in turns %}"
    "{{ '<start_of_turn>' + turn['role'] + '\n' + (lead if loop.first else '') "
    "+ turn['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def pytest_configure() -> None:
    """RL4BIO_TEST_BACKEND=generate runs every test without the engine."""
    if backend := os.environ.get("RL4BIO_TEST_BACKEND"):
        from rl4bio.modules.policy import Policy
        from rl4bio.sections import RolloutConfig

        for section in (Policy, RolloutConfig):
            section.__init__.__kwdefaults__["backend"] = backend
            section.__dataclass_fields__["backend"].default = backend
            section.backend = backend  # type: ignore[assignment]


LONG = (
    "real/",
    "test_faults/",
    "test_memory_level.py",
    "test_notebooks.py",
    "docs/",
    "runs/test_chain.py",
    "test_launched.py",
    "exports/test_cards.py",
    "config/test_load.py",
    "rewards/molecules/test_design_hacks.py",
)
"""Files that take long are handed out first, so that no worker waits for one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    items.sort(key=lambda item: not str(item.path.relative_to(tests)).startswith(LONG))


@contextlib.contextmanager
def plugins_gone_afterwards() -> Iterator[None]:
    """What is registered inside, and the plugins that are imported, are gone after it."""
    from rl4bio.config.catalogue import REGISTRIES
    from rl4bio.files.plugin_file import MODULES, PREFIX

    before = {kind: dict(parts._registered) for kind, parts in REGISTRIES.items()}
    imported = {*sys.modules}
    yield
    for kind, parts in REGISTRIES.items():
        parts._registered = before[kind]
    for name in {*sys.modules} - imported:
        if name.startswith(PREFIX) or name in MODULES:
            del sys.modules[name]


@pytest.fixture(autouse=True, scope="module")
def plugins_of_a_file() -> Iterator[None]:
    with plugins_gone_afterwards():
        yield


@pytest.fixture(autouse=True)
def plugins_of_a_test() -> Iterator[None]:
    with plugins_gone_afterwards():
        yield


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """The package's log has the handlers, level and way to the root that a test found."""
    log = logging.getLogger("rl4bio")
    handlers, level, propagate = log.handlers[:], log.level, log.propagate
    yield
    for handler in log.handlers:
        if handler not in handlers:
            handler.close()
    log.handlers, log.propagate = handlers, propagate
    log.setLevel(level)


@pytest.fixture
def package_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    """Warnings of the package, each once, whatever handlers other tests and libraries left."""
    log = logging.getLogger("rl4bio")
    monkeypatch.setattr(log, "handlers", [caplog.handler])
    monkeypatch.setattr(log, "propagate", False)
    caplog.set_level(logging.WARNING, "rl4bio")
    return caplog


@pytest.fixture
def no_traces() -> Iterator[None]:
    """Levels of libraries' logs, warning filters and the run folder of a run end with its test."""
    from rl4bio.process.endings import set_run_folder

    levels = {name: logging.getLogger(name).level for name in [*logging.root.manager.loggerDict]}
    with warnings.catch_warnings():
        yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    set_run_folder(None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it skip without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("RL4BIO_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set RL4BIO_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def real_models() -> Path:
    """The folder of real checkpoints, RL4BIO_REAL_MODELS; tests marked `real` skip without it."""
    folder = os.environ.get("RL4BIO_REAL_MODELS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no real checkpoints (set RL4BIO_REAL_MODELS to a folder of model folders)")
    return Path(folder)


@pytest.fixture
def real_model(real_models: Path) -> Callable[[str], Path]:
    """A checkpoint of the folder by its name; the test skips where it is not there."""

    def find(name: str) -> Path:
        if not (real_models / name / "config.json").is_file():
            pytest.skip(f"no {name} in {real_models}")
        return real_models / name

    return find


def build_tokenizer() -> Any:
    """A byte-level BPE like Gemma's: it adds its BOS to raw text, the template writes its own."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_tokens([AddedToken(word, special=False, normalized=False) for word in WORDS])
    bos = ("<bos>", tokenizer.token_to_id("<bos>"))
    tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[bos])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_model(family: str, tokenizer: Any, *, seed: int = 0) -> Any:
    """Two random layers of a family; every weight is large enough that a mistake would show."""
    import torch
    import transformers as hf
    from transformers.generation import GenerationConfig

    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "initializer_range": 0.3,
    }
    gemma = {
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "full_attention"],
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    configs: dict[str, Callable[[], Any]] = {
        "gemma3": lambda: hf.Gemma3TextConfig(**shape, **gemma),
        "gemma3 with images": lambda: hf.Gemma3Config(
            text_config=hf.Gemma3TextConfig(**shape, **gemma).to_dict(),
            vision_config=vision,
            mm_tokens_per_image=4,
        ),
        "gemma2": lambda: hf.Gemma2Config(**shape, **gemma),
        "llama": lambda: hf.LlamaConfig(**shape),
        "qwen2": lambda: hf.Qwen2Config(**shape),
        "qwen3": lambda: hf.Qwen3Config(**shape, head_dim=16),
        "mistral": lambda: hf.MistralConfig(**shape, head_dim=16, sliding_window=WINDOW),
        "phi3": lambda: hf.Phi3Config(**shape, sliding_window=WINDOW),
        "gpt2": lambda: hf.GPT2Config(
            **{k: shape[k] for k in ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")},
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=1024,
        ),
    }
    torch.manual_seed(seed)
    model = hf.AutoModelForCausalLM.from_config(configs[family](), dtype=torch.float32)
    if family == "gpt2":
        with torch.no_grad():  # as large as trained ones, so that a wrong position shows
            model.transformer.wpe.weight.mul_(50)
            model.transformer.wte.weight.mul_(20)
    if family.startswith("gemma"):
        with torch.no_grad():  # else tied embeddings make every token repeat itself
            for name, parameter in model.named_parameters():
                if "layers" in name and "post" in name:
                    parameter.fill_(1.0)
    # Two end tokens, and sampling defaults as hub checkpoints carry them.
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end_of_turn>")],
        do_sample=True,
        top_k=5,
        top_p=0.5,
        repetition_penalty=1.5,
        temperature=0.3,
    )
    return model


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Callable[[], Any]:
    """Makes a fresh tokenizer of 307 tokens, which the test may change."""
    return build_tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the checkpoint folder of a family (one of `build_model`), once a session."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp("models") / family
            tokenizer = build_tokenizer()
            build_model(family, tokenizer).save_pretrained(made[family])
            tokenizer.save_pretrained(made[family])
        return made[family]

    return folder


@pytest.fixture(scope="session")
def tiny_policy_folder(tiny_folder: Callable[[str], Path]) -> Path:
    """A random Gemma 3 of two layers as a checkpoint folder; read only."""
    return tiny_folder("gemma3")


@pytest.fixture(scope="session")
def families() -> tuple[str, ...]:
    """The architectures that `tiny_folder` builds."""
    return FAMILIES
