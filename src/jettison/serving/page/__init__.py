"""The page at `/`: what is served, whether it is certified, how it does, and a place to try it."""

from jettison.serving.page.routes import page_routes

__all__ = ["page_routes"]
