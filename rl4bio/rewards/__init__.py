"""Rewards: text in, one number per completion out. A new one is a file here and a line below."""

from rl4bio.registry import Registry
from rl4bio.rewards.base import Reward

_MOLECULES = "rl4bio.rewards.molecules"

OBJECTIVES = (
    "albuterol_similarity",
    "amlodipine_mpo",
    "aripiprazole_similarity",
    "celecoxib_rediscovery",
    "deco_hop",
    "fexofenadine_mpo",
    "isomers_c11h24",
    "isomers_c7h8n2o2",
    "isomers_c9h10n2o2pf2cl",
    "median1",
    "median2",
    "mestranol_similarity",
    "osimertinib_mpo",
    "perindopril_mpo",
    "ranolazine_mpo",
    "scaffold_hop",
    "sitagliptin_mpo",
    "thiothixene_rediscovery",
    "troglitazone_rediscovery",
    "valsartan_smarts",
    "zaleplon_mpo",
)
"""Benchmark objectives, each a reward of this name; rl4bio/chem/objectives.py defines them."""

REWARDS: Registry[Reward] = Registry(
    "reward",
    {
        "verdict": "rl4bio.rewards.verdict:VerdictReward",
        "choice": "rl4bio.rewards.choice:ChoiceReward",
        "option": "rl4bio.rewards.option:OptionReward",
        "bin": "rl4bio.rewards.bin:BinReward",
        "reactants": "rl4bio.rewards.reactants:ReactantsReward",
        "structure": "rl4bio.rewards.structure:StructureReward",
        "tags": "rl4bio.rewards.structure:StructureReward",  # its name in mixes of medical rewards
        "grounding": "rl4bio.rewards.evidence.grounding:GroundingReward",
        "long_answer": "rl4bio.rewards.evidence.long_answer:LongAnswerReward",
        "semantic": "rl4bio.rewards.meaning.semantic:SemanticReward",
        "perplexity": "rl4bio.rewards.meaning.perplexity:PerplexityReward",
        "medical_mix": "rl4bio.rewards.medical_mix:MedicalMixReward",
        "length": "rl4bio.rewards.length:LengthReward",
        "validity": f"{_MOLECULES}.properties:ValidityReward",
        "qed": f"{_MOLECULES}.properties:QEDReward",
        "logp": f"{_MOLECULES}.properties:LogPReward",
        "sa": f"{_MOLECULES}.properties:SAReward",
        "tpsa": f"{_MOLECULES}.properties:TPSAReward",
        "molecular_weight": f"{_MOLECULES}.properties:MolecularWeightReward",
        "similarity": f"{_MOLECULES}.similarity:SimilarityReward",
        "novelty": f"{_MOLECULES}.novelty:NoveltyReward",
        "affinity": f"{_MOLECULES}.affinity:AffinityReward",
        "diversity": f"{_MOLECULES}.diversity:DiversityReward",
        "scaffold_diversity": f"{_MOLECULES}.diversity:ScaffoldDiversityReward",
        "smarts": f"{_MOLECULES}.patterns:SmartsReward",
        "lipinski": f"{_MOLECULES}.patterns:LipinskiReward",
        "pains": f"{_MOLECULES}.patterns:PainsReward",
        "external": f"{_MOLECULES}.external:ExternalReward",
        "combined": f"{_MOLECULES}.combined:CombinedReward",
        **{name: f"{_MOLECULES}.objectives:{name}" for name in OBJECTIVES},
    },
)

__all__ = ["REWARDS", "Reward"]
