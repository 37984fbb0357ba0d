"""Parameters of the preprocessing: every number that shapes a 28×28 input, with its unit and the reason for its value.

The page in the browser reads the same values as JSON (``parameters_json``), in the same scale. Values were chosen on
labeled photos and on noise, never on the test set of Fashion-MNIST. "Working pixels" are pixels of the photo after it was
shrunk to ``ToneParameters.working_side``. Color differences are distances in CIELAB, where 2.3 is just noticeable.
Named tuples, because frozen dataclasses of so many fields add 4 ms to each start.
"""

import json
from typing import NamedTuple

__all__ = [
    "PARAMETERS",
    "BackgroundParameters",
    "ColorModelParameters",
    "Parameters",
    "PersonParameters",
    "PlainBackgroundParameters",
    "ToneParameters",
    "parameters_json",
]


class BackgroundParameters(NamedTuple):
    """The smooth color surface that models the background (``background.py``)."""

    sampled_from: int = 64
    """Longest side in working pixels above which every second pixel of every second row is used, in a quarter of the time."""
    ring_share: float = 0.04
    """Width of the border that shows the background, as a share of the longest side: garments rarely reach into it."""
    ring_min: int = 2
    """Smallest width of that border, in pixels: one pixel alone is often an artifact of the scan."""
    penalty: tuple[float, ...] = (0.0, 0.02, 0.02, 0.1, 0.1, 0.1)
    """Ridge penalty per border pixel of the coefficients 1, x, y, x², y², xy: without it one object at the border bends the
    whole surface."""
    rounds: int = 3
    """Rounds of reweighted least squares: a fourth and fifth gained nothing on labeled photos."""
    min_scale: float = 1.5
    """Smallest robust scale of the residuals, a color difference: JPEG noise of an even wall."""
    median_to_deviation: float = 1.48
    """Standard deviations in a median absolute residual, for a normal distribution."""
    cauchy_scales: float = 1.5
    """Residual with half the weight, in robust scales: farther pixels are likely garment."""
    spread_percentile: float = 60.0
    """Percentile of the border's residuals that is its spread: up to 40% of the border may be garment."""
    channel_weights: tuple[float, float, float] = (0.6, 1.4, 1.4)
    """Weights of the squared differences of L, a, b: a shadow changes lightness more than color."""


class PlainBackgroundParameters(NamedTuple):
    """Segmentation on a plain background, and the choice of parts on any (``segmentation.py``)."""

    max_spread: float = 1.5
    """Largest spread of a plain background, a color difference: shop photos have less, floors and beds more."""
    step: float = 4.0
    """Color difference from which a pixel is foreground: a little over the smallest that is visible."""
    pale_step: float = 2.0
    """The same for pale garments, a white shirt on white."""
    pale_growth: float = 1.15
    """Growth of the foreground area from ``step`` to ``pale_step`` above which the garment is pale: a shadow grows less."""
    max_foreground_neighbors: int = 3
    """Largest number of foreground pixels among the 3×3 around a background pixel: it closes gaps in thin outlines."""
    contrast: float = 4.0
    """Smallest mean color difference of the foreground, in spreads: noise has at most 1.6, 375 shop photos at least 31."""
    hole_distance: float = 1.6
    """Color difference below which a pixel inside the garment may belong to a hole, as in the handle of a bag."""
    hole_neighbors: int = 7
    """Smallest number of such pixels among the 3×3 around a pixel of a hole: the inside of a shirt has fewer."""
    hole_core_distance: float = 1.1
    """Color difference of pixels that show the background itself: less than ``hole_distance``."""
    hole_core_share: float = 0.8
    """Smallest share of such pixels in a hole: the inside of a white shirt is only similar to the background."""
    hole_min_share: float = 0.004
    """Smallest hole, as a share of the foreground area: smaller ones vanish at 28×28."""
    part_share: float = 0.25
    """Smallest part that is kept, as a share of the largest: the second shoe of a pair."""
    min_share: float = 0.02
    """Smallest foreground, as a share of the image area: less is a speck."""


