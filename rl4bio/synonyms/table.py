"""What other programs call the keys and values of a configuration. Data alone.

Names are lower case with underscores; `rl4bio.synonyms.hints` looks them up.
"""

from __future__ import annotations

KEYS: dict[str, str] = {
    "name": "transformers: run_name; W&B: wandb_name wandb_run_name; verl: experiment_name",
    "task": "LLaMA-Factory: stage",
    "seed": "unsloth: random_state",
    "plugins": "verl: custom_reward_function; TRL: reward_module",
    "policy.checkpoint": "TRL: model_name_or_path; axolotl: base_model; peft: "
    "base_model_name_or_path; transformers: pretrained_model_name_or_path model_name model_path "
    "model_id model",
    "policy.revision": "TRL: model_revision",
    "policy.adapter": "TRL: use_peft peft_config; peft: lora_config; axolotl: adapter; "
    "LLaMA-Factory: finetuning_type; unsloth: lora",
    "policy.adapter.rank": "peft: r; TRL: lora_r; LLaMA-Factory: lora_rank",
    "policy.adapter.alpha": "peft: lora_alpha",
    "policy.adapter.dropout": "peft: lora_dropout",
    "policy.adapter.targets": "peft: target_modules; TRL: lora_target_modules; axolotl: "
    "lora_target_linear; LLaMA-Factory: lora_target",
    "policy.adapter.path": "LLaMA-Factory: adapter_name_or_path; axolotl: lora_model_dir; "
    "peft: adapter_path peft_model_id",
    "policy.quantization=nf4": "transformers: load_in_4bit bnb_4bit_quant_type; axolotl: qlora",
    "policy.quantization=int8": "transformers: load_in_8bit",
    "policy.quantization": "transformers: quantization_config; LLaMA-Factory: quantization_bit",
    "policy.attention": "transformers: attn_implementation",
    "policy.attention=flash_attention_2": "axolotl: flash_attention; transformers: "
    "use_flash_attention_2; LLaMA-Factory: flash_attn",
    "policy.attention=sdpa": "axolotl: sdp_attention",
    "policy.gradient_checkpointing": "unsloth: use_gradient_checkpointing; verl: "
    "enable_gradient_checkpointing; torch: activation_checkpointing",
    "rollout.max_prompt_tokens": "TRL: max_prompt_length; OpenRLHF: prompt_max_len",
    "rollout.max_completion_tokens": "TRL: max_completion_length; transformers: max_new_tokens; "
    "verl: max_response_length response_length; OpenRLHF: generate_max_len",
    "rollout.temperature": "TRL: temperature sampling_temperature",
    "rollout.top_k": "TRL: top_k",
    "rollout.backend=vllm": "TRL: use_vllm",
    "rollout.compile": "transformers: torch_compile",
    "rollout.gather_weights": "TRL: ds3_gather_for_generation",
    "rollout.correction_cap": "TRL: vllm_importance_sampling_cap "
    "vllm_importance_sampling_correction",
    "rollout.overlong_prompts": "verl: filter_overlong_prompts truncation",
    "rollout.vllm.url": "TRL: vllm_server_base_url vllm_server_host vllm_server_port",
    "rollout.vllm.memory_fraction": "TRL: vllm_gpu_memory_utilization; vLLM: "
    "gpu_memory_utilization",
    "rollout.vllm.max_model_tokens": "TRL: vllm_max_model_length; vLLM: max_model_len",
    "rollout.vllm.timeout_s": "TRL: vllm_server_timeout",
    "grpo.group_size": "TRL: num_generations; verl: rollout_n n; OpenRLHF: n_samples_per_prompt",
    "grpo.loss": "TRL: loss_type; verl: loss_agg_mode policy_loss",
    "grpo.level": "TRL: importance_sampling_level",
    "grpo.clip_low": "TRL: epsilon epsilon_low cliprange; verl: clip_ratio clip_ratio_low; "
    "OpenRLHF: eps_clip",
    "grpo.clip_high": "TRL: epsilon_high; verl: clip_ratio_high",
    "grpo.ratio_cap": "TRL: delta; verl: clip_ratio_c",
    "grpo.sapo_temperatures": "TRL: sapo_temperature_pos sapo_temperature_neg",
    "grpo.kl_coef": "TRL: beta; verl: kl_loss_coef; OpenRLHF: init_kl_coef kl_coeff",
    "grpo.kl_estimator": "verl: kl_loss_type",
    "grpo.kl_ratio_weight": "TRL: use_bias_correction_kl",
    "grpo.advantage_scale": "TRL: scale_rewards; verl: norm_adv_by_std_in_grpo",
    "grpo.combine": "TRL: multi_objective_aggregation",
    "grpo.updates_per_rollout": "TRL: num_iterations num_ppo_epochs; verl: ppo_epochs",
    "grpo.tokens_per_micro_batch": "verl: ppo_max_token_len_per_gpu ppo_micro_batch_size_per_gpu; "
    "OpenRLHF: micro_train_batch_size",
    "grpo.mask_truncated": "TRL: mask_truncated_completions",
    "grpo.refill_rounds": "DAPO: dynamic_sampling filter_groups",
    "sft.max_tokens": "TRL: max_length max_seq_length; axolotl: sequence_len; transformers: "
    "model_max_length; LLaMA-Factory: cutoff_len; unsloth: max_seq_len",
    "sft.neftune_alpha": "TRL: neftune_noise_alpha",
    "sft.prompt_loss_weight": "TRL: completion_only_loss assistant_only_loss; axolotl: "
    "train_on_inputs; LLaMA-Factory: train_on_prompt",
    "sft.length_window": "transformers: group_by_length",
    "optim.name": "transformers: optim; axolotl: optimizer",
    "optim.lr": "transformers: learning_rate; OpenRLHF: actor_learning_rate",
    "grpo.reference.refresh_every": "TRL: sync_ref_model ref_model_sync_steps",
    "grpo.reference.mix": "TRL: ref_model_mixup_alpha",
    "optim.betas": "transformers: adam_beta1 adam_beta2",
    "optim.weight_decay": "transformers: weight_decay",
    "optim.warmup_steps": "transformers: warmup_steps; torch: num_warmup_steps; verl: "
    "lr_warmup_steps",
    "optim.schedule": "transformers: lr_scheduler_type; axolotl: lr_scheduler; verl: lr_scheduler",
    "optim.final_lr_fraction": "axolotl: cosine_min_lr_ratio; transformers: min_lr_rate; verl: "
    "min_lr_ratio",
    "optim.max_grad_norm": "transformers: max_grad_norm; Lightning: gradient_clip_val; verl: "
    "grad_clip; DeepSpeed: gradient_clipping",
    "data.options.source": "TRL: dataset_name; transformers: dataset_path train_file; verl: "
    "train_files; LLaMA-Factory: dataset; torch: data_path data_files",
    "data.options.sources": "axolotl: datasets",
    "data.options.subset": "TRL: dataset_config; transformers: dataset_config_name",
    "data.options.batch_size": "TRL: per_device_train_batch_size; axolotl: micro_batch_size; "
    "verl: train_batch_size; OpenRLHF: rollout_batch_size; torch: batch_size",
    "data.options.val_fraction": "axolotl: val_set_size; datasets: test_size; LLaMA-Factory: "
    "val_size",
    "data.options.max_train": "transformers: max_train_samples; LLaMA-Factory: max_samples",
    "data.options.seed": "transformers: data_seed",
    "rewards": "TRL: reward_funcs reward_functions; axolotl: trl_reward_funcs; verl: "
    "reward_fn reward_model; torch: reward reward_function",
    "rewards[].weight": "TRL: reward_weights",
    "callbacks": "transformers: callback",
    "evaluation.batch_size": "transformers: per_device_eval_batch_size eval_batch_size",
    "evaluation.num_samples": "TRL: num_generations_eval",
    "evaluation.max_items": "transformers: max_eval_samples; lm-eval: limit",
    "trainer.max_steps": "transformers: max_steps max_train_steps; verl: total_training_steps",
    "trainer.devices": "accelerate: num_processes; verl: n_gpus_per_node; Lightning: gpus num_gpus",
    "trainer.num_nodes": "accelerate: num_machines; verl: nnodes",
    "trainer.accelerator": "torch: device",
    "trainer.accelerator=cpu": "transformers: use_cpu no_cuda",
    "trainer.precision": "accelerate: mixed_precision; transformers: torch_dtype dtype",
    "trainer.precision=bf16-mixed": "transformers: bf16",
    "trainer.precision=16-mixed": "transformers: fp16",
    "trainer.val_every_steps": "transformers: eval_steps eval_strategy evaluation_strategy "
    "do_eval; axolotl: evals_per_epoch; verl: test_freq; Lightning: val_check_interval",
    "trainer.save_every_steps": "transformers: save_steps save_strategy; axolotl: "
    "saves_per_epoch; verl: save_freq",
    "trainer.keep_checkpoints": "transformers: save_total_limit",
    "trainer.log_every_steps": "transformers: logging_steps logging_strategy; Lightning: "
    "log_every_n_steps",
    "logging.loggers": "transformers: report_to; accelerate: log_with; Lightning: logger; "
    "axolotl: use_wandb",
    "logging.project": "axolotl: wandb_project; verl: project_name",
    "logging.entity": "axolotl: wandb_entity",
    "logging.mode": "axolotl: wandb_mode",
    "logging.mlflow_uri": "axolotl: mlflow_tracking_uri",
    "logging.completions": "TRL: log_completions log_unique_prompts",
}
"""Our full key, or key=value -> its names elsewhere, `program: name name; program: name`."""

