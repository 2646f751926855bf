"""Configurations: what loads, and what is refused with which words."""

from __future__ import annotations

import argparse
import dataclasses
import random
import re
import typing
from pathlib import Path

import pytest

from rl4bio.cli import add_config_arguments, run_command
from rl4bio.config.load import load_config, to_yaml
from rl4bio.config.schema import LARGEST_NUMBER
from rl4bio.errors import ConfigError
from rl4bio.sections import AdapterConfig, RunConfig

COMPLETE = """\
name: trials_test
seed: 3
policy:
  checkpoint: some/model
  adapter: {rank: 8, alpha: 16}
rollout: {max_prompt_tokens: 256, max_completion_tokens: 64, temperature: 0.9}
grpo: {group_size: 4, loss: dapo, kl_coef: 0.01, updates_per_rollout: 2}
optim: {lr: 1e-5, warmup_steps: 2, schedule: cosine}
data:
  name: trials
  options:
    batch_size: 4
    seed: 5
rewards:
  - {name: verdict, weight: 1.0}
  - name: structure
    weight: 0.2
callbacks: [{name: kl_monitor}, {name: reward_histogram}]
evaluation: {max_items: 20}
trainer: {max_steps: 10, accelerator: cpu, devices: 1, val_every_steps: 5}
logging: {project: demo, mode: offline}
"""
ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {path.name: path.read_text() for path in sorted((ROOT / "configs").rglob("*.y*ml"))}
TEXTS = {"complete": COMPLETE, **SHIPPED}


@pytest.fixture
def load(tmp_path: Path) -> typing.Callable[..., RunConfig]:
    """Load a text as a file named run.yaml, with overrides."""

    def load(text: str, *overrides: str) -> RunConfig:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return load_config(path, overrides)

    return load


