"""What a tokenizer of strangers may cost: the length of its texts, the time of its template."""

from __future__ import annotations

import json
from typing import Any

from rl4bio.errors import ModelError
from rl4bio.files.deadline import within

MAX_GROWTH = 100
"""Times the length; Unicode's own forms reach 18."""
TEMPLATE_S = 30.0
"""For a turn of one word, which takes a thousandth of a second."""


def check_template(tokenizer: Any, key: str) -> None:
    """Refuse a chat template that does not come to an end.

    One that fails is none of this function's business: it may take other turns.

    Raises:
        ModelError: it is still at it after TEMPLATE_S.
    """
    turns = [{"role": "user", "content": "hello"}]
    if not getattr(tokenizer, "chat_template", None):
        return
    try:
        within(TEMPLATE_S, tokenizer.apply_chat_template, turns, tokenize=False)
    except TimeoutError:
        raise ModelError(
            f"{key}: refused: its chat template has not ended after {TEMPLATE_S:g} s; choose "
            "another model"
        ) from None
    except Exception:
        return


def check_growth(tokenizer: Any, key: str) -> None:
    """Refuse a tokenizer whose replacements, one after the other, would fill the memory.

    Raises:
        ModelError: names the part, and how much longer it may make a text.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    for part in ("normalizer", "decoder"):
        step = getattr(backend, part, None)
        if step is None:
            continue
        growth = _growth(json.loads(step.__getstate__()))
        if growth > MAX_GROWTH:
            raise ModelError(
                f"{key}: tokenizer.json: refused: its {part} may make a text {growth:.0e} times "
                f"as long, at most {MAX_GROWTH}; choose another model"
            )


def _growth(step: Any) -> float:
    """Of one part of a tokenizer, the product over what it is a sequence of."""
    if not isinstance(step, dict):
        return 1.0
    if step.get("type") == "Replace":
        pattern = step.get("pattern", {}).get("String") or " "
        return max(1.0, len(str(step.get("content", ""))) / len(pattern))
    product = 1.0
    for inner in [*step.get("normalizers", []), *step.get("decoders", [])]:
        product *= _growth(inner)
    return product
