"""Predictions against references: scores by case and by lesion, intervals over patients, and their summary."""