class ColorModelParameters(NamedTuple):
    """Color segmentation on a background that is not plain (``color_model.py``). Evidence is in half log-odds."""

    bins: tuple[int, int, int] = (16, 24, 24)
    """Histogram bins of L, a, b: 12×16×16 lost 0.7 points of 2,800 photos."""
    low: tuple[float, float, float] = (0.0, -60.0, -60.0)
    """Lower end of the histogram's range of L, a, b; colors beyond an end count in its last bin."""
    span: tuple[float, float, float] = (100.0, 120.0, 120.0)
    """Width of that range: it covers all lightnesses, and all but the most vivid colors."""
    rounds: int = 2
    """Histogram updates: a third to fifth gained nothing on labeled photos."""
    threshold_spreads: float = 2.2
    """Color difference at which foreground and background are equally likely, in spreads of the background."""
    min_spread: float = 1.5
    """Smallest spread in that product, a color difference: that of the plainest background here."""
    threshold_min: float = 7.0
    """Smallest color difference of even odds: shadows and folds of an even cloth reach it."""
    threshold_max: float = 26.0
    """Largest color difference of even odds: on a colorful carpet, more would find nothing."""
    threshold_slope: float = 0.35
    """Change of the color difference that changes the evidence by one unit, in thresholds."""
    max_evidence: float = 4.0
    """Largest absolute value of the distance evidence, so that this term alone does not determine the result."""
    max_ratio: float = 4.0
    """Largest absolute value of a color's log-ratio: a bin with few pixels is weak evidence."""
    start_distance_weight: float = 0.5
    """Weight of the distance evidence in the first estimate, which has no color term yet."""
    start_position_weight: float = 0.35
    """Weight of the position prior in the first estimate."""
    distance_weight: float = 0.375
    """Weight of the distance evidence beside the colors: less than at the start, because colors use it already."""
    position_weight: float = 0.6
    """Weight of the position prior beside the colors."""
    learning_weight: float = 0.675
    """Weight of the color term while the histograms are fitted: below ``final_weight``, so that early errors can be undone."""
    final_weight: float = 0.9
    """Weight of the color term in the final pass."""
    floor: float = 2e-5
    """Probability added to every bin, so that an empty one has a finite logarithm: a tenth of a pixel in a sample."""
    epsilon: float = 2e-9
    """Pixels added to each histogram's total, so that an empty one causes no division by zero."""
    min_clarity: float = 1.0
    """Smallest mean of the absolute half log-odds: the noise of a sensor has less. Of 1,770 photos of garments on floors, beds
    and hangers, 99.8% have at least 1.03 and the lowest has 0.92."""
    position_center: float = 1.2
    """Position prior at the center of the image."""
    position_falloff: float = 2.4
    """Decrease of the position prior from the center to a side, with the square of the distance."""
    position_ring: float = 1.5
    """Further decrease in the border, whose pixels model the background."""


class PersonParameters(NamedTuple):
    """Removal of the person from the foreground, the "figure" (``person.py``). Rows and widths are working pixels."""

    min_aspect: float = 1.05
    """Smallest height over width of a figure that may contain a person: wider foregrounds contain none."""
    cut_margin: int = 2
    """Distance from the upper or lower image edge at which the figure counts as cut off there."""
    cb_range: tuple[float, float] = (-48.0, -3.0)
    """Range of Cb - 128 of skin (Chai and Ngan 1999), widened on shop photos; 8-bit levels."""
    cr_range: tuple[float, float] = (8.0, 44.0)
    """Range of Cr - 128 of skin; 8-bit levels."""
    min_luma: float = 50.0
    """Smallest lightness of skin, 8-bit levels: the hue of darker pixels, such as black hair, is arbitrary."""
    skin_neighbors: int = 5
    """Smallest number of skin-colored pixels among the 3×3 around a pixel of skin: more than half."""
    bare_share: float = 0.25
    """Share of skin-colored pixels in the figure above which part of them is taken for a garment of that color."""
    face_tolerance: float = 15.0
    """Largest difference in Cb and Cr between skin and the face in that case; 8-bit levels."""
    face_quarter: int = 4
    """Divisor of the figure's height: the face is in the uppermost quarter."""
    skin_min_share: float = 0.01
    """Smallest share of skin that is removed from a figure without a head, cut off by the image edge: less is noise."""
    skin_max_share: float = 0.35
    """Largest share of skin in such a figure: more is a garment of that color."""
    upper_part: int = 3
    """Divisor of the figure's height: head and neck are in the uppermost third, the body is below."""
    body_percentile: float = 80.0
    """Percentile of the row widths below that is the body width in the search for a head."""
    max_faces: int = 4
    """Number of the largest skin parts that are tested for being the face; the others are hands and arms."""
    face_min_share: float = 0.006
    """Smallest face, as a share of the figure's area."""
    face_max_row: float = 0.36
    """Lowest position of a face's median row, as a share of the figure's height."""
    face_max_offset: float = 0.3
    """Largest distance of a face from the axis of the body, in body widths."""
    face_max_width: float = 0.62
    """Largest width of a face, in body widths."""
    face_columns: tuple[float, float] = (5.0, 95.0)
    """Percentiles of a part's columns between which its width is measured, without stray pixels."""
    face_rows: tuple[float, float] = (15.0, 85.0)
    """Percentiles of a part's rows between which the figure must be narrow."""
    head_max_width: float = 0.66
    """Largest median width of the figure in those rows, in body widths: hair and neck, no shoulders."""
    shoulder_percentile: float = 70.0
    """Percentile of the row widths below that is the body width in the search for the shoulder."""
    shoulder_width: float = 0.72
    """Smallest width of a shoulder row, in body widths."""
    chin_percentile: float = 90.0
    """Percentile of the face's rows that replaces the shoulder row if no row is wide enough."""
    shoulder_max_row: float = 0.45
    """Lowest position of the shoulder row, as a share of the figure's height."""
    neck_percentile: float = 60.0
    """Percentile of the face's rows above which no garment begins."""
    collar_rise: float = 0.06
    """Height of a collar above the shoulder row, as a share of the figure's height."""
    waist_min_rows: int = 10
    """Largest number of foreground rows for which no waist is searched."""
    waist_window: float = 0.14
    """Height of the windows above and below a waist, as a share of the figure's height."""
    waist_window_min: int = 4
    """Smallest height of these windows, in rows."""
    waist_rows: tuple[float, float] = (0.45, 0.55)
    """Shares of the figure's height: the waist to an upper neighbor is above the first, that to a lower one below the second."""
    waist_min_pixels: int = 8
    """Smallest number of pixels of a window whose mean color counts."""
    waist_weights: tuple[float, float, float] = (0.7, 1.0, 1.0)
    """Weights of the differences of L, a, b at a waist: lightness counts less, because shading changes it."""
    waist_step: float = 10.0
    """Smallest color difference at a waist: patterns of one garment have less."""
    waist_reach: float = 0.03
    """Further rows removed at a waist, as a share of the figure's height: a belt, a shadow, a shirt tucked in."""
    part_share: float = 0.1
    """Smallest connected part that is kept, as a share of the largest: smaller ones are edges of arms, or hair."""
    min_garment_share: float = 0.25
    """Smallest garment, as a share of the figure: if less would be left, the rules have failed and nothing is removed."""


