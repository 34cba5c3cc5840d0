#!/bin/sh
# SPDX-License-Identifier: MIT
# compare.sh BUILD_DIR OUT_DIR - the figures of `vidmm compare` and their picture. Called by `make compare`.
set -eu

build=${1:?use: demo/compare.sh BUILD_DIR OUT_DIR}
out=${2:?use: demo/compare.sh BUILD_DIR OUT_DIR}
mkdir -p "$out"

"$build/src/app/cli/vidmm" compare --size 1M,64M,1G --json "$out/compare.json" | tee "$out/compare.txt"
"$build/src/app/cli/vidmm" compare --size 64K,256K,1M,2M,4M,16M,64M,1G --tsv "$out/compare.tsv" >/dev/null
command -v gnuplot >/dev/null || {
    echo "no gnuplot: no picture; the figures are in $out/compare.tsv"
    exit 1
}
gnuplot <<PLOT
set terminal png size 1200,560
set output "$out/compare.png"
set multiplot layout 1,2 title "Random 8-byte accesses: what each way of addressing asks for"
set logscale x 2
set xlabel "MiB accessed"
set grid
set key top left Left reverse
set ylabel "table references per access"
plot "$out/compare.tsv" using 1:8 with linespoints lw 2 title "IoMmu, 5 levels", \
     "" using 1:6 with linespoints lw 2 title "IoMmu, 4 levels", \
     "" using 1:2 with linespoints lw 2 title "GpuMmu, 4 KB pages", \
     "" using 1:4 with linespoints lw 2 title "GpuMmu, 64 KB reach", \
     "" using 1:10 with linespoints lw 2 title "physical"
set ylabel "ns per access on this machine"
plot "$out/compare.tsv" using 1:9 with linespoints lw 2 title "IoMmu, 5 levels", \
     "" using 1:7 with linespoints lw 2 title "IoMmu, 4 levels", \
     "" using 1:3 with linespoints lw 2 title "GpuMmu, 4 KB pages", \
     "" using 1:5 with linespoints lw 2 title "GpuMmu, 64 KB reach", \
     "" using 1:11 with linespoints lw 2 title "physical"
unset multiplot
PLOT
echo "picture: $out/compare.png"
