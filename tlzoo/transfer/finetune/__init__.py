"""Fine-tuning in one command, compared with scratch and with trivial baselines."""
