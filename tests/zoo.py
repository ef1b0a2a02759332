"""Backbones, head and images at sizes that a test can afford."""

import json
from pathlib import Path

import torch
from PIL import Image

from heads.instances import BitPatch, InstanceMasks, Target
from mimdet_cli.data.annotations import Annotations
from mimdet_cli.data.batch import RawSample
from mimdet_cli.data.coco.split import CocoSplit, load_split

SMALL = {
    "mimdet": {
        "width": 32, "depth": 4, "heads": 2, "grid": 8, "channels": 16,
        "decoder_width": 32, "decoder_heads": 2, "decoder_layers": 2,
    },
    "vitdet": {
        "width": 32, "depth": 4, "heads": 2, "window": 3, "image_size": 128, "square": 128,
        "channels": 16,
    },
    "vit_fpn": {"width": 64, "depth": 4, "heads": 2, "window": 4, "grid": 8, "channels": 16},
    "vit_adapter": {
        "width": 32, "depth": 4, "heads": 2, "window": 3, "grid": 8, "conv_width": 8,
        "deform_heads": 2, "points": 2, "channels": 16,
    },
    "timm_fpn": {"model": "convnext_atto", "channels": 16},
}  # fmt: skip
"""Options of every registered backbone."""

SMALL_TIMM = {
    "swin": "swin_tiny_patch4_window7_224",
    "convnext": "convnext_atto",
    "pvt": "pvt_v2_b0",
    "mvitv2": "mvitv2_tiny",
}
"""The smallest model of each family that a shipped recipe uses."""

SMALL_HEAD = {
    "channels": 16, "fc_channels": 32, "roi_batch": 32, "rpn_pre_nms_train": 50,
    "rpn_post_nms_train": 40,
}  # fmt: skip

SMALL_DATA = {"max_side": 128, "eval_max_side": 128}
"""What fits the squares above."""

HEIGHT, WIDTH = 96, 128


def photographs() -> list[torch.Tensor]:
    """Two images (3, h, w), the second one smaller than the batch's canvas."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((HEIGHT, WIDTH), (HEIGHT - 16, WIDTH - 32))
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
            for size in sizes]  # fmt: skip


def targets() -> list[Target]:
    """One rectangle in each of the photographs."""
    found = []
    for image in photographs():
        height, width = image.shape[1:]
        bits = torch.zeros(height, width, dtype=torch.bool).numpy()
        bits[20:70, 30:90] = True
        masks = InstanceMasks((BitPatch.of(bits),), height, width)
        found.append(Target(torch.tensor([[30.0, 20, 90, 70]]), torch.tensor([1]), masks))
    return found


def samples() -> list[RawSample]:
    """The photographs with their annotations, as the loader's workers have them."""
    return [
        RawSample(
            image.permute(1, 2, 0).numpy(),
            i,
            (image.shape[1], image.shape[2]),
            Annotations(target.boxes.double().numpy(), target.labels.numpy(), target.masks),
        )
        for i, (image, target) in enumerate(zip(photographs(), targets(), strict=True))
    ]


def mixed_split(folder: Path) -> CocoSplit:
    """Four upright and four lying images in `folder`; the last one of each shows nothing."""
    images, annotations = [], []
    for i in range(8):
        width, height = (48, 32) if i % 2 else (32, 48)
        Image.new("RGB", (width, height), (30 * i, 90, 120)).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": width, "height": height})
        if i < 6:
            outline = [8, 8, 24, 8, 24, 24, 8, 24]
            annotations.append(
                {"id": i + 1, "image_id": i, "category_id": 1, "bbox": [8, 8, 16, 16],
                 "area": 256, "iscrowd": 0, "segmentation": [outline]}
            )  # fmt: skip
    categories = [{"id": 1, "name": "square"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    file = folder / "annotations.json"
    file.write_text(json.dumps(document))
    return load_split(file, folder, need_masks=True)
