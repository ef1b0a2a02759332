import numpy as np
import pytest

from mimdet_cli.data.annotations import Category
from mimdet_cli.data.coco.rle import to_rle
from mimdet_cli.evaluation.draw import colour_of, draw, ink_on, luminance
from mimdet_cli.evaluation.results import ImageResult
from mimdet_cli.evaluation.sheet import SheetRow, sheet

CATEGORIES = [Category(3, "cell"), Category(9, "rod")]
GREY = np.full((60, 80, 3), 128, np.uint8)


def result(*rows, masks=True, size=(60, 80)):
    """Rows of label, score, x0, y0, x1, y1; a mask fills its box."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    corners = [row[2:].tolist() for row in table]
    squares = [[[x0, y0, x1, y0, x1, y1, x0, y1]] for x0, y0, x1, y1 in corners]
    return ImageResult(
        image_id=1,
        boxes=table[:, 2:],
        scores=table[:, 1],
        labels=table[:, 0].astype(np.int64),
        rles=[to_rle(square, *size) for square in squares] if masks else None,
    )


def test_small_images_are_enlarged_and_large_ones_are_not():
    assert draw(GREY, result(), CATEGORIES).size == (640, 480)
    large = np.zeros((500, 900, 3), np.uint8)
    assert draw(large, result(size=(500, 900)), CATEGORIES).size == (900, 500)


def test_mask_tints_the_inside_and_leaves_the_outside():
    picture = np.asarray(draw(GREY, result((1, 0.9, 20, 20, 60, 50)), CATEGORIES)).astype(int)
    inside, outside = picture[280, 320], picture[40, 600]
    towards = np.array(colour_of(1)) - 128
    assert (np.sign(inside - 128) == np.sign(towards)).all()
    assert (outside == 128).all()
    assert (picture[160:400, 158:164] == colour_of(1)).all(axis=2).any()  # outline or box


def test_detections_below_the_threshold_are_not_drawn():
    picture = np.asarray(draw(GREY, result((0, 0.4, 20, 20, 60, 50)), CATEGORIES, 0.5))
    assert (picture == 128).all()
    assert (np.asarray(draw(GREY, result((0, 0.4, 20, 20, 60, 50)), CATEGORIES, 0.3)) != 128).any()


def test_boxes_without_masks_are_drawn():
    picture = draw(GREY, result((0, 0.9, 20, 20, 60, 50), masks=False), CATEGORIES)
    assert picture.getpixel((160, 300)) == colour_of(0)
    assert picture.getpixel((320, 280)) == (128, 128, 128)


def test_boxes_at_the_edges_and_thinner_than_a_pixel_can_be_drawn():
    rows = [(0, 0.9, 0, 0, 80, 60), (1, 0.9, 79.9, 59.9, 80, 60), (0, 0.9, 5, 0, 5.01, 60)]
    for scale in (None, 0.1, 3):
        draw(GREY, result(*rows), CATEGORIES, scale=scale)


def test_drawing_does_not_change_the_image_it_is_given():
    image = GREY.copy()
    draw(image, result((0, 0.9, 20, 20, 60, 50)), CATEGORIES)
    assert (image == GREY).all()


def test_hundreds_of_small_objects_keep_their_masks_visible():
    """Labels wider than their box are left out of a crowd, so most of the picture is not plates."""
    rows = [(0, 0.9, x, y, x + 4, y + 4) for x in range(0, 75, 6) for y in range(0, 55, 6)]
    picture = np.asarray(draw(GREY, result(*rows), CATEGORIES))
    assert (picture == colour_of(0)).all(axis=2).mean() < 0.25


def test_colours_are_stable_distinct_and_carry_readable_text():
    colours = [colour_of(label) for label in range(21)]
    assert len(set(colours)) == 21
    assert colour_of(21) == colours[0]
    for colour in colours:
        dark, light = sorted((luminance(colour), luminance(ink_on(colour))))
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA for normal text


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_sheet_shows_every_image_twice(count):
    row = SheetRow("a.jpg", GREY, result((0, 1, 5, 5, 30, 30)), result((0, 0.8, 5, 5, 31, 30)))
    page = np.asarray(sheet([row] * count, CATEGORIES))
    grey = (page == 128).all(axis=2)
    pictures = count * 2 * 400 * 300
    assert 0.8 * pictures <= grey.sum() <= pictures
    assert page.shape[1] == (836 if count < 4 else 1684)
