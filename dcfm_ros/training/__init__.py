"""Pairs of frames, the losses and the training loop of DCFM."""