_SAMPLED = (
    "not offered, since log-probabilities are those of exactly the sampled distribution: "
    "rollout.temperature and rollout.top_k shape it"
)
_SHARDED = (
    "trainer.strategy=fsdp shares the weights out among the processes of trainer.devices=N; "
    "policy.adapter={rank: 16} and policy.quantization=nf4 save memory too"
)
_EPOCHS = "runs are counted in steps: trainer.max_steps, of data.options.batch_size prompts each"
_PACKED = "not needed: batches are packed without padding wherever the engine serves the model"
_LORA = "not offered: policy.adapter has rank, alpha, dropout, targets and path"
_REFERENCE = (
    "not offered: the reference is the policy's start; grpo.reference.refresh_every moves it, and "
    "a run that begins with policy.adapter.path has that adapter as its reference"
)
_PUSH = "not a key of a run: push the finished one with `rl4bio export --push`"
_STOPPING = "a callback: callbacks+={name: early_stopping, options: {patience: 3}}"
_BEST = "a callback: callbacks+={name: keep_best, options: {metric: val/reward_mean}}"
_FIXED = "not needed: leave it out"

NOT_HERE: dict[str, str] = {
    "gradient_accumulation_steps": "not needed: data.options.batch_size is the whole batch, and "
    "grpo.tokens_per_micro_batch (sft.tokens_per_micro_batch) bounds the memory without changing "
    "the gradient",
    **dict.fromkeys(("num_train_epochs", "num_epochs", "epochs", "total_epochs"), _EPOCHS),
    **dict.fromkeys(("top_p", "min_p", "typical_p", "repetition_penalty"), _SAMPLED),
    **dict.fromkeys(("presence_penalty", "frequency_penalty", "num_beams"), _SAMPLED),
    "do_sample": "not needed: rollouts are sampled; `rl4bio generate --temperature 0` is greedy",
    "generation_kwargs": _SAMPLED,
    "generation_batch_size": "not needed: a step samples data.options.batch_size prompts, "
    "grpo.group_size completions each",
    "steps_per_generation": "not offered: a rollout is used for grpo.updates_per_rollout updates",
    "ref_model": _REFERENCE,
    "vllm_mode": "server is rollout.vllm.url=http://host:8000, colocate is what rollout.backend="
    "vllm does without it",
    "warmup_ratio": "a number of steps here: optim.warmup_steps = ratio * trainer.max_steps",
    "lr_warmup_steps_ratio": "a number of steps here: optim.warmup_steps",
    "adam_epsilon": "not offered: it is 1e-8; optim.betas and optim.weight_decay are keys",
    **dict.fromkeys(("deepspeed", "fsdp", "fsdp_config"), _SHARDED),
    **dict.fromkeys(("tensor_parallel_size", "vllm_tensor_parallel_size", "device_map"), _SHARDED),
    **dict.fromkeys(("packing", "sample_packing", "pad_to_sequence_len", "padding_free"), _PACKED),
    **dict.fromkeys(("use_liger_kernel", "use_liger_loss", "liger_kernel"), "not needed: full "
    "logits are never held"),
    **dict.fromkeys(("lora_bias", "use_rslora", "use_dora", "init_lora_weights"), _LORA),
    **dict.fromkeys(("modules_to_save", "lora_modules_to_save", "layers_to_transform"), _LORA),
    **dict.fromkeys(("push_to_hub", "hub_model_id", "hub_strategy", "hub_private_repo"), _PUSH),
    **dict.fromkeys(("resume_from_checkpoint", "resume", "auto_resume_from_checkpoints"), "an "
    "option of the command: `rl4bio fit ... --resume`"),
    "early_stopping_patience": _STOPPING,
    **dict.fromkeys(("load_best_model_at_end", "metric_for_best_model", "keep_best"), _BEST),
    **dict.fromkeys(("hf_token", "hub_token", "use_auth_token"), "no secret stands in a "
    "configuration: use `hf auth login` or HF_TOKEN"),
    "wandb_api_key": "no secret stands in a configuration: set WANDB_API_KEY",
    "trust_remote_code": "not offered: code that comes with a checkpoint is not run",
    **dict.fromkeys(("chat_template", "chat_template_path"), "the template is the one in the "
    "checkpoint's own tokenizer"),
    **dict.fromkeys(("system_prompt", "prompt_template"), "the corpus writes the prompts: "
    "`rl4bio describe data NAME` shows its options"),
    **dict.fromkeys(("entropy_coef", "entropy_coeff", "ent_coef", "top_entropy_quantile"), "not "
    "offered: the entropy is logged (train/entropy), and grpo.clip_high above clip_low keeps it "
    "up"),
    "tf32": "not offered: trainer.precision chooses the arithmetic",
    "wandb_log_model": "logging.mlflow_model copies the model into MLflow; W&B takes no weights",
    "logging_dir": "logs go to the run folder, output_dir/name",
    **dict.fromkeys(("remove_unused_columns", "dataloader_num_workers", "disable_dropout"), _FIXED),
    **dict.fromkeys(("ddp_find_unused_parameters", "shuffle_dataset", "overwrite_output_dir"),
    _FIXED),
}  # fmt: skip
"""Names elsewhere that no key of ours means -> what to do instead."""

