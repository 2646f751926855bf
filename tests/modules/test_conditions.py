"""A conditioned MolGPT in sampling, scoring and training: always the forward with its prefix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rl4bio.chem.tokens import split_smiles, vocabulary_of
from rl4bio.errors import DataError, ModelError
from rl4bio.functional.masking import pad_left, pad_right
from rl4bio.modules.batching import Rows, cut
from rl4bio.modules.conditions import learn_ranges, outside_ranges
from rl4bio.modules.engine_check import find_problem
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.molgpt.model import MolGPTConfig, MolGPTForCausalLM
from rl4bio.modules.molgpt.tokenizer import SmilesTokenizer
from rl4bio.modules.plain_logprobs import completion_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.modules.sft import demonstration_loss, encode_demonstrations
from rl4bio.sections import SFTConfig
from rl4bio.types import Completions, PromptBatch, Sample

LENGTH = 6
BLOCK = 24
SAMPLES = [
    Sample(
        uid=f"m{n}",
        prompt=prompt,
        demonstration=rest,
        extra={"prefix": prompt, "properties": properties, "scaffold": scaffold},
    )
    for n, (prompt, rest, properties, scaffold) in enumerate(
        [
            ("", "CCO", [0.3, -2.0], "c1ccccc1"[:6]),
            ("CC(", "=O)O", [-1.5, 0.25], ""),
            ("C", "#N", [2.0, 1.0], "CN"),
        ]
    )
]


def smiles_policy(properties: int = 2, scaffold: int = LENGTH, *, start: bool = True) -> Policy:
    """Two random layers; every weight is large enough that a mistake would show."""
    vocabulary = vocabulary_of(map(split_smiles, ["CC(=O)Oc1ccccc1C#N", "BrCCl", "n2cc2F"]))
    torch.manual_seed(properties + scaffold)
    config = MolGPTConfig(
        vocab_size=len(vocabulary),
        block_size=BLOCK,
        width=32,
        num_layers=2,
        num_heads=4,
        num_properties=properties,
        property_names=["qed", "logp"][:properties] or None,
        scaffold_length=scaffold,
        initializer_range=0.3,
        bos_token_id=vocabulary["<"] if start else None,
        eos_token_id=vocabulary["<"],
        pad_token_id=vocabulary["<"],
    )
    model = MolGPTForCausalLM._from_config(config, attn_implementation="eager")
    with torch.no_grad():
        model.pos_emb.normal_()
    tokenizer = SmilesTokenizer(vocabulary=vocabulary, bos_token="<" if start else None)
    return Policy(model=model.eval(), tokenizer=tokenizer, checkpoint="tiny")


def draw(policy: Policy, samples: list[Sample] = SAMPLES, **options: Any) -> Completions:
    settings: dict[str, Any] = {"group_size": 3, "max_new_tokens": 12, "temperature": 0.8}
    return sample_completions(
        policy,
        [policy.encode_prompt(sample.prompt) for sample in samples],
        seeds=list(range(len(samples))),
        conditions=policy.conditions(samples),
        **{**settings, **options},
    )


def by_hand(policy: Policy, sample: Sample, completion: list[int]) -> Tensor:
    """Log-probabilities of one completion from one unpadded row, its prefix in front."""
    prompt = policy.encode_prompt(sample.prompt)
    with torch.no_grad():
        logits = policy.model(
            input_ids=torch.tensor([[*prompt, *completion]]),
            use_cache=False,
            **policy.conditions([sample]),
        ).logits[0, len(prompt) - 1 : -1]
    steps = torch.log_softmax(logits.double() / 0.8, -1)
    return steps[torch.arange(len(completion)), torch.tensor(completion)].float()


@pytest.mark.parametrize(("properties", "scaffold"), [(2, 0), (0, LENGTH), (2, LENGTH)])
class TestLogprobs:
    def test_sampled_are_those_of_a_plain_forward(self, properties: int, scaffold: int) -> None:
        """Prompts of 1, 4 and 2 tokens (left padding), groups of 3, ragged completions."""
        policy = smiles_policy(properties, scaffold)
        found = draw(policy)
        assert len(set(found.lengths.tolist())) >= 2
        for n in range(9):
            ids = found.completion_ids[n][found.completion_mask[n]].tolist()
            exact = by_hand(policy, SAMPLES[n // 3], ids)
            torch.testing.assert_close(
                found.logprobs[n][found.completion_mask[n]], exact, rtol=0, atol=1e-5
            )
        given = policy.conditions(SAMPLES)
        assert found.conditions.keys() == given.keys()
        for name, value in found.conditions.items():
            assert torch.equal(value, given[name][[0, 0, 0, 1, 1, 1, 2, 2, 2]])

    def test_neither_company_nor_grouping_matters(self, properties: int, scaffold: int) -> None:
        policy = smiles_policy(properties, scaffold)
        together = draw(policy)
        for n, sample in enumerate(SAMPLES):
            alone = sample_completions(
                policy,
                [policy.encode_prompt(sample.prompt)],
                group_size=3,
                max_new_tokens=12,
                temperature=0.8,
                seeds=[n],
                conditions=policy.conditions([sample]),
            )
            assert alone.completions == together.completions[3 * n : 3 * n + 3]

    def test_prompts_run_once_give_the_same_numbers_and_gradients(
        self, properties: int, scaffold: int
    ) -> None:
        policy = smiles_policy(properties, scaffold)
        ids, mask = pad_left([policy.encode_prompt(s.prompt) for s in SAMPLES], policy.pad_id)
        tails, tail_mask = pad_right([[3, 4], [5] * 7, [6], [7, 2, 1]], policy.pad_id)
        index = torch.tensor([0, 2, 2, 1])
        weights = torch.linspace(-1, 2, tails.numel()).view_as(tails)

        def run(rows: Any, conditions: Any, prompt_index: Any = None) -> list[Tensor]:
            policy.model.zero_grad()
            logprobs, entropy = completion_logprobs(
                policy.model,
                ids[rows],
                mask[rows],
                tails,
                tail_mask,
                temperature=0.8,
                prompt_index=prompt_index,
                conditions=conditions,
            )
            (logprobs * weights).sum().backward()
            grads = [p.grad for p in policy.model.parameters() if p.grad is not None]
            return [logprobs, entropy, *grads]

        given = policy.conditions(SAMPLES)
        repeated = {name: value[index] for name, value in given.items()}
        apart = run(index, repeated)
        if properties:
            assert policy.model.prop_nn.weight.grad.abs().max() > 1e-3  # type: ignore
        everything = slice(None)
        for one, other in zip(run(everything, given, index), apart, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)
        exact = by_hand(policy, SAMPLES[1], [7, 2, 1])
        torch.testing.assert_close(apart[0][3, :3], exact, rtol=0, atol=1e-5)
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore
        policy.model.train()
        for module in policy.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.0  # type: ignore
        for one, other in zip(run(everything, given, index), apart, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)

    def test_the_engine_gives_the_same_numbers_and_gradients(
        self, properties: int, scaffold: int
    ) -> None:
        """Three prompts of other lengths in one row, each behind its own conditions."""
        policy = smiles_policy(properties, scaffold)
        assert find_problem(policy) == ""
        found = draw(policy)
        rows = Rows(
            prompt_ids=found.prompt_ids[::3],
            prompt_mask=found.prompt_mask[::3],
            prompt_index=torch.arange(3).repeat_interleave(3),
            completion_ids=found.completion_ids,
            completion_mask=found.completion_mask,
            conditions=policy.conditions(SAMPLES),
        )
        weights = torch.linspace(-1, 2, found.completion_ids.numel()).view_as(found.completion_ids)
        results = []
        for backend in ("engine", "generate"):
            policy.backend = backend  # type: ignore[assignment]
            policy.model.zero_grad()
            logprobs, entropy = row_logprobs(policy, rows, temperature=0.8)
            (logprobs * weights).sum().backward()
            gradients = [p.grad for p in policy.model.parameters() if p.grad is not None]
            results.append([logprobs, entropy, *gradients])
        assert len(results[0]) == len(results[1])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(results[0][0], found.logprobs, rtol=0, atol=1e-5)

    def test_the_engine_wants_the_conditions(self, properties: int, scaffold: int) -> None:
        policy = smiles_policy(properties, scaffold)
        policy.backend = "engine"
        with pytest.raises(ValueError, match="without conditions"):
            sample_completions(
                policy, [[1]], group_size=1, max_new_tokens=2, temperature=1.0, seeds=[0]
            )

    def test_a_full_block_can_be_sampled_and_scored(self, properties: int, scaffold: int) -> None:
        """1 prompt token and BLOCK sampled ones: the last of them needs no position."""
        policy = smiles_policy(properties, scaffold)
        head: Any = policy.model.head
        with torch.no_grad():  # "<" never comes, as its logit is that of a token that never comes
            head.weight[policy.pad_id] = 0
        head.register_forward_hook(
            lambda module, inputs, out: out.index_fill(-1, torch.tensor([policy.pad_id]), -1e4)
        )
        found = draw(policy, SAMPLES[:1], max_new_tokens=BLOCK)
        assert found.truncated.all()
        assert found.completion_ids.shape[1] == BLOCK
        rows = (found.prompt_ids, found.prompt_mask, found.completion_ids, found.completion_mask)
        scored, _ = completion_logprobs(
            policy.model, *rows, temperature=0.8, conditions=found.conditions
        )
        torch.testing.assert_close(scored, found.logprobs, rtol=0, atol=1e-5)
        with pytest.raises(ValueError, match="longer than the model's block of 24"):
            draw(policy, SAMPLES[:1], max_new_tokens=BLOCK + 1)


def test_conditions_matter() -> None:
    policy = smiles_policy()
    other = [
        Sample(uid=s.uid, prompt=s.prompt, extra={"properties": [0.0, 0.0], "scaffold": "FF"})
        for s in SAMPLES
    ]
    rows = [3, 4, 5]
    difference = by_hand(policy, SAMPLES[0], rows) - by_hand(policy, other[0], rows)
    assert difference.abs().max() > 0.1


class TestReading:
    def test_tensors_by_hand(self) -> None:
        policy = smiles_policy()
        found = policy.conditions(SAMPLES)
        properties = torch.tensor([[0.3, -2.0], [-1.5, 0.25], [2.0, 1.0]])
        assert torch.equal(found["properties"], properties)
        vocabulary = policy.tokenizer.get_vocab()
        end = vocabulary["<"]
        assert found["scaffold_ids"][1].tolist() == [end] * LENGTH
        assert found["scaffold_ids"][2].tolist() == [
            vocabulary["C"],
            vocabulary["N"],
            *[end] * (LENGTH - 2),
        ]

    def test_other_models_have_none(self, make_policy: Callable[..., Policy]) -> None:
        assert make_policy().conditions(SAMPLES) == {}
        assert make_policy(lora=True).conditions(SAMPLES) == {}
        assert smiles_policy(0, 0).conditions([Sample(uid="a", prompt="")]) == {}

    @pytest.mark.parametrize(
        ("extra", "message"),
        [
            ({"scaffold": "C"}, "sample a: the model is conditioned on qed, logp, and the sample "),
            ({"properties": [0.1], "scaffold": "C"}, "qed, logp, and the sample has 1 values"),
            ({"properties": [0.1, float("nan")], "scaffold": "C"}, "sample a: logp is nan, needs"),
            ({"properties": [0.1, 0.2]}, "sample a: the model is conditioned on a scaffold"),
            (
                {"properties": [0.1, 0.2], "scaffold": "CCCCCCC"},
                "sample a: scaffold 'CCCCCCC': has 7 tokens, the model takes 6",
            ),
            ({"properties": [0.1, 0.2], "scaffold": "CI"}, "'I' in 'CI' is not in the vocabulary"),
            ({"properties": [0.1, 0.2], "scaffold": "C!"}, "'!' at position 1"),
        ],
    )
    def test_errors_name_sample_and_cause(self, extra: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message):
            smiles_policy().conditions([Sample(uid="a", prompt="", extra=extra)])

    def test_empty_prompt_needs_a_start_token(self) -> None:
        assert len(smiles_policy().encode_prompt("")) == 1
        policy = smiles_policy(start=False)
        assert len(policy.encode_prompt("C")) == 1
        with pytest.raises(ModelError, match=r"no start token.*context to first_token or C"):
            policy.count_tokens("")


class TestTraining:
    @pytest.mark.parametrize("top_k", [None, 4])
    def test_micro_batches_do_not_change_the_gradient(
        self, top_k: int | None, make_grpo: Callable[..., Any], inside: Callable[..., Any]
    ) -> None:
        found: list[dict[str, Tensor]] = []

        class Recorder(GRPOLightningModule):
            def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
                named = self.model.named_parameters()
                found.append({n: p.grad.clone() for n, p in named if p.grad is not None})

        for tokens in (1, 40, 100_000):
            module = make_grpo(
                smiles_policy(), cls=Recorder, kl_coef=0.1, tokens_per_micro_batch=tokens
            )
            module.rollout.top_k = top_k

            def work(module: GRPOLightningModule) -> None:
                rollout = module.generate(PromptBatch(samples=SAMPLES, indices=[0, 1, 2]))
                # Step 0: checks ratio 1 and KL 0, with the conditions in policy and reference.
                experience = module.make_experience(rollout, module.score(rollout))
                assert experience.ref_logprobs is not None
                torch.testing.assert_close(
                    experience.ref_logprobs, rollout.logprobs, rtol=0, atol=1e-5
                )
                module.update(experience)

            inside(module, work)
        for gradients in found[:2]:
            assert "prop_nn.weight" in gradients
            for name, grad in gradients.items():
                torch.testing.assert_close(grad, found[2][name], rtol=1e-4, atol=2e-6)

    def test_validation_and_steps_run(
        self, make_grpo: Callable[..., Any], fit: Callable[..., Any]
    ) -> None:
        module = make_grpo(smiles_policy(), kl_coef=0.1)
        fit(module, steps=2, samples=SAMPLES, val_check_interval=1, check_val_every_n_epoch=None)
        assert module.iteration == 2
        with pytest.raises(DataError, match="conditioned on qed, logp"):
            fit(module, steps=3, samples=[Sample(uid="bare", prompt="C")])

    def test_a_wrong_condition_fails_the_self_check(
        self, make_grpo: Callable[..., Any], inside: Callable[..., Any]
    ) -> None:
        """The check above could fail: conditions of other rows are another policy."""
        module = make_grpo(smiles_policy())

        def work(module: GRPOLightningModule) -> None:
            rollout = module.generate(PromptBatch(samples=SAMPLES, indices=[0, 1, 2]))
            rollout.conditions = {k: v.flip(0) for k, v in rollout.conditions.items()}
            with pytest.raises(ModelError, match="ratio is not 1"):
                module.make_experience(rollout, module.score(rollout))

        inside(module, work)

    def test_rows_carry_each_prompts_conditions_once(self, make_grpo: Callable[..., Any]) -> None:
        module = make_grpo(smiles_policy())
        rollout = module.generate(PromptBatch(samples=SAMPLES, indices=[0, 1, 2]))
        rows = cut(rollout, torch.tensor([9, 4, 5]))
        given = module.policy.conditions(SAMPLES)
        for name, value in rows.conditions.items():
            assert torch.equal(value, given[name][[1, 2]])

    def test_demonstration_loss_is_the_models_own(self) -> None:
        policy = smiles_policy()
        rows = encode_demonstrations(policy, SAMPLES, SFTConfig())
        whole = demonstration_loss(policy.model, rows)
        pieces = [demonstration_loss(policy.model, rows.pick([n])) for n in range(3)]
        torch.testing.assert_close(sum(pieces), whole, rtol=1e-5, atol=1e-5)
        exact = 0.0
        for sample in SAMPLES:
            completion = policy.encode_completion(sample.demonstration)
            prompt = policy.encode_prompt(sample.prompt)
            ids = torch.tensor([[*prompt, *completion]])
            labels = ids.clone()
            labels[:, : len(prompt)] = -100
            out = policy.model(input_ids=ids, labels=labels, **policy.conditions([sample]))
            exact += float(out.loss.detach()) * len(completion)
        assert float(whole.detach()) == pytest.approx(exact, rel=1e-5)

    def test_demonstrations_beyond_the_positions_are_left_out(self) -> None:
        policy = smiles_policy(0, 0)
        samples = [Sample(uid="a", prompt="", demonstration="C" * n) for n in (23, 24)]
        rows = encode_demonstrations(policy, samples, SFTConfig())
        assert rows.mask.sum(-1).tolist() == [BLOCK + 1]  # start, 23 tokens, end
        assert torch.isfinite(demonstration_loss(policy.model, rows))
        with pytest.raises(DataError, match=r"sft.max_tokens=1024 and the model's 24 positions"):
            encode_demonstrations(policy, samples[1:], SFTConfig())


def test_ranges_of_training_and_what_lies_outside() -> None:
    """By hand: the ends of each column; a second training widens them."""
    config = MolGPTConfig(num_properties=2, property_names=["qed", "logp"])
    assert outside_ranges(config, [[9.0, 9.0]]) == []  # nothing recorded them
    learn_ranges(config, [[0.5, -1.0], [0.9, 3.0]])
    assert config.property_ranges == [[0.5, 0.9], [-1.0, 3.0]]
    assert outside_ranges(config, [[0.5, 3.0], [0.9, -1.0]]) == []
    lines = outside_ranges(config, [[0.6, 3.5], [0.95, 2.0], [0.1, 2.0]])
    assert [line.split(",")[0] for line in lines] == [
        "qed 0.1 to 0.95 (2 of 3 prompts) is outside 0.5 to 0.9",
        "logp 3.5 (1 of 3 prompts) is outside -1 to 3",
    ]
    learn_ranges(config, [[0.95, 0.0]])
    assert config.property_ranges == [[0.5, 0.95], [-1.0, 3.0]]
