"""Whether a backbone keeps its promises: what `mimdet backbones check` and a plugin's tests run."""
