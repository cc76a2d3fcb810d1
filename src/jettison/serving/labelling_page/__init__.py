"""A small page on this machine where a person labels rows: one at a time, saved after each."""

from jettison.serving.labelling_page.asking import ask

__all__ = ["ask"]
