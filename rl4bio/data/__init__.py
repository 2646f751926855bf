"""Corpora: files in, samples (text) out. A new one is a file here and a line below.

`rl4bio.data.module` wraps a corpus in a LightningDataModule; this package itself imports neither
torch nor lightning.
"""

from rl4bio.data.base import Corpus
from rl4bio.registry import Registry

CORPORA: Registry[Corpus] = Registry(
    "data",
    {
        "decoration": "rl4bio.data.smiles.decoration:DecorationCorpus",
        "medical_reasoning": "rl4bio.data.medical.corpus:MedicalReasoningCorpus",
        "pubmedqa": "rl4bio.data.pubmedqa.corpus:PubMedQACorpus",
        "smiles": "rl4bio.data.smiles.corpus:SmilesCorpus",
        "therapeutics": "rl4bio.data.therapeutics.corpus:TherapeuticsCorpus",
        "trials": "rl4bio.data.synthetic.trials:TrialsCorpus",
    },
)

__all__ = ["CORPORA", "Corpus"]
