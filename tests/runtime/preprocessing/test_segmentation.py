"""What finds a garment, against the plain way to compute the same."""

import json

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.preprocessing.parameters import PARAMETERS, parameters_json
from fmnist_runtime.preprocessing.person import remove_person
from fmnist_runtime.preprocessing.pipeline import to_network_input
from fmnist_runtime.preprocessing.segmentation import segment


def test_the_parameters_of_the_page_are_those_of_the_device() -> None:
    values = json.loads(parameters_json())
    assert set(values) == {"background", "plain", "color_model", "person", "tone"}
    assert values["color_model"]["final_weight"] == PARAMETERS.color_model.final_weight
    assert tuple(values["tone"]["gaussian"]) == PARAMETERS.tone.gaussian


def test_a_white_shirt_on_white_is_found_and_a_shadow_is_not() -> None:
    shirt = np.full((120, 90, 3), 255, np.uint8)
    shirt[15:105, 20:70], shirt[15:22, 38:52] = 246, 120  # only the label inside its collar is dark
    mask, plain = segment(shirt)
    assert plain and mask[20:100, 25:65].all() and not mask[:, :15].any()
    shoe = np.full((90, 120, 3), 255, np.uint8)
    shoe[30:60, 15:105], shoe[60:62, 15:105] = 90, 246  # its shadow below
    mask, plain = segment(shoe)
    assert plain and mask[32:58, 20:100].all() and not mask[62:].any() and mask.sum() < 1.08 * 30 * 90


LARGE = pytest.param((1080, 1920), marks=pytest.mark.slow)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), LARGE, (300, 300), (1, 1), (40, 5)])
def test_where_there_is_nothing_nothing_is_found(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for tone in (0, 128, 255, (120, 90, 40)):
        for deviation in (0, 3, 12, 30, 80):  # of a sensor's noise
            frame = rng.normal(tone, deviation, (*size, 3)).clip(0, 255).astype(np.uint8)
            assert not to_network_input(Image.fromarray(frame)).any(), (tone, deviation)


def test_a_person_is_removed_and_a_shirt_of_the_color_of_skin_is_not() -> None:
    for shirt in ((60, 80, 160), (225, 205, 175)):
        person = np.full((128, 96, 3), 255, np.uint8)
        person[6:34, 38:58] = 205, 150, 120
        person[34:96, 18:78] = shirt
        person[96:128, 24:72] = 40, 40, 60
        garment = remove_person(person, (person != 255).any(axis=2))
        assert garment[40:90, 20:76].all(), shirt
        assert not garment[:26].any() and not garment[96:].any(), shirt
