"""Tensors of any layout: in which order tokens, heads and flattened maps count the neurons of a map."""
