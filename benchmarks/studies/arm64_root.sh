#!/usr/bin/env bash
# Unpack an arm64 userland with python3, numpy and onnxruntime into a folder, for benchmarks/studies/portability.py --arm64 FOLDER.
# Nothing is installed on this machine; packages are only extracted. Needs apt, dpkg, pip and Debian 12's archive.
# onnxruntime 1.24 is the last that starts under qemu's user-mode emulation.
set -euo pipefail
root=$(mkdir -p "${1:?usage: arm64_root.sh FOLDER}" && cd "$1" && pwd)
work=$root/.work
mkdir -p "$work"/{lists/partial,cache/archives/partial,debs,wheels}
: > "$work/status"

options=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$work" -o Dir::State::lists="$work/lists"
    -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=)
apt-get "${options[@]}" update -qq
packages=(libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libuuid1 libssl3
    python3.11-minimal libpython3.11-minimal libpython3.11-stdlib)
(cd "$work/debs" && apt-get "${options[@]}" download -qq "${packages[@]}")
for package in "$work"/debs/*.deb; do
    dpkg-deb -x "$package" "$root"
done

python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
    -d "$work/wheels" onnxruntime==1.24.4 numpy==2.3.5
for wheel in "$work"/wheels/*.whl; do
    python3 -m zipfile -e "$wheel" "$root/usr/lib/python3/dist-packages"
done
rm -rf "$work"
