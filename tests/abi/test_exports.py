#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Exported symbols and link properties of the two libraries a driver loads.

If this fails, a driver does not find a function, or finds something of our inside.
usage: test_exports.py exports.txt libdxcore.so libwsl_compute_helper.so"""
import ctypes
import subprocess
import sys

HELPER = {'getVersion', 'getSizeRequiredForStruct', 'getSizeRequiredForTokens', 'tokensToStruct',
          'structToTokens', 'destroyStructRepresentation'}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def exported(path):
    out = output('nm', '-D', '--defined-only', path)
    return {line.split()[2].split('@')[0] for line in out.splitlines() if line.split()[1] in 'TtDdBbVvWwRrAi'}


def compare(what, have, want):
    problems = [f'{what}: {name} is missing' for name in sorted(want - have)]
    problems += [f'{what}: {name} should not be exported' for name in sorted(have - want)]
    return problems


def runs_at_load_or_exit(path):
    """What the linker or libc would call by itself.  The start files of gcc and clang have one entry each."""
    problems = []
    for line in output('readelf', '-S', '-W', path).splitlines():
        fields = line.replace('[ ', '[').split()
        if len(fields) > 5 and fields[1] in ('.init_array', '.fini_array', '.ctors', '.dtors'):
            if int(fields[5], 16) > 8:
                problems.append(f'{fields[1]} has {int(fields[5], 16)} bytes: a constructor or destructor')
    for line in output('nm', '-D', '--undefined-only', path).splitlines():
        name = line.split()[-1].split('@')[0]
        if name in ('atexit', 'on_exit', '__cxa_atexit') or name.startswith('__cxa_thread_atexit'):
            problems.append(f'asks for {name}: an exit handler')
    return problems


def main():
    lines = [line.strip() for line in open(sys.argv[1], encoding='ascii') if not line.startswith('#')]
    names = {line.lstrip('*') for line in lines if line}
    driver = {line.lstrip('*') for line in lines if line.startswith('*')}
    problems = [] if len(driver) == 42 else [f'exports.txt marks {len(driver)} names instead of 42']
    # A sanitizer's runtime adds symbols of its own.
    hidden_prefixes = ('__asan', '__ubsan', '__tsan', '__odr_asan', '__sanitizer', '___asan')
    dxcore = {n for n in exported(sys.argv[2]) if not n.startswith(hidden_prefixes)}
    helper = {n for n in exported(sys.argv[3]) if not n.startswith(hidden_prefixes)}
    problems += compare('libdxcore.so', dxcore, names)
    problems += compare('libwsl_compute_helper.so', helper, HELPER)
    dynamic = output('readelf', '-d', sys.argv[2])
    if 'NODELETE' not in dynamic:
        problems.append('libdxcore.so: not linked with -z nodelete')
    sanitized = any(f'lib{name}.so' in dynamic for name in ('asan', 'tsan', 'ubsan'))
    symbols = output('nm', '-D', sys.argv[2])  # clang links its runtime into the program only
    sanitized = sanitized or '__asan_init' in symbols or '__tsan_' in symbols
    if not sanitized:
        library = ctypes.CDLL(sys.argv[2])
        problems += [f'libdxcore.so: dlsym does not find {name}' for name in sorted(driver)
                     if not hasattr(library, name)]
        problems += [f'libdxcore.so: {problem}' for problem in runs_at_load_or_exit(sys.argv[2])]
    for problem in problems:
        print(problem)
    print(f'{len(dxcore)} exported, {len(driver)} resolved by the driver, {len(problems)} problems')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
