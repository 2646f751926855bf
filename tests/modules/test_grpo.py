"""The training step: gradients, passes, refills, checks and metrics."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from rl4bio.errors import ConfigError, ModelError, NonFiniteError, RewardError
from rl4bio.functional.advantages import multi_reward_advantages
from rl4bio.modules import update as update_file
from rl4bio.modules.batching import micro_batches
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions, sampling_seed
from rl4bio.sections import AdapterConfig, OptimConfig
from rl4bio.types import Experience, LossTerms, PromptBatch, Sample, ScoreTable
from tests.modules.recording import Recorder, batch_of, experience_of

MakeGRPO = Callable[..., GRPOLightningModule]
Inside = Callable[..., Any]
KINDS = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")


class Pushed(Recorder):
    """After the first step the weights get a fixed push: the second pass has ratios off 1."""

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        if len(self.gradients) > 1:
            return
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name in self.gradients[0]:
                    parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))


class Constant:
    """The same reward for every completion of some samples; the share of e in the others."""

    def __init__(self, uids: Sequence[str]) -> None:
        self.uids = set(uids)
        self.seen: list[str] = []

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        self.seen += [sample.uid for sample in samples]
        total = [
            0.5 if sample.uid in self.uids else text.count("e") / max(1, len(text)) + len(text)
            for text, sample in zip(completions, samples, strict=True)
        ]
        return ScoreTable(total=total, parts={"part": list(total)}, weights={"part": 1.0})


def assert_equal_gradients(
    one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], *, factor: float = 1.0
) -> None:
    assert one.keys() == other.keys()
    largest = max(float(grad.abs().max()) for grad in other.values())
    assert largest > 1e-4
    for name, grad in one.items():
        difference = float((grad - factor * other[name]).abs().max())
        assert difference < 2e-6 * max(1.0, largest), name


class TestGradient:
    @pytest.mark.parametrize("kind", KINDS)
    def test_micro_batches_do_not_change_it(
        self, kind: str, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        """One row at a time up to all rows; at ratio 1 and, in the second pass, off 1."""
        found, counts = [], []
        for tokens in (1, 60, 100_000):
            module = make_grpo(
                cls=Pushed,
                loss=kind,
                clip_high=5.0 if kind == "cispo" else 0.28,
                kl_coef=0.1,
                mask_truncated=True,
                max_completion_tokens=30,
                updates_per_rollout=2,
                tokens_per_micro_batch=tokens,
            )

            def work(module: Recorder, tokens: int = tokens) -> LossTerms:
                experience = experience_of(module, four_samples)
                counts.append(len(micro_batches(experience.rollout, tokens, packed=False)))
                assert 0 < experience.rollout.truncated.sum() < 16
                return module.update(experience)

            terms = inside(module, work)
            found.append((module.gradients, terms))
        assert counts[0] == 16
        assert 1 < counts[1] < 16
        assert counts[2] == 1
        whole, whole_terms = found[-1]
        assert len(whole) == 2
        for gradients, terms in found[:-1]:
            for one, other in zip(gradients, whole, strict=True):
                assert_equal_gradients(one, other)
            for name in LossTerms.__slots__:
                torch.testing.assert_close(
                    getattr(terms, name), getattr(whole_terms, name), rtol=1e-4, atol=1e-6
                )

    def test_sequence_level(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        found = []
        for tokens in (1, 100_000):
            module = make_grpo(
                cls=Pushed, level="sequence", updates_per_rollout=2, tokens_per_micro_batch=tokens
            )
            inside(module, lambda m: m.update(experience_of(m, four_samples)))
            found.append(module.gradients)
        for one, other in zip(*found, strict=True):
            assert_equal_gradients(one, other)

    def test_is_the_policy_gradient(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        """On-policy dapo: -(1/T) sum_t A grad log p(x_t), from plain log_softmax rows."""
        module = make_grpo(cls=Pushed)
        kept: list[Experience] = []

        def work(module: Recorder) -> None:
            kept.append(experience_of(module, four_samples))
            # By hand first: the recorder moves the weights.
            rollout, model = kept[0].rollout, module.model
            model.zero_grad()
            loss = torch.zeros(())
            for n, advantage in enumerate(kept[0].advantages):
                prompt = rollout.prompt_ids[n][rollout.prompt_mask[n]]
                completion = rollout.completion_ids[n][rollout.completion_mask[n]]
                logits = model(input_ids=torch.cat([prompt, completion])[None]).logits[0]
                steps = torch.log_softmax(logits[len(prompt) - 1 : -1] / 0.9, -1)
                loss = loss - advantage * steps[torch.arange(len(completion)), completion].sum()
            (loss / rollout.completion_mask.sum()).backward()
            by_hand.update({n: p.grad.clone() for n, p in model.named_parameters()})  # type: ignore
            module.update(kept[0])

        by_hand: dict[str, torch.Tensor] = {}
        inside(module, work)
        assert_equal_gradients(module.gradients[0], by_hand)

    def test_follows_the_sign_of_the_advantages(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        found = []
        for sign in (1, -1):
            module = make_grpo(cls=Pushed)

            def work(module: Recorder, sign: int = sign) -> None:
                experience = experience_of(module, four_samples)
                experience.advantages *= sign
                module.update(experience)

            inside(module, work)
            found.append(module.gradients[0])
        assert_equal_gradients(found[0], found[1], factor=-1.0)

    def test_truncated_rows_can_be_left_out(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        """The same as advantage 0 for them, but for the denominator: kept tokens, not all."""
        found, tokens = [], []
        for mask_truncated in (True, False):
            module = make_grpo(cls=Pushed, mask_truncated=mask_truncated, max_completion_tokens=30)

            def work(module: Recorder, mask_truncated: bool = mask_truncated) -> None:
                experience = experience_of(module, four_samples)
                lengths = experience.rollout.completion_mask.sum(-1)
                kept = ~experience.rollout.truncated
                assert 0 < kept.sum() < 16
                tokens[:] = [float(lengths[kept].sum()), float(lengths.sum())]
                if not mask_truncated:
                    experience.advantages[experience.rollout.truncated] = 0.0
                module.update(experience)

            inside(module, work)
            found.append(module.gradients[0])
        assert_equal_gradients(found[0], found[1], factor=tokens[1] / tokens[0])

    @pytest.mark.parametrize("kind", KINDS)
    def test_groups_without_advantage_are_not_computed(
        self,
        kind: str,
        make_grpo: MakeGRPO,
        inside: Inside,
        four_samples: list[Sample],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Their gradient is 0, so leaving them out changes nothing; token means are of the rest."""
        found, rows_run = [], []
        for skipping in (True, False):
            module = make_grpo(cls=Pushed, loss=kind, clip_high=5.0 if kind == "cispo" else 0.28)
            if not skipping:
                monkeypatch.setattr(module, "groups_to_learn_from", lambda experience: None)

            def work(module: Recorder) -> LossTerms:
                experience = experience_of(module, four_samples)
                experience.advantages[4:12] = 0.0
                counted = [0]
                inner = update_file.row_logprobs

                def counting(policy: Any, rows: Any, **options: Any) -> Any:
                    counted[0] += len(rows.completion_ids) * torch.is_grad_enabled()
                    return inner(policy, rows, **options)

                with monkeypatch.context() as patch:
                    patch.setattr(update_file, "row_logprobs", counting)
                    terms = module.update(experience)
                rows_run.append(counted[0])
                return terms

            terms = inside(module, work)
            found.append((module.gradients[0], terms))
        assert rows_run == [8, 16]
        assert_equal_gradients(found[0][0], found[1][0])
        torch.testing.assert_close(found[0][1].total, found[1][1].total)
        assert float(found[0][1].ratio_mean) == pytest.approx(1.0)

    def test_one_group_is_left_where_none_teaches(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        module = make_grpo(cls=Pushed)

        def work(module: Recorder) -> list[int] | None:
            experience = experience_of(module, four_samples)
            experience.advantages *= 0.0
            module.update(experience)
            return module.groups_to_learn_from(experience)

        assert inside(module, work) == [0]
        assert all(not bool(grad.any()) for grad in module.gradients[0].values())

    def test_the_kl_term_needs_every_group(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        def work(module: GRPOLightningModule) -> list[int] | None:
            experience = experience_of(module, four_samples)
            experience.advantages *= 0.0
            return module.groups_to_learn_from(experience)

        assert inside(make_grpo(kl_coef=0.1), work) is None
        assert inside(make_grpo(entropy_coef=0.1, entropy_floor=1.0), work) is None

    def test_rewards_beside_the_reference_change_nothing(
        self,
        make_grpo: MakeGRPO,
        inside: Inside,
        four_samples: list[Sample],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What a GPU does, here on the CPU: the scorer runs in a thread of its own."""
        found = []
        for beside in (False, True):
            module = make_grpo(kl_coef=0.1)
            monkeypatch.setattr(
                GRPOLightningModule, "scores_beside_reference", property(lambda self, b=beside: b)
            )
            threads: list[bool] = []

            def spy(
                completions: Any, samples: Any, scorer: Any = module.scorer, seen: Any = threads
            ) -> Any:
                seen.append(threading.current_thread() is threading.main_thread())
                return scorer(completions, samples)

            module.scorer = spy
            step = type(module).training_step
            out = inside(module, lambda m, step=step: step(m, batch_of(four_samples), 0))
            assert threads == [not beside]
            found.append(out)
        one, two = (out["experience"] for out in found)
        assert torch.equal(one.ref_logprobs, two.ref_logprobs)
        assert torch.equal(one.advantages, two.advantages)

    def test_everything_truncated_changes_nothing(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer], weights_of: Any
    ) -> None:
        module = make_grpo(mask_truncated=True, max_completion_tokens=1)
        before = weights_of(module.model)
        trainer = fit(module)
        assert trainer.callback_metrics["rollout/truncated_fraction"] == 1
        assert trainer.callback_metrics["train/grad_norm"] == 0
        assert all(torch.equal(before[n], p) for n, p in module.model.named_parameters())


class TestSteps:
    def test_equal_rewards_leave_every_bit(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer], weights_of: Any
    ) -> None:
        module = make_grpo(scorer=Constant(["s0", "s1", "s2", "s3"]))
        before = weights_of(module.model)
        trainer = fit(module, steps=3)
        assert all(torch.equal(before[n], p) for n, p in module.model.named_parameters())
        assert trainer.callback_metrics["reward/zero_spread_fraction"] == 1

    def test_three_passes(
        self,
        make_grpo: MakeGRPO,
        fit: Callable[..., L.Trainer],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        seen: list[LossTerms] = []

        def spy(*args: Any, **options: Any) -> LossTerms:
            seen.append(real(*args, **options))
            return seen[-1]

        real = update_file.grpo_loss
        monkeypatch.setattr(update_file, "grpo_loss", spy)
        module = make_grpo(updates_per_rollout=3, optim=OptimConfig(lr=0.02))
        trainer = fit(module, steps=3)
        assert trainer.global_step == 3
        assert (module.iteration, module.draws) == (1, 2)
        assert [len(seen)] == [3]  # one micro-batch a pass
        ratios = [terms.ratio_mean.item() for terms in seen]
        assert ratios[0] == pytest.approx(1, abs=1e-6)
        assert abs(ratios[1] - 1) > 1e-3
        assert abs(ratios[2] - 1) > 1e-3
        assert seen[0].clip_fraction == 0
        assert seen[2].clip_fraction > 0
        # What is logged is the mean over the passes.
        mean = sum(terms.policy.item() for terms in seen) / 3
        assert trainer.callback_metrics["train/policy_loss"] == pytest.approx(mean, abs=1e-6)

    def test_the_learning_rate_rises_with_every_update(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer]
    ) -> None:
        """Two updates a step, 4 steps of warm-up: step 2 ends with the rate of update 4 of 8."""
        optim = OptimConfig(lr=0.8, warmup_steps=4, max_grad_norm=1e-9)
        trainer = fit(make_grpo(updates_per_rollout=2, optim=optim), steps=4)
        assert trainer.callback_metrics["train/lr"].item() == pytest.approx(0.4)

    def test_gradients_are_clipped_and_their_norm_is_logged(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer]
    ) -> None:
        found = []

        class Watch(L.Callback):
            def on_before_zero_grad(self, trainer: Any, module: Any, optimizer: Any) -> None:
                grads = [p.grad for p in module.model.parameters() if p.grad is not None]
                found.append([float(torch.stack([g.norm() for g in grads]).norm())] * bool(grads))

            def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
                self.on_before_zero_grad(trainer, module, None)

        limit = OptimConfig(lr=1e-3, max_grad_norm=0.01)
        trainer = fit(make_grpo(optim=limit), callbacks=[Watch()])
        assert found[-1][0] == pytest.approx(0.01, rel=1e-3)
        assert trainer.callback_metrics["train/grad_norm"] > 0.1
        trainer = fit(make_grpo(optim=OptimConfig(max_grad_norm=None)), callbacks=[Watch()])
        norm = trainer.callback_metrics["train/grad_norm"].item()
        assert found[-1][0] == pytest.approx(norm, rel=1e-4)

    @pytest.mark.parametrize("family", ["gpt2", "gemma3"])
    def test_dropout_never_splits_the_policy(
        self,
        family: str,
        make_policy: Callable[..., Policy],
        make_grpo: MakeGRPO,
        inside: Inside,
        four_samples: list[Sample],
    ) -> None:
        """GPT-2 has dropout of its own, the adapter of the other one 0.5: both are off."""
        adapter = AdapterConfig(rank=4, dropout=0.5) if family == "gemma3" else None
        module = make_grpo(make_policy(family, adapter=adapter))

        def work(module: GRPOLightningModule) -> float:
            assert module.model.training
            for parameter in module.policy.trainable_parameters():
                parameter.data.add_(0.05 * torch.randn_like(parameter))
            rollout = module.generate(batch_of(four_samples))
            rows = update_file.cut(rollout, torch.arange(16))
            logprobs, _ = update_file.row_logprobs(module.policy, rows, temperature=0.9)
            return float((logprobs.detach() - rollout.logprobs).abs().max())

        assert inside(module, work) < 1e-4

    def test_global_position_seeds_the_noise(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        def work(module: GRPOLightningModule) -> list[list[str]]:
            whole = batch_of(four_samples)
            half = PromptBatch(samples=whole.samples[2:], indices=whole.indices[2:])
            later = PromptBatch(samples=whole.samples[2:], indices=[6, 7])
            return [
                module.generate(whole).completions[8:],
                module.generate(half).completions,
                module.generate(half, round_number=1).completions,
                module.generate(later).completions,
            ]

        whole, half, next_round, later = inside(make_grpo(), work)
        assert half == whole  # a second rank would sample the same
        assert next_round != whole
        assert later != whole

    def test_sampling_seeds(self) -> None:
        seeds = {sampling_seed(s, d, r) for s in range(3) for d in range(50) for r in range(3)}
        assert len(seeds) == 450
        assert max(seeds) < 2**63
        assert sampling_seed(1, 2, 0) == sampling_seed(1, 2, 0)


class TestRefill:
    @staticmethod
    def watched(module: GRPOLightningModule) -> list[tuple[int, list[str], list[int]]]:
        """The batches that are sampled from now on: round, samples, draws."""
        calls: list[tuple[int, list[str], list[int]]] = []
        real = module.generate

        def generate(batch: PromptBatch, *, round_number: int = 0) -> Any:
            calls.append((round_number, [s.uid for s in batch.samples], list(batch.indices)))
            return real(batch, round_number=round_number)

        module.generate = generate  # type: ignore[method-assign]
        return calls

    @staticmethod
    def outputs_of(module: GRPOLightningModule) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        real = module.training_step

        def training_step(batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
            found.append(real(batch, batch_idx))
            return found[-1]

        module.training_step = training_step  # type: ignore[method-assign]
        return found

    def test_silent_groups_are_replaced(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer]
    ) -> None:
        module = make_grpo(scorer=Constant(["s0", "s1"]), refill_rounds=10)
        calls, outputs = self.watched(module), self.outputs_of(module)
        trainer = fit(module, batch_size=4)
        rollout, scores = outputs[0]["rollout"], outputs[0]["scores"]
        # Draws 0..3 are the four samples in some order; s0 and s1 teach nothing.
        assert sorted(calls[0][1]) == ["s0", "s1", "s2", "s3"]
        silent = [n for n in range(4) if calls[0][1][n] in ("s0", "s1")]
        assert calls[1][2] == silent
        assert [call[0] for call in calls] == list(range(len(calls)))
        assert len(calls) <= 11
        # The first two groups are the ones kept, in order; B groups stay, none of them silent.
        uids = [sample.uid for sample in rollout.samples]
        assert uids[:2] == [uid for uid in calls[0][1] if uid not in ("s0", "s1")]
        assert len(uids) == 4
        assert set(uids) <= {"s2", "s3"}
        assert trainer.callback_metrics["reward/zero_spread_fraction"] == 0
        assert len(scores.total) == len(rollout.completions) == 16
        assert len(outputs[0]["experience"].advantages) == 16
        # A replaced prompt that was drawn before samples anew.
        texts = {tuple(rollout.completions[n : n + 4]) for n in range(0, 16, 4)}
        assert len(texts) == 4
        # Rewards and rows stayed together.
        again = Constant(["s0", "s1"])(rollout.completions, rollout.row_samples)
        torch.testing.assert_close(torch.tensor(again.total), scores.total)

    def test_the_cap_holds(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer], weights_of: Any
    ) -> None:
        module = make_grpo(scorer=Constant(["s0", "s1", "s2", "s3"]), refill_rounds=2)
        calls, outputs = self.watched(module), self.outputs_of(module)
        before = weights_of(module.model)
        fit(module)
        assert [call[0] for call in calls] == [0, 1, 2]
        assert all(len(call[1]) == 2 for call in calls)
        assert len(outputs[0]["rollout"].samples) == 2
        assert outputs[0]["experience"].advantages.eq(0).all()
        assert all(torch.equal(before[n], p) for n, p in module.model.named_parameters())

    def test_nothing_is_refilled_without_need(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer]
    ) -> None:
        module = make_grpo(scorer=Constant([]), refill_rounds=3)
        calls = self.watched(module)
        fit(module, steps=2)
        assert [call[0] for call in calls] == [0, 0]

    def test_an_unscorable_replacement_is_no_reason_to_stop(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer]
    ) -> None:
        """One spare prompt without a target must not end a run whose other groups are scored."""

        def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
            fresh = len(completions) < 8
            values = [
                math.nan if fresh or sample.uid == "s0" else float(n % 4)
                for n, sample in enumerate(samples)
            ]
            return ScoreTable(total=values, parts={"part": values}, weights={"part": 1.0})

        module = make_grpo(scorer=scorer, refill_rounds=1)
        trainer = fit(module, batch_size=4)
        assert trainer.callback_metrics["reward/unscored_fraction"] == pytest.approx(0.25)

    def test_needs_a_data_module(
        self, make_grpo: MakeGRPO, four_samples: list[Sample], tmp_path: Any
    ) -> None:
        module = make_grpo(refill_rounds=1)
        trainer = L.Trainer(
            accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        with pytest.raises(ConfigError, match=r"grpo\.refill_rounds"):
            trainer.fit(module, DataLoader([batch_of(four_samples)], batch_size=None))


class TestChecks:
    def test_a_wrong_reference_stops_the_run(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer], weights_of: Any
    ) -> None:
        module = make_grpo(kl_coef=0.1)
        assert module.reference is not None
        assert module.reference._start is not None
        embeddings: Any = module.model.get_input_embeddings()  # type: ignore[operator]
        trained = [p is embeddings.weight for p in module.policy.trainable_parameters()]
        module.reference._start[trained.index(True)].mul_(1.1)
        before = weights_of(module.model)
        with pytest.raises(ModelError, match=r"self-check: the policy is .* from its reference"):
            fit(module)
        assert all(torch.equal(before[n], p) for n, p in module.model.named_parameters())

    def test_a_sampler_at_another_temperature_stops_the_run(
        self,
        make_grpo: MakeGRPO,
        fit: Callable[..., L.Trainer],
    ) -> None:
        def hotter(**options: Any) -> GRPOLightningModule:
            module = make_grpo(**options)
            sampler = module.sampler
            module.sampler = lambda *args, temperature, **rest: sampler(
                *args, temperature=temperature * 1.2, **rest
            )
            return module

        with pytest.raises(ModelError, match="importance ratio is not 1"):
            fit(hotter())
        fit(hotter(self_check=False))

    def test_bfloat16_rollouts_are_corrected(
        self, make_policy: Callable[..., Policy], make_grpo: MakeGRPO, fit: Callable[..., L.Trainer]
    ) -> None:
        """Sampled and trained log-probabilities differ; weights near 1 make up for it."""
        policy = make_policy(lora=True)
        policy.backend = "engine"
        module = make_grpo(policy, rollout_dtype="bf16")
        seen: list[torch.Tensor] = []
        inner = module.correction

        def spy(old: Any, sampled: Any, mask: Any) -> Any:
            weights = inner(old, sampled, mask)
            assert weights is not None
            torch.testing.assert_close(weights[mask], (old - sampled).exp().clamp(max=2.0)[mask])
            seen.append(weights[mask])
            return weights

        module.correction = spy  # type: ignore[method-assign]
        trainer = fit(module)
        assert 0 < trainer.callback_metrics["train/sampling_gap_nats"] < 0.1
        assert 0 < float((torch.cat(seen) - 1).abs().max()) < 0.5
        assert make_grpo().correction(seen[0], seen[0], seen[0] > 0) is None

    def test_nothing_scored(self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer]) -> None:
        def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
            values = [math.nan] * len(completions)
            return ScoreTable(total=values, parts={"verdict": values}, weights={"verdict": 1.0})

        with pytest.raises(RewardError, match=r"none of the 8 completions of step 1 .*verdict"):
            fit(make_grpo(scorer=scorer))

    def test_a_nan_weight_stops_before_any_update(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer], weights_of: Any
    ) -> None:
        module = make_grpo()
        module.model.get_input_embeddings().weight.data[40, 3] = math.nan  # type: ignore
        before = weights_of(module.model)
        with pytest.raises(NonFiniteError):
            fit(module)
        for name, parameter in module.model.named_parameters():
            torch.testing.assert_close(parameter, before[name], rtol=0, atol=0, equal_nan=True)

    def test_a_non_finite_loss_updates_nothing(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample], weights_of: Any
    ) -> None:
        module = make_grpo()
        before = weights_of(module.model)

        def work(module: GRPOLightningModule) -> None:
            experience = experience_of(module, four_samples)
            experience.advantages[5] = math.inf
            module.update(experience)

        with pytest.raises(NonFiniteError, match=r"the loss is .*nothing was updated"):
            inside(module, work)
        assert all(torch.equal(before[n], p) for n, p in module.model.named_parameters())

    def test_a_non_finite_gradient_updates_nothing(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer], weights_of: Any
    ) -> None:
        module = make_grpo()
        before = weights_of(module.model)
        next(iter(module.model.parameters())).register_hook(lambda grad: grad * math.nan)
        with pytest.raises(NonFiniteError, match=r"gradient norm is nan.*nothing was updated"):
            fit(module)
        assert all(torch.equal(before[n], p) for n, p in module.model.named_parameters())


class TestAdvantages:
    def test_batch_scale(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        def work(module: GRPOLightningModule) -> tuple[torch.Tensor, torch.Tensor]:
            scores = module.score(module.generate(batch_of(four_samples)))
            return scores.total, module.advantages(scores)

        rewards, advantages = inside(make_grpo(advantage_scale="batch"), work)
        centred = (rewards.view(4, 4) - rewards.view(4, 4).mean(1, keepdim=True)).flatten()
        torch.testing.assert_close(advantages, centred / (rewards.std() + 1e-4))

    def test_each_reward_normalised_first(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        def work(module: GRPOLightningModule) -> tuple[Any, torch.Tensor]:
            scores = module.score(module.generate(batch_of(four_samples)))
            return scores, module.advantages(scores)

        scores, advantages = inside(make_grpo(combine="normalize_then_sum"), work)
        parts = torch.stack([scores.parts["letter"], scores.parts["short"]])
        wanted = multi_reward_advantages(parts, torch.tensor([1.0, 0.5]), 4)
        torch.testing.assert_close(advantages, wanted)
        assert (advantages != 0).any()


class TestMetrics:
    def test_names_and_values(self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer]) -> None:
        module = make_grpo(kl_coef=0.05)
        outputs = TestRefill.outputs_of(module)
        metrics = fit(module, steps=2).callback_metrics
        names = {
            *(f"train/{n}" for n in ("loss", "policy_loss", "kl", "clip_fraction", "ratio_mean")),
            *(f"train/{n}" for n in ("entropy", "grad_norm", "lr")),
            *(f"reward/{n}" for n in ("total_mean", "total_std", "letter_mean", "short_mean")),
            *("reward/zero_spread_fraction", "rollout/completion_tokens_mean"),
            *("rollout/truncated_fraction", "time/generate_s", "time/score_s", "time/update_s"),
        }
        assert names <= set(metrics)
        rollout, scores = outputs[1]["rollout"], outputs[1]["scores"]
        lengths = rollout.completion_mask.sum(-1).float()
        expected = {
            "reward/total_mean": scores.total.mean(),
            "reward/total_std": scores.total.std(),
            "reward/letter_mean": scores.parts["letter"].mean(),
            "rollout/completion_tokens_mean": lengths.mean(),
            "rollout/truncated_fraction": rollout.truncated.float().mean(),
            "train/ratio_mean": torch.tensor(1.0),
            "train/lr": torch.tensor(1e-3),
            "step": torch.tensor(2.0),
        }
        for name, value in expected.items():
            assert metrics[name].item() == pytest.approx(value.item(), abs=1e-5), name
        assert metrics["train/kl"] > 0
        total = metrics["train/policy_loss"] + 0.05 * metrics["train/kl"]
        assert metrics["train/loss"].item() == pytest.approx(total.item(), abs=1e-5)

    def test_unscored_rows_count_nowhere(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer]
    ) -> None:
        def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
            values = [math.nan if n % 4 == 0 else float(n % 4) for n in range(len(completions))]
            return ScoreTable(total=values, parts={"part": values}, weights={"part": 1.0})

        module = make_grpo(scorer=scorer)
        outputs = TestRefill.outputs_of(module)
        metrics = fit(module).callback_metrics
        assert metrics["reward/total_mean"] == 2  # of 1, 2, 3
        assert metrics["reward/unscored_fraction"] == 0.25
        assert outputs[0]["experience"].advantages[::4].eq(0).all()
        assert math.isfinite(metrics["train/loss"])


class TestValidation:
    def test_every_item_counts_once(
        self, make_grpo: MakeGRPO, fit: Callable[..., L.Trainer], four_samples: list[Sample]
    ) -> None:
        """Batches of 3 and 1; the mean is over four items, not over two batches."""
        scorer = Constant([])
        module = make_grpo(scorer=scorer, optim=OptimConfig(lr=1e-12))
        fit(
            module, batch_size=3, val_check_interval=1, check_val_every_n_epoch=None,
            max_epochs=-1,
        )  # fmt: skip
        trained = 3 * 4
        assert sorted(scorer.seen[trained:]) == ["s0", "s1", "s2", "s3"]
        greedy = sample_completions(
            module.policy,
            [module.policy.encode_prompt(sample.prompt) for sample in four_samples],
            group_size=1,
            max_new_tokens=8,
            temperature=1.0,
            seeds=None,
        )
        values = Constant([])(greedy.completions, four_samples).total
        metrics = module.trainer.callback_metrics
        assert metrics["val/reward_mean"].item() == pytest.approx(sum(values) / 4, rel=1e-6)
        assert metrics["val/part_mean"].item() == pytest.approx(sum(values) / 4, rel=1e-6)
        truncated = greedy.truncated.float().mean().item()
        assert metrics["val/truncated_fraction"].item() == pytest.approx(truncated)


class TestFewCalls:
    """Options for few scored completions, in the whole module."""

    def test_the_best_share_alone_has_an_advantage(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        def work(module: GRPOLightningModule) -> tuple[torch.Tensor, torch.Tensor]:
            found = experience_of(module, four_samples)
            return found.advantages, module.score(found.rollout).total

        found, total = inside(make_grpo(best_share=0.5, advantage_scale="rank"), work)
        left_out = 0
        for gains, rewards in zip(found.view(4, 4), total.view(4, 4), strict=True):
            worse = rewards < rewards.sort(descending=True).values[1]
            assert (gains[worse] == 0).all()
            assert gains[rewards.argmax()] == gains.max()
            assert bool(gains.any()) == bool(rewards.min() < rewards.max())
            left_out += int(worse.sum())
        assert left_out

    def test_a_floor_raises_the_entropy(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        """Without advantages the entropy term alone moves the policy, up to its floor."""

        def work(module: GRPOLightningModule) -> list[float]:
            experience = experience_of(module, four_samples)
            experience.advantages *= 0.0
            return [float(module.update(experience).entropy) for _ in range(4)]

        options = {"entropy_coef": 1.0, "optim": OptimConfig(lr=1e-3)}
        rising = inside(make_grpo(entropy_floor=50.0, **options), work)
        assert rising == sorted(rising)
        assert rising[-1] > rising[0] + 1e-3
        level = inside(make_grpo(entropy_floor=1e-3, **options), work)
        assert level == pytest.approx([rising[0]] * 4, abs=1e-5)

    def test_augmented_likelihood(
        self, make_grpo: MakeGRPO, inside: Inside, four_samples: list[Sample]
    ) -> None:
        """Before the first update policy and prior agree: what is left is sigma * reward."""

        def work(module: GRPOLightningModule) -> tuple[Experience, torch.Tensor]:
            found = experience_of(module, four_samples)
            return found, module.score(found.rollout).total

        found, total = inside(make_grpo(augmented_sigma=20.0), work)
        torch.testing.assert_close(found.advantages, 20 * total, atol=2e-3, rtol=0)
        assert found.ref_logprobs is not None
