"""Image files of every kind become upright 8-bit RGB, or one clear error."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimdet_cli.data.images import ORIENTATION, read_image
from mimdet_cli.errors import DataError

RAMP = np.arange(0, 240, dtype=np.uint8).reshape(12, 20)


def with_rotation(path: Path, tag: int) -> Path:
    image = Image.fromarray(np.stack([RAMP] * 3, axis=2))
    exif = Image.Exif()
    exif[ORIENTATION] = tag
    image.save(path, exif=exif)
    return path


def test_grey_scale_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    pixels = read_image(tmp_path / "grey.png", (12, 20))
    assert pixels.dtype == np.uint8
    assert (pixels == RAMP[..., None]).all()


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 256 + 99).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png", (12, 20)) == RAMP[..., None]).all()


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("P", "png"), ("RGBA", "png"), ("LA", "png"), ("1", "png"), ("CMYK", "jpg")],
)
def test_other_colour_modes_are_converted(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(RAMP).convert("RGB").convert(mode).save(path)
    assert read_image(path, (12, 20)).shape == (12, 20, 3)


def test_a_transparent_palette_is_read_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "clear.png"
    Image.fromarray(RAMP).convert("P").save(path, transparency=bytes(range(256)))
    assert read_image(path).shape == (12, 20, 3)
    assert not recwarn.list


def test_the_camera_rotation_is_applied_where_the_annotations_have_the_rotated_size(
    tmp_path: Path,
) -> None:
    path = with_rotation(tmp_path / "turned.png", 6)
    assert (read_image(path, (20, 12))[..., 0] == np.rot90(RAMP, -1)).all()


@pytest.mark.parametrize("tag", [3, 6])
def test_the_camera_rotation_is_not_applied_where_the_sizes_agree_without_it(
    tmp_path: Path, tag: int
) -> None:
    path = with_rotation(tmp_path / "turned.png", tag)
    assert (read_image(path, (12, 20))[..., 0] == RAMP).all()


def test_without_annotations_an_image_stands_as_a_viewer_shows_it(tmp_path: Path) -> None:
    assert read_image(with_rotation(tmp_path / "turned.png", 6)).shape == (20, 12, 3)
    upside_down = read_image(with_rotation(tmp_path / "down.png", 3))
    assert (upside_down[..., 0] == RAMP[::-1, ::-1]).all()


def test_another_size_than_annotated_names_the_image_and_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.fromarray(RAMP).save(path)
    with pytest.raises(DataError) as caught:
        read_image(path, (480, 640), image_id=5)
    assert str(caught.value) == (
        "Image 5 is 20 x 12 pixels, but its annotation file says 640 x 480.; "
        f"at: {path}; "
        "fix: correct width and height in the annotation file, or replace the image."
    )


def test_a_truncated_jpeg_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.effect_noise((200, 200), 90).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert caught.value.what.startswith("The image cannot be read: image file is truncated")
    assert caught.value.where == str(path)
    assert caught.value.exit_code == 3


def test_a_file_that_is_no_image_is_an_error_of_the_data(tmp_path: Path) -> None:
    path = tmp_path / "text.jpg"
    path.write_text("hello")
    with pytest.raises(DataError, match="it is damaged, or not in a known image format"):
        read_image(path)
    with pytest.raises(DataError, match="does not exist"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_image(tmp_path)
