"""Changes on the command line and files as people write them: what is read, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio.config.load import load_config
from rl4bio.errors import ConfigError
from rl4bio.sections import RunConfig

TEXT = """\
name: mine
policy: {checkpoint: some/model}
data:
  name: pubmedqa
  options: {source: ori_pqal.json, val_size: 10, batch_size: 4}
rewards:
  - {name: verdict, weight: 1.0, options: {wrong_credit: 0.1}}
  - {name: structure, weight: 0.5}
"""
Load = Callable[..., RunConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(*overrides: str, text: str | bytes = TEXT, name: str = "run.yaml") -> RunConfig:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path, overrides)

    return load


def refusal(load: Load, *overrides: str, **words: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*overrides, **words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestLists:
    def test_plus_appends_one_or_several(self, load: Load) -> None:
        config = load(
            "rewards+={name: length, weight: .25}",
            "rewards+=[{name: grounding}, {name: long_answer, weight: 2}]",
            "callbacks+={name: kl_monitor}",
            "rewards.2.weight=3",
        )
        names = ["verdict", "structure", "length", "grounding", "long_answer"]
        assert [reward.name for reward in config.rewards] == names
        assert [reward.weight for reward in config.rewards] == [1.0, 0.5, 3.0, 1.0, 2.0]
        assert [callback.name for callback in config.callbacks] == ["kl_monitor"]

    def test_plus_begins_with_the_default(self, load: Load) -> None:
        assert load("evaluation.modes+=sampled").evaluation.modes == [
            "greedy", "direct", "logprob", "sampled"
        ]  # fmt: skip
        assert load("evaluation.modes+=sampled") != load()
        assert load().evaluation.modes == ["greedy", "direct", "logprob"]  # the default is whole
        assert load("optim.betas=[0.8]", "optim.betas+=0.95").optim.betas == [0.8, 0.95]
        lora = load("policy.adapter={targets: [q_proj]}", "policy.adapter.targets+=v_proj")
        assert lora.policy.adapter is not None
        assert lora.policy.adapter.targets == ["q_proj", "v_proj"]

    def test_errors_name_the_item_and_its_override(self, load: Load) -> None:
        plus = "rewards+=[{name: length}, {name: lenth}]"
        assert refusal(load, plus).startswith(f"override {plus!r}: rewards[3].name: unknown reward")
        plus = "rewards+={name: verdict}"
        assert refusal(load, plus).startswith(f"override {plus!r}: rewards[2].name: 'verdict' is")
        assert "; write seed=..." in refusal(load, "seed+=1")
        assert "no list; += appends" in refusal(load, "nothing.here+=1")
        assert "'2' is no index of it" in refusal(load, "rewards.2.weight=1")
        assert "rewards+=... appends" in refusal(load, "rewards[2].weight=1")
        assert "needs a list such as [{name: verdict}]" in refusal(load, "rewards=verdict")
        assert "needs a section such as {name: verdict}" in refusal(load, "rewards=[verdict]")


class TestParts:
    def test_a_named_part_is_replaced_as_a_whole(self, load: Load) -> None:
        data = load("data={name: smiles, options: {source: a.csv}}").data
        assert (data.name, data.options) == ("smiles", {"source": "a.csv"})
        assert load("data={name: trials}").data.options == {}
        rewards = load("rewards.0={name: qed}").rewards
        assert (rewards[0].name, rewards[0].options, rewards[0].weight) == ("qed", {}, 1.0)
        assert [r.name for r in load("rewards=[{name: qed}]").rewards] == ["qed"]

    def test_without_a_name_it_is_merged(self, load: Load) -> None:
        options = load("data={options: {val_size: 3}}").data.options
        assert options == {"source": "ori_pqal.json", "val_size": 3, "batch_size": 4}
        assert load("rewards.0={weight: 2}").rewards[0].options == {"wrong_credit": 0.1}
        assert load("optim={name: muon}", "optim={lr: 1e-4}").optim.name == "muon"

    @pytest.mark.parametrize(
        ("override", "place", "old"),
        [
            ("data.name=trials", "run.yaml:5: data.options.source: ", "'pubmedqa'"),
            ("data.name=smiles", "run.yaml:5: data.options.val_size: ", "'pubmedqa'"),
            ("rewards.0.name=length", "run.yaml:7: rewards[0].options.wrong_credit: ", "'verdict'"),
            ("rewards[0].name=qed", "run.yaml:7: rewards[0].options.wrong_credit: ", "'verdict'"),
        ],
    )
    def test_left_over_options_of_another_part(
        self, override: str, place: str, old: str, load: Load
    ) -> None:
        message = refusal(load, override)
        assert place in message
        assert f"the file gives it to {old}, which {override} replaced" in message

    def test_a_refused_replacement_is_the_overrides_fault(self, load: Load) -> None:
        override = "data={name: pubmedqa, options: {val_size: 3}}"
        message = refusal(load, override)
        assert message == f"override {override!r}: data.options.source: this option is required"
        assert refusal(load, "data.seed=3").endswith("stands under options: data.options.seed")


class TestSpelling:
    @pytest.mark.parametrize(
        ("override", "value"),
        [
            ("logging.project=a b", "a b"),
            ("logging.project= a b ", "a b"),
            ("logging.project = a", "a"),
            ("logging.project='a: b'", "a: b"),
            ('logging.project="a # b"', "a # b"),
            ("logging.project=a=b==c", "a=b==c"),
            ("logging.project=Bürgi-β", "Bürgi-β"),
            ("logging.project='1e-5'", "1e-5"),
            ("logging.project=NO", "NO"),
            ("logging.project=~/x", str(Path.home() / "x")),
            ("logging.project=a~/x", "a~/x"),
        ],
    )
    def test_values(self, override: str, value: str, load: Load) -> None:
        assert load(override).logging.project == value

    def test_empty_and_null(self, load: Load) -> None:
        assert load("policy.revision=").policy.revision == ""
        assert load("policy.revision=null", "policy.revision=x").policy.revision == "x"
        assert load("optim.max_grad_norm=null").optim.max_grad_norm is None
        assert "optim.lr: " in refusal(load, "optim.lr=")
        assert "optim.lr: " in refusal(load, "optim.lr=null")

    @pytest.mark.parametrize(
        ("override", "words"),
        [
            ("rewards=[{name:", "for the shell put quotes around the whole of it"),
            ("verdict}]", "for the shell put quotes around the whole of it"),
            ("data={name: trials", "for the shell put quotes"),
            (
                "optim.lr",
                "needs key=value with a dotted key, such as optim.lr=1e-5, without spaces",
            ),
            ("optim.lr:1e-5", "needs key=value"),
            ("optim lr=1", "needs key=value"),
            ("grpo.loss.kind=1", "grpo.loss"),
            ("name.a.b=1", "name is a single value, it has no 'a'"),
            ("seed=${oc.env:HOME}", "only ${another.key} is allowed"),
            ("name={a,b}", "needs a single value"),
            ("rollout.temperature=0", "rollout.temperature: got 0, which gives every completion"),
            ("evaluation.temperature=0", "evaluation.modes=[greedy]"),
            ("rank=8", "did you mean 'policy.adapter.rank'?"),
            ("policy=google/gemma", "such as {checkpoint: google/gemma}"),
        ],
    )
    def test_refusals(self, override: str, words: str, load: Load) -> None:
        message = refusal(load, override)
        assert message.startswith("override ")
        assert words in message


class TestFiles:
    @pytest.mark.parametrize(
        "text",
        [
            TEXT.replace("\n", "\r\n").encode(),
            b"\xef\xbb\xbf" + TEXT.encode(),
            ("# Bürgi\n" + TEXT).encode(),
            b'{"name": "mine", "policy": {"checkpoint": "some/model"}, "data": {'
            b'"name": "pubmedqa", "options": {"source": "ori_pqal.json", "val_size": 10, '
            b'"batch_size": 4}}, "rewards": '
            b'[{"name": "verdict", "options": {"wrong_credit": 0.1}}, '
            b'{"name": "structure", "weight": 0.5}]}',
        ],
        ids=["crlf", "bom", "unicode", "json"],
    )
    def test_forms_that_are_read(self, text: bytes, load: Load) -> None:
        assert load(text=text) == load()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("name: a\npolicy:\n\tcheckpoint: b\n", ":3: not YAML: "),
            ('{\n\t"name": "a"\n}', "indent with spaces, not tabs"),
            ("name: a\nname: b\n", ":2: name: duplicate key, first on line 1"),
            ("name: &n a\nseed: 1\n", ":1: anchor &n: anchors are refused"),
            ("<<: {name: a}\n", ":1: << merges another section, which is refused"),
            ("name = 'mine'\n", "needs keys and values at the top"),
            ("name: a\n---\nname: b\n", ":2: a second document"),
            (TEXT.encode("utf-16"), "not UTF-8 text; save the file as UTF-8"),
            ("name: mine\noutput_dir: no\ntask: off\n", ":3: task: Invalid value 'off'"),
            ("name: mine\noptim: {lr: 1e-5x}\n", ":2: optim.lr: got '1e-5x', needs a number"),
        ],
    )
    def test_forms_that_are_refused(self, text: str | bytes, words: str, load: Load) -> None:
        message = refusal(load, text=text)
        assert "run.yaml" in message
        assert words in message

    def test_other_formats_and_places(self, load: Load, tmp_path: Path) -> None:
        message = refusal(load, text="name = 'mine'", name="run.toml")
        assert message.endswith(
            "run.toml: .toml is not read; write YAML (configs/ has complete examples)"
        )
        (tmp_path / "runs").mkdir()
        with pytest.raises(ConfigError, match=r"runs: is a folder; name a YAML file"):
            load_config(tmp_path / "runs")
        (tmp_path / "runs" / "config.yaml").write_text(TEXT)
        with pytest.raises(ConfigError, match=r"is a folder; did you mean '.*runs/config\.yaml'"):
            load_config(tmp_path / "runs")

    def test_a_near_name_is_found_beside_and_in_configs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "configs").mkdir()
        (tmp_path / "configs" / "molgpt_qed.yaml").write_text(TEXT)
        for name in ("molgpt_qed", "molgpt_qed.yaml", "molgpt_qde.yaml", "configs/molgpt_qed.yml"):
            with pytest.raises(
                ConfigError, match=r"no such file; did you mean '.*molgpt_qed\.yaml'"
            ):
                load_config(Path(name))
        with pytest.raises(ConfigError, match=r"zebra: no such file; name a YAML file"):
            load_config(Path("zebra"))