VALUES: dict[str, dict[str, str]] = {
    "task": {
        "SFT": "sft", "GRPO": "grpo", "rl": "grpo", "rlhf": "grpo", "dr_grpo": "grpo",
        "pretrain": "sft", "dpo": "", "ppo": "", "rloo": "grpo",
    },
    "trainer.precision": {
        "bf16": "bf16-mixed", "bfloat16": "bf16-mixed", "torch.bfloat16": "bf16-mixed",
        "fp16": "16-mixed", "16": "16-mixed", "float16": "16-mixed", "half": "16-mixed",
        "32": "32-true", "fp32": "32-true", "float32": "32-true", "no": "32-true",
    },
    "trainer.accelerator": {"cuda": "gpu", "cuda:0": "gpu", "tpu": ""},
    "trainer.strategy": {
        "ddp_find_unused_parameters_true": "ddp", "fsdp2": "fsdp", "full_shard": "fsdp",
        "model_parallel": "fsdp", "deepspeed": "fsdp", "deepspeed_stage_3": "fsdp", "zero3": "fsdp",
    },
    "policy.quantization": {
        "4bit": "nf4", "4": "nf4", "4-bit": "nf4", "int4": "nf4", "fp4": "nf4", "bnb_4bit": "nf4",
        "qlora": "nf4", "load_in_4bit": "nf4", "bitsandbytes": "nf4", "True": "nf4",
        "8bit": "int8", "8": "int8", "8-bit": "int8", "bnb_8bit": "int8", "load_in_8bit": "int8",
        "None": "none", "False": "none", "no": "none", "gptq": "", "awq": "", "fp8": "",
    },
    "policy.attention": {
        "flash": "flash_attention_2", "flash_attn": "flash_attention_2",
        "flash_attention": "flash_attention_2", "flash_attention_3": "flash_attention_2",
        "fa2": "flash_attention_2", "sdp": "sdpa", "math": "eager", "flex_attention": "sdpa",
        "xformers": "sdpa",
    },
    "grpo.loss": {
        "drgrpo": "dr_grpo", "dr-grpo": "dr_grpo", "gspo": "grpo with grpo.level=sequence",
        "ppo": "grpo", "rloo": "grpo with grpo.baseline=leave_one_out", "gdpo": "dapo with "
        "grpo.combine=normalize_then_sum", "reinforce": "grpo",
    },
    "grpo.level": {"gspo": "sequence", "sample": "sequence", "sequence_token": "sequence"},
    "grpo.kl_estimator": {"kl": "k1", "mse": "k2", "low_var_kl": "k3"},
    "grpo.advantage_scale": {
        "True": "group", "False": "none", "std": "group", "no": "none", "None": "none",
    },
    "optim.name": {
        "adamw_torch": "adamw", "adamw_torch_fused": "adamw", "adamw_hf": "adamw", "adam": "adamw",
        "adamw_8bit": "adamw8bit", "adamw_bnb_8bit": "adamw8bit", "lion_8bit": "lion8bit",
        "paged_adamw_8bit": "paged_adamw8bit", "paged_adamw": "paged_adamw8bit",
        "paged_adamw_32bit": "paged_adamw8bit", "lion": "lion8bit", "sgd": "", "adafactor": "",
    },
    "optim.schedule": {
        "constant_with_warmup": "constant with optim.warmup_steps", "cosine_with_min_lr": "cosine "
        "with optim.final_lr_fraction", "polynomial": "linear", "warmup_stable_decay": "",
        "cosine_warmup": "cosine with optim.warmup_steps", "reduce_lr_on_plateau": "",
    },
    "rollout.backend": {
        "hf": "generate", "transformers": "generate", "huggingface": "generate", "sglang": "vllm",
    },
    "rollout.overlong_prompts": {
        "error": "fail", "left": "shorten", "right": "shorten", "middle": "shorten",
        "truncate": "shorten", "filter": "drop",
    },
    "policy.adapter": {
        "lora": "{rank: 16}", "qlora": "{rank: 16} with policy.quantization=nf4",
        "True": "{rank: 16}", "none": "null", "False": "null", "full": "null",
    },
    "logging.mode": {"disabled": "auto, and leave wandb out of logging.loggers"},
}  # fmt: skip
"""Full key -> a value elsewhere -> ours; "" where none of ours means it."""
