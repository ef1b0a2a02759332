"""The options of backbones: data, which load without torch."""
