"""The fast path: prompts computed once, nothing padded, full logits never held.

The plain path (`rl4bio.modules.rollout`, `rl4bio.modules.plain_logprobs`) computes the same numbers
with a model's own attention; it is what this one is tested against, and what takes over for models
that do not go through transformers' attention interface.
"""
