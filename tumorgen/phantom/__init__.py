"""Abdominal CTs and liver masks made from nothing but a seed: solids as fields in mm, anatomy, and the volume."""
