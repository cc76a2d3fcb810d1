"""The Open Inference Protocol v2: its words, tensors and messages, whatever carries them."""
