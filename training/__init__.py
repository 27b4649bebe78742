"""Rebuild the bundled models: data set, autoencoder, U-Net, LoRA, evaluation and model card."""