def error_of(load: typing.Callable[..., RunConfig], text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    return str(caught.value)


def test_values_reach_their_sections(load) -> None:
    config = load(COMPLETE)
    assert (config.name, config.seed, config.optim.lr) == ("trials_test", 3, 1e-5)
    assert config.policy.adapter == AdapterConfig(rank=8, alpha=16)
    assert config.trainer.devices == "1"
    assert [r.weight for r in config.rewards] == [1.0, 0.2]
    assert config.sft == RunConfig().sft  # a section that is not written keeps its defaults


@pytest.mark.parametrize("name", TEXTS)
def test_round_trip(name: str, load) -> None:
    config = load(TEXTS[name])
    assert load(to_yaml(config)) == config


OVERRIDES = [
    ("optim.lr=1e-4", lambda c: c.optim.lr, 1e-4),
    ("rewards.0.weight=2", lambda c: c.rewards[0].weight, 2.0),
    ("rewards[1].weight=-1", lambda c: c.rewards[1].weight, -1.0),
    ("rewards=[{name: length}]", lambda c: [r.name for r in c.rewards], ["length"]),
    ("policy.adapter=null", lambda c: c.policy.adapter, None),
    (
        "policy.adapter={rank: 32}",
        lambda c: (c.policy.adapter.rank, c.policy.adapter.alpha),
        (32, 16),
    ),
    ("data.options.seed=9", lambda c: c.data.options, {"batch_size": 4, "seed": 9}),
    ("data.options.seed=${seed}", lambda c: c.data.options["seed"], 3),
    ("logging.project=a=b", lambda c: c.logging.project, "a=b"),
    ("logging.project=${name}_x", lambda c: c.logging.project, "trials_test_x"),
    ("logging.project=", lambda c: c.logging.project, ""),
    ("policy.revision='1234e56'", lambda c: c.policy.revision, "1234e56"),
    ("policy.revision=0123456", lambda c: c.policy.revision, "0123456"),
    ("policy.revision=1234567", lambda c: c.policy.revision, "1234567"),
    ("policy.checkpoint=no", lambda c: c.policy.checkpoint, "no"),
    ("seed=012", lambda c: c.seed, 12),
    ("grpo.self_check=no", lambda c: c.grpo.self_check, False),
    ("optim.betas=[0.8, .95]", lambda c: c.optim.betas, [0.8, 0.95]),
]


@pytest.mark.parametrize(("override", "read", "value"), OVERRIDES, ids=[o for o, _, _ in OVERRIDES])
def test_overrides(override: str, read: typing.Any, value: object, load) -> None:
    assert read(load(COMPLETE, override)) == value


def test_later_override_wins_and_null_sections_are_created(load) -> None:
    assert load(COMPLETE, "seed=1", "seed=2").seed == 2
    config = load(COMPLETE, "policy.adapter=null", "policy.adapter.rank=4")
    assert config.policy.adapter == AdapterConfig(rank=4)
    without = COMPLETE.replace("  adapter: {rank: 8, alpha: 16}\n", "")
    assert load(without, "policy.adapter.rank=4").policy.adapter == AdapterConfig(rank=4)


def test_overrides_alone_make_a_run() -> None:
    config = load_config(None, ["name=a", "policy.checkpoint=b", "data.name=trials", "task=sft"])
    assert (config.name, config.task, config.rewards) == ("a", "sft", [])


# One line of COMPLETE replaced; the message must hold the text behind "run.yaml".
LINES = [
    ("seed: 3", "sede: 3", ":2: sede: unknown key; did you mean 'seed'?"),
    ("seed: 3", "Seed: 3", ":2: Seed: unknown key; did you mean 'seed'?"),
    ("seed: 3", "lr: 3", ":2: lr: unknown key; did you mean 'optim.lr'?"),
    ("seed: 3", "seed: eight", ":2: seed: got 'eight', needs a whole number"),
    ("seed: 3", "seed: 1.5", ":2: seed: got 1.5, needs a whole number"),
    ("seed: 3", "seed: 1e3", ":2: seed: got 1000.0, needs a whole number"),
    ("seed: 3", "seed: 12:30", ":2: seed: got '12:30', needs a whole number"),
    ("seed: 3", "seed: true", ":2: seed: got True, needs a whole number"),
    ("seed: 3", "seed:", ":2: seed: Incompatible value 'None'"),
    ("seed: 3", "seed: -1", ":2: seed: got -1, needs 0 to 4294967295"),
    ("seed: 3", "seed: 4294967296", ":2: seed: got 4294967296, needs a finite number"),
    ("seed: 3", "seed: [1]", ":2: seed: got [1], needs a single value"),
    ("seed: 3", "on: 3", ":2: on: unknown key"),
    ("seed: 3", "seed: 3\nseed: 4", ":3: seed: duplicate key, first on line 2"),
    ("seed: 3", "seed: !!int 3", ":2: tag tag:yaml.org,2002:int"),
    ("seed: 3", "seed: &s 3", ":2: anchor &s"),
    (
        "name: trials_test",
        "name: true",
        ":1: name: reads as True, needs text; put quotes around it",
    ),
    ("name: trials_test", "name: 1e5", ":1: name: reads as 100000.0, needs text"),
    ("name: trials_test", "name: ../evil", ":1: name: '../evil' is no folder name"),
    ("name: trials_test", "name: /tmp/evil", ":1: name: '/tmp/evil' is no folder name"),
    ("name: trials_test", "name: ..", ":1: name: '..' is no folder name"),
    ("name: trials_test", "name: .hidden", ":1: name: '.hidden' is no folder name"),
    ("name: trials_test", "name: a b", ":1: name: 'a b' is no folder name"),
    ("name: trials_test", "name: 'a\\b'", ":1: name: 'a\\\\b' is no folder name"),
    ("name: trials_test", "name: ''", ":1: name: '' is no folder name"),
    ("name: trials_test", f"name: {'a' * 129}", "is no folder name"),
    (
        "name: trials_test",
        "name: '${oc.env:HOME}'",
        ":1: name: '${oc.env:HOME}': only ${another.key}",
    ),
    ("name: trials_test", "name: '${oc.decode:x}'", "only ${another.key} is allowed"),
    ("name: trials_test", "name: '${a.${b}}'", "only ${another.key} is allowed"),
    ("name: trials_test", "name: '${nope}'", ":1: name: ${nope} names no single, plain value"),
    ("name: trials_test", "name: '${name}'", "names no single, plain value"),
    ("name: trials_test", "name: '${optim}'", "names no single, plain value"),
    ("optim: {", "optim: {learning_rate: 1, ", ":8: optim.learning_rate: unknown key"),
    ("lr: 1e-5", "lr: -1", ":8: optim.lr: got -1.0, needs a number above 0"),
    ("lr: 1e-5", "lr: .nan", ":8: optim.lr: got nan"),
    ("lr: 1e-5", "lr: nan", ":8: optim.lr: got nan"),
    ("lr: 1e-5", "lr: 1e30", ":8: optim.lr: got 1e+30"),
    ("lr: 1e-5", "lr: yes", ":8: optim.lr: got 'yes', needs a number"),
    ("loss: dapo", "loss: dap", "'vespo']; did you mean 'dapo'?"),
    ("group_size: 4", "group_size: 1", ":7: grpo.group_size: got 1, needs at least 2"),
    ("group_size: 4", "self_check: 3", ":7: grpo.self_check: got 3, needs true or false"),
    ("group_size: 4", "_target_: os.system", ":7: grpo._target_: classes are not named by import"),
    ("    batch_size: 4", "    _target_: a.b", ":12: data.options._target_: classes are not named"),
    (
        "    batch_size: 4",
        "    batch_sise: 4",
        ":12: data.options.batch_sise: unknown option; did you",
    ),
    (
        "    batch_size: 4",
        "    batch_size: 0",
        ":12: data.options.batch_size: got 0, needs at least 1",
    ),
    (
        "    batch_size: 4",
        "    batch_size: x",
        ":12: data.options.batch_size: got 'x', needs a whole number",
    ),
    (
        "name: trials\n",
        "name: trails\n",
        ":10: data.name: unknown data 'trails'; did you mean 'trials'?",
    ),
    (
        "{name: verdict,",
        "{name: verdit,",
        ":15: rewards[0].name: unknown reward 'verdit'; did you mean",
    ),
    (
        "{name: verdict,",
        "{name: structure,",
        ":16: rewards[1].name: 'structure' is rewards[0] already",
    ),
    ("    weight: 0.2", "    weight: 0", ":17: rewards[1].weight: got 0.0"),
    (
        "    weight: 0.2",
        "    weigth: 0.2",
        ":17: rewards[1].weigth: unknown key; did you mean 'weight'?",
    ),
    ("    weight: 0.2", "    options: {foo: 1}", ":17: rewards[1].options.foo: unknown option"),
    ("[{name: kl_monitor}", "[{name: kl_monitr}", ":18: callbacks[0].name: unknown callback"),
    ("[{name: kl_monitor}", "[kl_monitor", ":18: callbacks[0]: got 'kl_monitor', needs a section"),
    ("evaluation: {max_items: 20}", "evaluation:", ":19: evaluation: got None, needs a section"),
    ("evaluation: {max_items: 20}", "evaluation: 3", ":19: evaluation: got 3, needs a section"),
    ("devices: 1", "devices: 0", ":20: trainer.devices: got '0'"),
    ("devices: 1", "devices: 1.5", ":20: trainer.devices: reads as 1.5, needs text"),
    ("mode: offline", "mode: offlne", "did you mean 'offline'?"),
    ("mode: offline", "loggers: wandb", ":21: logging.loggers: got 'wandb', needs a list"),
    ("rank: 8", "rnk: 8", ":5: policy.adapter.rnk: unknown key; did you mean 'rank'?"),
    ("rank: 8", "rank: 0", ":5: policy.adapter.rank: got 0, needs a number above 0"),
    ("seed: 3", "plugins: [no_such.plugin]", ":2: plugins[0]: no_such.plugin does not import"),
    ("seed: 3", "plugins: [missing.py]", ":2: plugins[0]: no file missing.py"),
    ("seed: 3", "plugins: ['os; x']", ":2: plugins[0]: 'os; x' is neither a dotted module"),
]


@pytest.mark.parametrize(
    ("old", "new", "message"), LINES, ids=[new.strip()[:40] for _, new, _ in LINES]
)
def test_refused_lines(old: str, new: str, message: str, load) -> None:
    assert old in COMPLETE
    text = error_of(load, COMPLETE.replace(old, new, 1))
    assert "run.yaml" in text or message.startswith(("is no", "only", "names", "'vespo", "did"))
    assert message in text


BAD_OVERRIDES = [
    ("optim.lrr=1", "override 'optim.lrr=1': optim.lrr: unknown key; did you mean 'lr'?"),
    ("polcy.adapter.rank=8", "polcy: unknown key; did you mean 'policy'?"),
    ("rewards.7.weight=1", "rewards is a list of 2; '7' is no index of it"),
    ("rewards.x.weight=1", "rewards is a list of 2; 'x' is no index of it"),
    ("name.x=1", "name is a single value, it has no 'x'"),
    ("seed", "needs key=value"),
    ("=1", "needs key=value"),
    ("a..b=1", "needs key=value"),
    ("configs/run.yaml", "a file goes behind --config"),
    ("optim.lr=[1", "override 'optim.lr=[1': not YAML"),
    ("optim.lr=*x", "alias *x: aliases are refused"),
    ("trainer=", "trainer: got '', needs a section"),
    ("rewards=[]", "rewards: task grpo needs at least one"),
    ("name=???", "these keys need a value: name;"),
    ("policy.quantization=nf4", None),
]


@pytest.mark.parametrize(("override", "message"), BAD_OVERRIDES, ids=[o for o, _ in BAD_OVERRIDES])
def test_refused_overrides(override: str, message: str | None, load) -> None:
    if message is None:
        assert load(COMPLETE, override).policy.quantization == "nf4"  # it has an adapter ...
        message = "policy.quantization: quantised weights cannot be trained; add policy.adapter"
        assert message in error_of(load, COMPLETE, override, "policy.adapter=null")
    else:
        assert message in error_of(load, COMPLETE, override)


def test_separate_normalisation_would_bypass_the_zero_of_repeats(load) -> None:
    apart, qed = "grpo.combine=normalize_then_sum", "rewards=[{name: qed}]"
    message = error_of(load, COMPLETE, qed, apart)
    assert f"override {apart!r}: grpo.combine: normalize_then_sum reads each reward" in message
    one = "molecules.batch_repeats=keep"
    assert "grpo.combine: normalize_then_sum" in error_of(load, COMPLETE, qed, apart, one)
    load(COMPLETE, qed, apart, one, "molecules.seen_before=keep")
    load(COMPLETE, qed, apart, "task=sft")
    load(COMPLETE, apart)  # text is not guarded


def test_all_missing_keys_at_once(load) -> None:
    message = error_of(load, "rewards: [{weight: 1}]")
    assert "need a value: data.name, name, policy.checkpoint, rewards[0].name" in message


@pytest.mark.parametrize("text", ["", "- a", "3", "text", "# nothing"])
def test_files_without_sections(text: str, load) -> None:
    assert "run.yaml" in error_of(load, text)


def test_reference_blow_up_is_refused(load) -> None:
    many = COMPLETE.replace("demo", '"' + "${name}" * 101 + '"')
    assert "more than 100 references" in error_of(load, many)
    chain = COMPLETE.replace("demo", "'${name}'").replace("trials_test", "'${data.name}'")
    assert "names no single, plain value" in error_of(load, chain)


def test_a_reference_cannot_build_a_resolver(load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", "leak")
    text = COMPLETE.replace("demo", "$").replace(
        "seed: 5", "form: '${logging.project}{oc.env:PLANTED}'"
    )
    message = error_of(load, text)
    assert "a reference gives '${', which is refused" in message
    assert "leak" not in message


def numeric_fields(section: type, prefix: str = "") -> list[str]:
    """Full keys of all number fields, found in the dataclasses."""
    found = []
    for name, hint in typing.get_type_hints(section).items():
        kinds = [hint, *typing.get_args(hint)]
        nested = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
        if nested and typing.get_origin(hint) is not list:
            found += numeric_fields(nested[0], f"{prefix}{name}.")
        elif int in kinds or float in kinds:
            is_list = typing.get_origin(hint) is list
            found.append(f"{prefix}{name}{'.0' if is_list else ''}")
    return found


@pytest.mark.parametrize("key", [*numeric_fields(RunConfig), "rewards.0.weight"])
def test_no_absurd_number_gets_through(key: str, load) -> None:
    text = COMPLETE.replace("optim: {", "optim: {betas: [0.9, 0.99], ")
    text = text.replace("grpo: {", "grpo: {sapo_temperatures: [1.0, 1.05], ")
    for value in (".nan", "-.inf", "inf", "1e30", "9" * 30, "true"):
        message = error_of(load, text, f"{key}={value}")
        assert f"override '{key}={value}': " in message
    if key != "rewards.0.weight" and not key.endswith("min_score"):  # a reward may be negative
        assert re.search(r": (got .*-1|needs two numbers)", error_of(load, text, f"{key}=-1"))


def test_a_reward_may_count_against_the_total(load) -> None:
    assert load(COMPLETE, "rewards.0.weight=-1").rewards[0].weight == -1


def test_plugins_register_parts(load, tmp_path: Path) -> None:
    (tmp_path / "tiny_reward.py").write_text(
        "from dataclasses import dataclass\n"
        "from rl4bio.rewards import REWARDS, Reward\n"
        "@REWARDS.register('plugin_test')\n"
        "@dataclass(kw_only=True)\n"
        "class Tiny(Reward):\n"
        "    level: float = 0.5\n"
    )
    text = COMPLETE.replace(
        "{name: verdict, weight: 1.0}", "{name: plugin_test, options: {level: 1}}"
    )
    config = load(text.replace("seed: 3", "plugins: [tiny_reward.py]"))
    assert config.rewards[0].name == "plugin_test"
    assert load_config(tmp_path / "run.yaml") == config  # a second import registers nothing twice
    assert Path(config.plugins[0]).is_absolute()  # the saved file works from any folder
    (tmp_path / "broken.py").write_text("raise RuntimeError('planted')")
    message = error_of(load, text.replace("seed: 3", "plugins: [broken.py]"))
    assert ":2: plugins[0]: broken.py does not import: RuntimeError: planted" in message


EDITS = 12
"""Of each configuration; three hundred over all of them."""


def mutations(
    text: str, spans: list[tuple[int, int]], count: int, seed: str
) -> list[tuple[str, int]]:
    """Texts with one character inside a span removed, doubled, replaced or swapped."""
    rng = random.Random(seed)
    found: list[tuple[str, int]] = []
    while len(found) < count:
        number = rng.randrange(len(spans))
        start, end = spans[number]
        at = rng.randrange(start, end)
        edit = rng.choice(["remove", "double", "replace", "swap"])
        piece = {
            "remove": "",
            "double": text[at] * 2,
            "replace": rng.choice("abcdefghijklmnopqrstuvwxyz_-:{}[],'\" 0159"),
            "swap": text[at : at + 2][::-1],
        }[edit]
        if edit == "replace" and end - start < len(text):  # inside a key: it stays one word
            piece = rng.choice("abcdefghijklmnopqrstuvwxyz_")
        if edit == "swap" and at + 1 >= end:
            continue
        changed = text[:at] + piece + text[at + (2 if edit == "swap" else 1) :]
        if changed != text:
            found.append((changed, number))
    return found


@pytest.mark.parametrize("name", TEXTS)
def test_mistyped_keys(name: str, load) -> None:
    text = TEXTS[name]
    code = re.sub(r"#.*", lambda m: " " * len(m[0]), text)
    spans = [m.span(1) for m in re.finditer(r"(?:^|[{,\n-])[ ]*([a-z]\w*): ?", code)]
    right = 0
    cases = mutations(text, spans, EDITS, name)
    for changed, number in cases:
        key = text[slice(*spans[number])]
        message = error_of(load, changed)  # 100 % are refused
        right += f"did you mean '{key}'?" in message or f".{key}'?" in message
    assert right >= 0.9 * len(cases)


@pytest.mark.parametrize("name", TEXTS)
def test_any_single_edit_is_refused_or_harmless(name: str, load) -> None:
    messages = []
    for changed, _ in mutations(TEXTS[name], [(0, len(TEXTS[name]))], EDITS, name):
        try:
            config = load(changed)
        except ConfigError as error:
            messages.append(str(error))
        else:  # a changed value or comment: a complete configuration in which every check holds
            assert load(to_yaml(config)) == config
            assert config.seed <= LARGEST_NUMBER
    assert all("run.yaml" in message and "\n" not in message for message in messages)
    assert len(messages) >= EDITS / 12  # many edits hit a key, a name or the syntax


@pytest.mark.parametrize(
    ("config", "overrides", "line"),
    [
        ("seed: [", [], r"rl4bio: error\[config\]: .*run\.yaml:1: not YAML: .*"),
        (
            "sede: 1",
            [],
            r"rl4bio: error\[config\]: .*run\.yaml:1: sede: unknown key; did you mean .*",
        ),
        (COMPLETE, ["seed=x"], r"rl4bio: error\[config\]: override 'seed=x': seed: got 'x', .*"),
        (
            COMPLETE,
            ["--optim.lr=x"],
            r"rl4bio: error\[config\]: override 'optim\.lr=x': optim\.lr: .*",
        ),
        (
            COMPLETE,
            ["callbacks.0.options.evry=1"],
            r".*: callbacks\[0\]\.options\.evry: unknown .*",
        ),
        (COMPLETE, ["a\nb"], r"rl4bio: error\[config\]: override 'a\\nb': needs key=value .*"),
    ],
)
def test_command_line(config: str, overrides: list[str], line: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(config)
    parser = argparse.ArgumentParser(prog="rl4bio fit")
    add_config_arguments(parser)

    def main(arguments: argparse.Namespace) -> None:
        load_config(arguments.config, arguments.overrides)

    assert run_command(main, parser, ["--config", str(path), *overrides]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    assert re.fullmatch(line, printed[0])


def test_missing_file_names_a_near_one(tmp_path: Path) -> None:
    (tmp_path / "pubmedqa.yaml").write_text(COMPLETE)
    with pytest.raises(ConfigError, match=r"no such file; did you mean 'pubmedqa\.yaml'\?"):
        load_config(tmp_path / "pubmedqe.yaml")


def test_a_name_that_ships_wants_its_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # without a folder configs/
    for given in ("pubmedqa_nano", "pubmedqa_nano.yaml", "pubmedqa_nan"):
        with pytest.raises(ConfigError, match=r"did you mean 'rl4bio:pubmedqa_nano'\?"):
            load_config(given)
