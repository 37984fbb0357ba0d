"""Earlier names of recipes, which stay valid."""

__all__ = ["RENAMED", "current_name"]

RENAMED = {"improved-best": "improved"}
"""Current name of each renamed recipe, by its earlier name. What was ``improved`` before is ``improved-published``."""


def current_name(name: str) -> str:
    """Return the name that a recipe has now; other names stay as they are."""
    return RENAMED.get(name, name)
