"""The version of oddframe. Files of features, models and scores name it."""

VERSION = "0.1.0"
