"""The site's pages that are made: from the skill, the audit's rules, the README and what runs recorded.

`scripts/site_hooks.py` is what MkDocs calls. Nothing is a copy: each page is rendered from the file that people edit.
"""
