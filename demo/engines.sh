#!/bin/sh
# SPDX-License-Identifier: MIT
# engines.sh BUILD_DIR OUT_DIR - a virtual and a physical node side by side on one adapter: a table and a
# picture of what a submission costs with 1 to 1,000 references. Called by `make demo-engines`.
set -eu

build=${1:?use: demo/engines.sh BUILD_DIR OUT_DIR}
out=${2:?use: demo/engines.sh BUILD_DIR OUT_DIR}
mkdir -p "$out"

echo "CPU time of one submission, from the call until the engine has it (medians)"
echo
"$build/demo/engines" "$out/engines.tsv"
echo
command -v gnuplot >/dev/null || {
    echo "no gnuplot: no picture; the figures are in $out/engines.tsv"
    exit 1
}
gnuplot <<PLOT
set terminal png size 960,640
set output "$out/engines.png"
set title "What a submission costs: a virtual and a physical node on one adapter"
set xlabel "allocations that one command buffer refers to"
set ylabel "ns of CPU time per submission"
set logscale xy
set grid xtics ytics mxtics
set key top left Left reverse
set xrange [0.9:1200]
plot "$out/engines.tsv" using 1:4 with linespoints lw 2 pt 7 \
         title "physical node: rendered, patched per reference", \
     "$out/engines.tsv" using 1:2 with linespoints lw 2 pt 5 \
         title "virtual node: handed over unread, 0 patches"
PLOT
echo "picture: $out/engines.png"
