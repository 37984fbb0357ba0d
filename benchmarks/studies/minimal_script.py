# ruff: noqa: PTH112, PTH118, PTH208 (pathlib would add to the start-up time, which this script keeps minimal)
"""A minimal script for the same task: the baseline of ``fmnist-infer`` in ``speed_cases.py``.

python benchmarks/studies/minimal_script.py MODEL PHOTO...     a PHOTO is a file, or a folder of images
"""

import sys
from os import listdir
from os.path import isdir, join

import numpy as np
import onnxruntime
from PIL import Image

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for name in sys.argv[2:]:
    for path in [join(name, entry) for entry in sorted(listdir(name))] if isdir(name) else [name]:
        image = np.asarray(Image.open(path).convert("L").resize((28, 28)))
        print(path, session.run(None, {"image": image[None, None]})[0].argmax())
