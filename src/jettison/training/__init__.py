"""Short training runs: fine-tuning and distillation of a model that was changed."""
