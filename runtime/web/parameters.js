// Parameters of the preprocessing. fmnist-infer web replaces this file: the values are those of
// fmnist_runtime/preprocessing/parameters.py, which explains each of them.

export const PARAMETERS = {};
