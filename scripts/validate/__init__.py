"""Validate Agent Skills and the plugins and marketplaces that carry them.

Discover (marketplace → plugin → skill → files), parse each Markdown file once, run the checks, report.
``python scripts/validate [PATH]`` is the command; ``--list`` names the checks and ``--explain ID`` one of them.
"""
