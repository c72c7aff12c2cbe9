"""Limits of a method's configuration: a model file or a YAML may hold any number."""

from __future__ import annotations

MOST_WIDTH = 65_536  # Units of a layer, slots of a memory, rows or columns of a picture.
MOST_LAYERS = 64  # Layers, and rounds of whatever is done again and again.
