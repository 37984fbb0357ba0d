"""Other runtimes as contestants of ``fmnist-bench``, on the same trained weights.

They stand here because converting needs PyTorch; each module imports its runtime inside its functions, so the benchmark
shows one that is not installed as missing.
"""
