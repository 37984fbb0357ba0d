#!/bin/sh
# Compiles kernels.c to WebAssembly, with and without SIMD: build.sh [FOLDER], by default runtime/web.
# Needs clang and wasm-ld (Debian: clang and lld). The same compiler writes the same bytes; compiler.txt names the one
# that wrote the committed files.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../web}

compile() {
    output=$1
    shift
    clang --target=wasm32 -std=c11 -O3 -ffreestanding -ffp-contract=off -nostdlib \
        -Wall -Wextra -Wpedantic -Wconversion -Werror "$@" \
        -Wl,--no-entry,--strip-all,--export=__heap_base,-z,stack-size=4096 -o "$folder/$output" "$here/kernels.c"
}

compile kernels.wasm
compile kernels.simd.wasm -msimd128
[ $# -gt 0 ] || clang --version | head -n 1 > "$here/compiler.txt"
