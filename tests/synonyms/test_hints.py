"""Names of other programs: every one leads to a key, value or part that there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from rl4bio.__main__ import COMMANDS
from rl4bio.callbacks import CALLBACKS
from rl4bio.config.load import load_config
from rl4bio.config.schema import all_keys, check_tree
from rl4bio.data import CORPORA
from rl4bio.errors import ConfigError
from rl4bio.rewards import REWARDS
from rl4bio.synonyms.hints import key_hint, known_names, names_of, our_key, part_hint
from rl4bio.synonyms.parts import PARTS
from rl4bio.synonyms.table import KEYS, NOT_HERE, VALUES

PLAIN = ["name=a", "policy.checkpoint=b", "data.name=trials", "rewards=[{name: verdict}]"]
LORA = "policy.adapter={rank: 8}"
EVERY_KEY = {*all_keys(), "rewards[].weight"} | {
    f"data.options.{field.name}"
    for name in CORPORA.names()
    for field in dataclasses.fields(CORPORA.get(name))
}


@pytest.mark.parametrize("key", KEYS)
def test_a_name_leads_to_a_key_that_there_is(key: str) -> None:
    ours, equals, value = key.partition("=")
    assert ours in EVERY_KEY
    if equals:
        load_config(None, [*PLAIN, LORA, f"{ours}={value}"])
    assert names_of(ours)
    for entry in KEYS[key].split("; "):
        assert re.fullmatch(r"[\w.& -]+: \w+( \w+)*", entry), entry


def test_each_name_means_one_thing() -> None:
    names = known_names()
    assert len(names) == len(set(names)) >= 200
    assert all(name == name.lower() for name in names)


@pytest.mark.parametrize(
    "text", [*NOT_HERE.values(), *(v for t in PARTS.values() for v in t.values())]
)
def test_every_key_in_advice_is_there(text: str) -> None:
    sections = {key.partition(".")[0] for key in all_keys() if "." in key}
    for key in re.findall(r"\b([a-z]+\.[a-z_.]+[a-z])", text):
        if key.partition(".")[0] in sections:
            assert key in EVERY_KEY or key == "data.options", key
    for command in re.findall(r"`rl4bio (\w+)", text):
        assert command in COMMANDS


@pytest.mark.parametrize("key", VALUES)
def test_values_are_ours(key: str) -> None:
    assert key in EVERY_KEY
    for value, ours in VALUES[key].items():
        first, *others = ours.replace(", and leave wandb out of logging.loggers", "").split(
            " with "
        )
        if ours:
            extra = [o if "=" in o else f"{o}=0.1" for o in others if not o.endswith("_steps")]
            load_config(None, [*PLAIN, LORA, f"{key}={first}", *extra])
        written = {"True": "true", "False": "false"}.get(value, f"'{value}'")
        if written in ("'None'", "'False'", "false"):  # of two keys these are values here too
            continue
        hint = f"; write {ours}" if ours else "; not offered"
        with pytest.raises(ConfigError, match=rf"{re.escape(hint)}$|reads as"):
            load_config(None, [*PLAIN, f"{key}={written}"])


@pytest.mark.parametrize(
    ("kind", "registry"), [("reward", REWARDS), ("data", CORPORA), ("callback", CALLBACKS)]
)
def test_parts_are_ours(kind: str, registry: object) -> None:
    names = registry.names()  # type: ignore[attr-defined]
    for other, ours in PARTS[kind].items():
        assert other not in names
        assert ours.startswith("no callback") or re.split(r"[ ,]", ours)[0] in names
        with pytest.raises(ConfigError, match=re.escape(part_hint(kind, other))):
            registry.get(other)  # type: ignore[attr-defined]


def test_commands_are_ours() -> None:
    for other, ours in PARTS["command"].items():
        assert other not in COMMANDS
        assert ours.split()[0] in COMMANDS


ASKED = """\
num_generations beta epsilon epsilon_high learning_rate per_device_train_batch_size
gradient_accumulation_steps num_iterations scale_rewards max_new_tokens lora_r lora_alpha
load_in_4bit bf16 report_to model_name_or_path dataset_name use_vllm sync_ref_model
max_completion_length max_prompt_length loss_type mask_truncated_completions reward_weights
reward_funcs lora_dropout target_modules lora_target_modules load_in_8bit fp16
gradient_checkpointing output_dir run_name max_steps num_train_epochs warmup_ratio warmup_steps
lr_scheduler_type weight_decay adam_beta1 max_grad_norm save_steps eval_steps logging_steps seed
top_k top_p temperature generation_batch_size steps_per_generation vllm_mode
importance_sampling_level delta sequence_len micro_batch_size datasets base_model"""


@pytest.mark.parametrize("name", ASKED.split())
@pytest.mark.parametrize("place", ["", "logging.", "training_args.", "a.b."])
def test_a_name_is_answered_wherever_it_stands(name: str, place: str) -> None:
    tree: dict = {}
    node = tree
    for part in place.split(".")[:-1]:
        node = node.setdefault(part, {})
    node[name] = 1
    if place == "" and name in all_keys():
        return
    with pytest.raises(ConfigError) as caught:
        check_tree(tree)
    message, first = str(caught.value), place.split(".")[0] or name
    if place == "logging.":
        first = f"logging.{name}"
    assert message.startswith(f"{first}: unknown key; ")
    ours = our_key(name)
    same = [key for key in all_keys() if key.rpartition(".")[2] == name]
    if place in ("", "logging.") and ours:
        assert f"rl4bio calls it {ours}" in message
    elif ours:
        assert f"; {place}{name}: rl4bio calls it {ours}" in message
    elif place in ("", "logging."):
        assert name in NOT_HERE or f"did you mean {same[0]!r}?" in message
    assert "did you mean" not in message or same


@pytest.mark.parametrize("written", ["Num-Generations", "--num_generations", "NUM_GENERATIONS"])
def test_the_spelling_of_a_known_name_is_free(written: str) -> None:
    assert key_hint(written) == "; rl4bio calls it grpo.group_size (TRL's num_generations)"


def test_a_guess_needs_a_close_match() -> None:
    for name, near in [
        ("grpo.num_generation", "grpo.group_size"),
        ("optim.warmup_stepss", "warmup_steps"),
    ]:
        with pytest.raises(ConfigError, match=near):
            load_config(None, [*PLAIN, f"{name}=1"])
    for name in ("qwertyuiop", "grpo.frobnicate", "trainer.cheese"):
        with pytest.raises(ConfigError) as caught:
            load_config(None, [*PLAIN, f"{name}=1"])
        assert str(caught.value).endswith("unknown key")


FOREIGN = {
    "TRL": "model_name_or_path: Qwen/Qwen2.5-0.5B\ndataset_name: trl-lib/x\nlearning_rate: 1.0e-5\n"
    "num_generations: 8\nbeta: 0.04\nbf16: true\noutput_dir: out\n",
    "axolotl": "base_model: meta-llama/x\nload_in_4bit: true\nadapter: qlora\ndatasets:\n"
    "  - path: x\n    type: alpaca\nsequence_len: 2048\nmicro_batch_size: 2\nnum_epochs: 1\n",
    "verl": "actor_rollout_ref:\n  actor: {ppo_epochs: 1, clip_ratio: 0.2, kl_loss_coef: 0.001}\n"
    "  rollout: {n: 8, gpu_memory_utilization: 0.4}\ntrainer: {nnodes: 1}\n",
    "peft": '{"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": ["q_proj"]}',
}


@pytest.mark.parametrize("program", FOREIGN)
def test_a_whole_file_of_another_program_is_one_line(program: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(FOREIGN[program])
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:1: ")
    assert f"a configuration of {program}, not of rl4bio: " in message
    first = {
        "TRL": "model_name_or_path is policy.checkpoint",
        "axolotl": "base_model is policy.check",
    }
    assert (
        first.get(program, " is grpo." if program == "verl" else "r is policy.adapter.rank")
        in message
    )


def test_our_own_files_are_not_taken_for_another_programs() -> None:
    for path in (Path(__file__).parents[2] / "configs").glob("*.yaml"):
        load_config(path)
    with pytest.raises(ConfigError, match="polcy: unknown key; did you mean 'policy'"):
        load_config(None, ["polcy={checkpoint: a, adapter: {rank: 1, alpha: 2, dropout: 0.0}}"])
