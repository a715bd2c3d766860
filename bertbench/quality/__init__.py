"""Fine-tuning, evaluation and distillation of one model on one task."""
