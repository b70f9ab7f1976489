"""Evaluations: what the skill changes in an assistant's work, measured by running what it wrote."""
