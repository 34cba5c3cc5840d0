#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh BUILD_DIR - the demonstration: an unmodified GPU driver of Debian works on vidmm, without a GPU.
# Called by `make demo`. Every step shows what it does and compares bytes; exit status 0 only if all was
# equal.
# Where the Debian driver cannot be had, our own client on the profile `ref` takes its place.
set -u

build=${1:?use: demo/run.sh BUILD_DIR}
vidmm=$build/src/app/cli/vidmm
clients=$build/demo
out=$build/demo-output
driver=/usr/lib/x86_64-linux-gnu/intel-opencl/libigdrcl.so
patience=${DEMO_PATIENCE:-150}      # seconds for one step; a driver that waits for ever must end the demo
step=0 failed=0 begin=$(date +%s)

mkdir -p "$out"
: >"$out/all.txt"

fail() {
    echo "  FAILED: $1"
    failed=$((failed + 1))
}

# run WORDS COMMAND...  one step: its title, its output as it comes, its verdict
run() {
    words=$1
    shift
    step=$((step + 1))
    printf '\n== %2d  %s\n' "$step" "$words"
    { timeout -k 5 "$patience" "$@" 2>&1; echo $? >"$out/status"; } | tee "$out/step.txt"
    cat "$out/step.txt" >>"$out/all.txt"
    status=$(cat "$out/status")
    if [ "$status" -eq 124 ]; then
        fail "not done after $patience s"
    elif [ "$status" -ne 0 ]; then
        fail "exit status $status"
    elif grep -q 'never opened our adapter' "$out/step.txt"; then
        fail "the program ran, but not on vidmm"
    fi
}

# figure KEY FILE  one number of a JSON report
figure() {
    sed -n 's/^ *"'"$1"'": \([0-9]*\),\{0,1\}$/\1/p' "$2" | head -n 1
}

# mebibytes KEY  of the first run under pressure
mebibytes() {
    bytes=$(figure "$1" "$out/pressure-plain.json")
    echo $((${bytes:-0} / 1048576))
}

# expect_positive WORDS KEY FILE
expect_positive() {
    value=$(figure "$2" "$3")
    if [ "${value:-0}" -gt 0 ]; then
        printf '  %-12s %s\n' "$1" "$value"
    else
        fail "the report counts no $1"
    fi
}

# pressure WORDS NAME PREFIX... -- OPTIONS...  the pressure client, then what its report must show
pressure() {
    words=$1 report=$out/pressure-$2.json
    shift 2
    rm -f "$report"
    run "$words" "$@" --vram 64M --report "$report" -- "$clients/cl_pressure"
    if [ ! -s "$report" ]; then
        fail "no report"
        return
    fi
    expect_positive page-outs page_outs "$report"
    expect_positive demotions demotions "$report"
    expect_positive page-ins page_ins "$report"
    expect_positive promotions promotions "$report"
}

# The same four clients, each time under other circumstances. $1 says which, the rest starts vidmm.
all_clients() {
    how=$1 name=$2
    shift 2
    run "OpenCL: buffers of 1 byte to 256 MiB, maps, host pointers, shared memory$how" \
        "$@" -- "$clients/cl_buffers"
    pressure "OpenCL: 8 buffers of 32 MiB in 64 MiB of video memory$how" "$name" "$@"
    [ -x "$clients/ze_copy" ] || return 0
    run "Level Zero: copies and fills on the copy engine$how" "$@" -- "$clients/ze_copy"
    run "OpenCL and Level Zero in one program$how" "$@" -- "$clients/both"
}

with_driver() {
    if command -v clinfo >/dev/null; then
        run "clinfo, as Debian ships it, lists the virtual GPU" "$vidmm" run -v -- clinfo -l
        grep -q 'Device #0' "$out/step.txt" || fail "no device listed"
    fi
    all_clients "" plain "$vidmm" run
    all_clients ", paging 20 ms slower" slow "$vidmm" run --paging-delay 20
    if command -v taskset >/dev/null; then
        all_clients ", on a single CPU" one-cpu taskset -c 0 "$vidmm" run
    fi
    run "The report of one run, in words" "$vidmm" run --vram 64M --report - -- "$clients/cl_pressure"
}

without_driver() {
    echo
    echo "Debian's driver cannot be had here: $1."
    echo "Our own client takes its place; it talks to the virtual GPU of profile ref directly."
    run "our own client on profile ref" \
        "$vidmm" run --profile ref --vram 64M -v --report - -- "$clients/ref_client"
    run "our own client, paging 20 ms slower" \
        "$vidmm" run --profile ref --vram 64M --paging-delay 20 -- "$clients/ref_client"
}

summary() {
    equal=$(grep -c '^  equal ' "$out/all.txt")
    printf '\n-------- Summary, after %d s\n' $(($(date +%s) - begin))
    if [ "$1" = driver ]; then
        version=$(dpkg-query -W -f '${Version}' intel-opencl-icd 2>/dev/null)
        echo "Debian's unmodified GPU driver (intel-opencl-icd ${version:-of unknown version}) ran in"
        echo "$step steps on a virtual GPU; this machine's own GPU, if it has one, was not used."
        moved_out=$(mebibytes page_out_bytes) moved_in=$(mebibytes page_in_bytes)
        echo "vidmm managed the memory: 256 MiB of buffers lived in 64 MiB of video memory. For that"
        echo "$moved_out MiB were moved out and $moved_in MiB moved in, unnoticed by the program."
    else
        echo "Debian's driver was not here; our own client ran in $step steps on the virtual GPU ref."
    fi
    if [ "$failed" -eq 0 ]; then
        echo "$equal comparisons of data, all equal."
    else
        echo "$equal comparisons of data were equal, but $failed checks FAILED; see above,"
        echo "or all of it in $out/all.txt."
    fi
}

[ -x "$vidmm" ] || { echo "demo: $vidmm is missing; 'make' builds it" >&2; exit 1; }
if [ ! -x "$clients/cl_buffers" ]; then
    without_driver "the OpenCL headers were missing when this was built"
    summary own
elif [ ! -e "$driver" ]; then
    without_driver "the package intel-opencl-icd is not installed"
    summary own
else
    with_driver
    summary driver
fi
[ "$failed" -eq 0 ]
