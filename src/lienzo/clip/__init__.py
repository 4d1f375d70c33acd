"""CLIP: the tokenizer, the image and text towers, zero-shot classification and the contrastive loss."""
