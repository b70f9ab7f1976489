"""The checks, one module per subject; importing this package registers them all."""

from . import budgets, fences, files, frontmatter, links, manifests, scripts, security

__all__ = ("budgets", "fences", "files", "frontmatter", "links", "manifests", "scripts", "security")
