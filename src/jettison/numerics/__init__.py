"""Tensor maths that techniques share."""
