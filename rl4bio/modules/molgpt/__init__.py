"""MolGPT: a GPT over SMILES tokens; importing this registers its classes with transformers."""

from rl4bio.modules.molgpt.layers import MolGPTConfig
from rl4bio.modules.molgpt.model import MolGPTForCausalLM
from rl4bio.modules.molgpt.tokenizer import SmilesTokenizer

__all__ = ["MolGPTConfig", "MolGPTForCausalLM", "SmilesTokenizer"]
