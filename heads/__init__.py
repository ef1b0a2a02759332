"""The detection head: torchvision's modules, with detectron2's rules where they differ."""
