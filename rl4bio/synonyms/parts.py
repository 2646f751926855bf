"""What other programs call rewards, corpora, callbacks and commands. Data alone."""

from __future__ import annotations

_FORM = "structure (tags in the right form)"
_LABEL = "verdict (yes, no, maybe), choice (the right option) or option (one of two)"
_EXTERNAL = "external (a score from your own program or service, docs/external_scorers.md)"
_QUESTIONS = "medical_reasoning with data.options.sources"
_MOLECULES = "smiles with data.options.source"
_LOGGER = "no callback: logging.loggers=[wandb] (csv, mlflow, tensorboard)"
_CHECKPOINT = "no callback: trainer.save_every_steps and trainer.keep_checkpoints"
_SHOWN = "no callback: it is always on"

PARTS: dict[str, dict[str, str]] = {
    "reward": {
        **dict.fromkeys(("docking", "vina", "autodock", "gnina", "smina", "boltz"), _EXTERNAL),
        **dict.fromkeys(("docking_score", "binding", "admet", "oracle", "http"), _EXTERNAL),
        **dict.fromkeys(("accuracy", "correctness", "correct", "exact_match"), _LABEL),
        **dict.fromkeys(("answer", "answer_match", "label", "accuracy_reward"), _LABEL),
        **dict.fromkeys(("format", "format_reward", "think_format", "xml_format"), _FORM),
        **dict.fromkeys(("think_format_reward", "soft_format", "strict_format"), _FORM),
        **dict.fromkeys(("tanimoto", "fingerprint", "ecfp", "morgan"), "similarity"),
        **dict.fromkeys(("druglikeness", "drug_likeness"), "qed"),
        **dict.fromkeys(("synthesizability", "synthetic_accessibility", "sas"), "sa"),
        **dict.fromkeys(("valid", "validness", "valid_smiles"), "validity"),
        **dict.fromkeys(("mw", "mol_weight", "weight"), "molecular_weight"),
        **dict.fromkeys(("rule_of_five", "ro5"), "lipinski"),
        **dict.fromkeys(("unique", "uniqueness"), "diversity"),
        **dict.fromkeys(("novel", "unseen"), "novelty"),
        **dict.fromkeys(("pic50", "ic50", "pkd", "activity", "egfr"), "affinity"),
        **dict.fromkeys(("scaffold", "substructure"), "smarts, similarity or scaffold_diversity"),
        **dict.fromkeys(("bertscore", "embedding", "sentence_similarity", "cosine"), "semantic"),
        **dict.fromkeys(("rouge", "bleu"), "long_answer, or semantic for closeness in meaning"),
        **dict.fromkeys(("fluency", "ppl"), "perplexity"),
        **dict.fromkeys(("mcq", "multiple_choice", "letter"), "choice"),
        **dict.fromkeys(("length_penalty", "response_length", "overlong"), "length"),
        **dict.fromkeys(("regression", "mse", "mae"), "bin"),
        **dict.fromkeys(("multi_objective", "mpo", "weighted_sum"), "combined"),
        **dict.fromkeys(("retrosynthesis", "forward_synthesis"), "reactants"),
        **dict.fromkeys(("faithfulness", "groundedness", "citation", "evidence"), "grounding"),
    },
    "data": {
        **dict.fromkeys(("medqa", "medmcqa", "mmlu", "medical_o1", "medical", "json"), _QUESTIONS),
        **dict.fromkeys(("jsonl", "csv", "parquet", "alpaca", "sharegpt", "custom"), _QUESTIONS),
        **dict.fromkeys(("tdc", "txgemma", "admet", "bbb_martins"), "therapeutics"),
        **dict.fromkeys(("moses", "guacamol", "chembl", "zinc", "molgpt"), _MOLECULES),
        **dict.fromkeys(("molecules", "molecule", "smi", "prompts"), _MOLECULES),
        **dict.fromkeys(("pubmed_qa", "pqa", "pqa_labeled", "pubmed"), "pubmedqa"),
        **dict.fromkeys(("toy", "synthetic", "debug", "nano"), "trials (invented abstracts)"),
    },
    "callback": {
        **dict.fromkeys(("wandb", "mlflow", "tensorboard", "csv", "wandbcallback"), _LOGGER),
        **dict.fromkeys(("checkpoint", "modelcheckpoint", "model_checkpoint"), _CHECKPOINT),
        **dict.fromkeys(("lr_monitor", "learningratemonitor", "progress_bar", "tqdm"), _SHOWN),
        **dict.fromkeys(("richprogressbar", "tqdmprogressbar", "progress"), _SHOWN),
        **dict.fromkeys(("earlystopping", "earlystoppingcallback", "patience"), "early_stopping"),
        **dict.fromkeys(("best", "save_best", "load_best_model_at_end"), "keep_best"),
        **dict.fromkeys(("kl", "kl_logger"), "kl_monitor"),
        **dict.fromkeys(("log_completions", "samples", "generations"), "completion_table"),
        **dict.fromkeys(("histogram", "rewards"), "reward_histogram"),
        **dict.fromkeys(("molecules", "diversity"), "molecule_monitor"),
        "precision": "precision_by_capability",
    },
    "command": {
        **dict.fromkeys(("train", "grpo", "run", "finetune", "tune", "rl"), "fit"),
        "sft": "fit with a configuration of task sft, or task=sft",
        **dict.fromkeys(("eval", "test", "benchmark", "validate"), "evaluate"),
        **dict.fromkeys(("infer", "inference", "predict", "sample"), "generate"),
        "chat": "generate --chat",
        **dict.fromkeys(("reward", "rewards", "grade", "judge"), "score"),
        **dict.fromkeys(("merge", "merge_lora", "save", "push"), "export"),
        "import": "convert",
        **dict.fromkeys(("dock", "predictor"), "affinity"),
        **dict.fromkeys(("env", "info", "check", "env_info"), "doctor"),
        **dict.fromkeys(("ls", "configs", "plugins"), "list"),
        **dict.fromkeys(("explain", "docs", "help", "show", "man"), "describe"),
        "preflight": "fit --dry-run",
    },
}  # fmt: skip
"""Kind of a part, or command -> a name elsewhere -> ours, with what to say about it."""
