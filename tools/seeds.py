#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""seeds.py - docs/seeds.md: every binding statement (ring S) with the test that proves it and its names.

Reads docs/requirements.tsv, docs/seeds.tsv and the test tables in tests/. The test of a row is the one whose
break switch is the row: it fails when the rule is broken (make requirements BREAK=1).
  seeds.py           writes the page
  seeds.py --check   1 if the page on disk is another one, or a row of seeds.tsv is missing
"""
import glob
import os
import re
import sys

import suites

PAGE = os.path.join(suites.ROOT, 'docs', 'seeds.md')
CASE = re.compile(r'VT_TEST\(\s*(\w+),\s*"[^"]*",\s*"([A-Z]+-[0-9]+)"\)')
HEAD = '''# The binding statements

The five documents that describe the memory model of WDDM 2.x make 73 statements (ring S of
`docs/requirements.tsv`). Each line names the test that fails when the rule is broken, our entry point, and
what a user-mode driver (D3DDI) and a client of the kernel (D3DKMT) call it; a dash: it happens inside. `make
requirements BREAK=1` breaks them one by one. This page is written by `tools/seeds.py`.

| row | statement | test | ours | D3DDI | D3DKMT |
|---|---|---|---|---|---|
'''


def names():
    rows = {}
    with open(os.path.join(suites.ROOT, 'docs', 'seeds.tsv'), encoding='utf-8') as f:
        for line in f:
            if not line.startswith('#') and line.strip():
                row, ours, ddi, kmt = line.rstrip('\n').split('\t')
                rows[row] = (ours, ddi, kmt)
    return rows


def tests():
    """Row -> cases whose break switch it is, as 'folder/file: case'."""
    found = {}
    for path in sorted(glob.glob(os.path.join(suites.ROOT, 'tests', '**', '*.c'), recursive=True)):
        with open(path, encoding='utf-8') as f:
            for case, row in CASE.findall(f.read()):
                where = os.path.relpath(path, os.path.join(suites.ROOT, 'tests'))[:-2]
                found.setdefault(row, []).append('`%s`: %s' % (where, case))
    return found


def cell(text):
    return text if text == '-' else ', '.join('`%s`' % part.strip() for part in text.split(','))


def page():
    called, proven, lines = names(), tests(), []
    for row, (ring, sentence) in suites.load_catalogue().items():
        if ring != 'S':
            continue
        ours, ddi, kmt = called[row]
        test = '<br>'.join(dict.fromkeys(proven.get(row, ['none yet'])))
        statement = sentence.split(' Test:')[0].replace('|', '\\|')
        lines.append('| %s | %s | %s | %s | %s | %s |\n' %
                     (row, statement, test, cell(ours), cell(ddi), cell(kmt)))
    return HEAD + ''.join(lines)


def main():
    text = page()
    if sys.argv[1:] == ['--check']:
        with open(PAGE, encoding='utf-8') as f:
            return 0 if f.read() == text else 1
    with open(PAGE, 'w', encoding='utf-8') as f:
        f.write(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