class ToneParameters(NamedTuple):
    """Working size, and the tones of the 28×28 result (``pipeline.py``). Tones are 8-bit levels."""

    working_side: int = 128
    """Longest side to which photos are shrunk, in pixels: enough to find a garment, small enough for milliseconds."""
    min_side: int = 8
    """Smallest side, in working pixels, of an image in which a garment is searched."""
    opaque: int = 127
    """Alpha above which a pixel is foreground."""
    opaque_share: float = 0.02
    """Smallest opaque share of an image whose alpha is a mask."""
    gray_tolerance: int = 2
    """Largest difference of the channels of a gray pixel: JPEG rounding."""
    black: float = 12.0
    """Largest mean tone of a black background; a gray image on it has the tones of the data set already."""
    percentiles: tuple[float, float] = (3.0, 97.0)
    """Percentiles used as the garment's darkest and brightest tone: buttons and highlights lie beyond."""
    high_min: float = 150.0
    """Smallest brightest tone after mapping: the data set's garments are bright."""
    range_min: float = 60.0
    """Smallest range of tones after mapping."""
    floor: float = 48.0
    """Darkest tone after mapping, so that a white garment, negated, does not vanish into the black background."""
    flat: float = 12.0
    """Smallest divisor in the gain, a range of tones: smaller ranges are noise and JPEG blocks."""
    gain_max: float = 2.5
    """Largest gain, so that noise does not become a pattern."""
    floor_share: float = 0.6
    """Tone to which darker pixels are raised, as a share of ``floor``: a garment has no holes."""
    gaussian: tuple[float, float] = (0.45186276187760605, 0.274068619061197)
    """Weights of the center and of each neighbor along one axis: a Gaussian of radius and deviation 1, as the data set's
    makers used."""
    sharpness: float = 0.7
    """Share of the difference from the blurred image that is added: collars, buttons and zips are lines of a pixel."""


class Parameters(NamedTuple):
    """All parameters of the preprocessing, by stage."""

    background: BackgroundParameters = BackgroundParameters()
    plain: PlainBackgroundParameters = PlainBackgroundParameters()
    color_model: ColorModelParameters = ColorModelParameters()
    person: PersonParameters = PersonParameters()
    tone: ToneParameters = ToneParameters()


PARAMETERS = Parameters()
"""The parameters in use. Models are trained on images that were prepared with exactly these values."""


def parameters_json() -> str:
    """Returns the parameters as a JSON object of objects, with the names of the fields."""
    return json.dumps({stage: values._asdict() for stage, values in PARAMETERS._asdict().items()})
