"""Build rl4bio:gemma3-nano: tokenizer, random Gemma 3 weights, then supervised fine-tuning.

python -m experiments.gemma3_nano.warm_start --pubmedqa ori_pqal.json --output OUT [--minutes 60]
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, IterableDataset

from experiments.gemma3_nano.mix import WarmStartMix
from experiments.gemma3_nano.model import new_model, save, train_tokenizer
from rl4bio.data.pubmedqa.corpus import PubMedQACorpus
from rl4bio.modules.optim import build_optimizer
from rl4bio.modules.policy import Policy
from rl4bio.modules.sft import Demonstrations, SFTLightningModule
from rl4bio.sections import OptimConfig, SFTConfig
from rl4bio.types import PromptBatch

COPY_FRACTION = 0.12  # of the training time: how long copying is practised alone
VERDICT_WEIGHT = 4.0


class Phases(IterableDataset[PromptBatch]):
    """Batches of about `tokens` tokens; the mix depends on the share of the time that is used."""

    def __init__(self, mix: WarmStartMix, policy: Policy, *, tokens: int, clock: Clock) -> None:
        self.mix, self.policy, self.tokens, self.clock = mix, policy, tokens, clock

    def __iter__(self) -> Iterator[PromptBatch]:
        copying = self.mix.samples(copy=0.9, real=0.01)
        reading = self.mix.samples(copy=0.14, real=0.02)
        while True:
            stream = copying if self.clock.used() < COPY_FRACTION else reading
            samples, total = [], 0
            while total < self.tokens:
                sample = next(stream)
                total += self.policy.count_tokens(sample.prompt) + 40
                samples.append(sample)
            yield PromptBatch(samples=sorted(samples, key=lambda s: len(str(s.prompt))))


class Clock:
    """Share of the planned training time that is used up."""

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * minutes
        self.start: float | None = None

    def used(self) -> float:
        if self.start is None:
            self.start = time.perf_counter()
        return min(1.0, (time.perf_counter() - self.start) / self.seconds)


class WarmStart(SFTLightningModule):
    """The framework's SFT with Muon, a learning rate by the clock, and a heavier verdict token."""

    def __init__(self, policy: Policy, *, clock: Clock, lr: float) -> None:
        sft = SFTConfig(max_tokens=1400, prompt_loss_weight=0.2, tokens_per_micro_batch=4096)
        optim = OptimConfig(name="muon", lr=lr, muon_lr=lr, betas=[0.9, 0.98], weight_decay=0.01)
        super().__init__(policy, sft=sft, optim=optim, max_steps=10**9)
        self.clock = clock
        vocabulary = policy.tokenizer.get_vocab()
        self.answer_id = vocabulary["<answer>"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        named = self.model.named_parameters()
        return build_optimizer(named, self.optim, muon_scale="match_rms_adamw")

    def learning_rate_share(self) -> float:
        return min(1.0, (self.iteration + 1) / 40) * (1 - 0.95 * self.clock.used())

    def _encode(self, batch: PromptBatch) -> Demonstrations:
        rows = super()._encode(batch)
        verdicts = (rows.ids[:, :-1] == self.answer_id) & (rows.weights[:, :-1] == 1)
        rows.weights[:, 1:][verdicts] = VERDICT_WEIGHT
        return rows


class StopByClock(L.Callback):
    """Ends the run when its time is used up; prints the loss and saves weights now and then."""

    def __init__(self, clock: Clock, output: Path) -> None:
        self.clock, self.output = clock, output

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, *_: Any) -> None:
        if module.iteration % 50 == 0:
            loss = float(trainer.callback_metrics["train/loss"])
            print(
                f"step {module.iteration} used {self.clock.used():.2f} loss {loss:.3f}", flush=True
            )
        if module.iteration % 500 == 0:
            save(copy.deepcopy(module.model), module.policy.tokenizer, self.output / "latest")
        if self.clock.used() >= 1.0:
            trainer.should_stop = True


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pubmedqa", required=True, help="ori_pqal.json; only cv records are read")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=3600, help="tokens of a batch")
    parser.add_argument("--precision", default="bf16-mixed")
    args = parser.parse_args(argv)
    L.seed_everything(args.seed, verbose=False)
    corpus = PubMedQACorpus(source=args.pubmedqa, val_size=0, open_block=False)
    records = list(corpus.samples("train"))
    tokenizer = train_tokenizer(records, seed=args.seed)
    model = new_model(tokenizer, seed=args.seed)
    model.set_attn_implementation("eager")  # the fastest backward on a CPU at this size
    policy = Policy(model=model, tokenizer=tokenizer, checkpoint="")
    clock = Clock(args.minutes)
    module = WarmStart(policy, clock=clock, lr=args.lr)
    phases = Phases(WarmStartMix(records, seed=args.seed), policy, tokens=args.tokens, clock=clock)
    trainer = L.Trainer(
        accelerator="cpu",
        precision=args.precision,
        max_steps=-1,
        callbacks=[StopByClock(clock, args.output)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(phases, batch_size=None))
    save(model, tokenizer, args.output)
    shutil.rmtree(args.output / "latest", ignore_errors=True)
    facts = {"steps": module.iteration, "minutes": args.minutes, "seed": args.seed, "lr": args.lr}
    (args.output / "training.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
