# ruff: noqa: PTH112, PTH118, PTH208 (pathlib is a start-up cost that this script is there to be without)
"""What a person writes in ten lines: the scripts that ``fmnist-infer`` is measured against.

python benchmarks/studies/bare.py MODEL PHOTO...     one PHOTO, or the pictures of a folder one after the other
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
