"""Words, sentences, and text that is safe to show."""

from rl4bio.text.sentences import chat, sentences

__all__ = ["chat", "sentences"]
