"""Write the sample again from the full data set."""

import argparse
from pathlib import Path

from fmnist_train.data.sample import write_sample
from fmnist_train.data.sources import SAMPLE_FOLDER, find_dataset

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m fmnist_train.data.sample", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="folder with the files of Fashion-MNIST")
    parser.add_argument("--output", type=Path, default=SAMPLE_FOLDER)
    options = parser.parse_args()
    write_sample(find_dataset(data_dir=options.data_dir), options.output)
