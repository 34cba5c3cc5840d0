#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""requirements.py - which rows of docs/requirements.tsv the tests of the last run prove.

Reads build/tests.log. A row is proven if a case that names it ran and passed and none that names it failed.
  --missing   lists the rows that are not proven with the reason, which docs/unproven.tsv has for each
  --break     for each case with a break switch: runs it plain (must pass) and broken (must fail)
"""
import argparse
import json
import os
import subprocess
import sys

import suites

WHERE = os.path.join(suites.BUILD, 'gcc')
UNKNOWN_SWITCH = 3    # exit status of vt_break_unknown()


def proven_ids():
    good, bad = set(), set()
    for line in suites.read_log(os.path.join(suites.BUILD, 'tests.log')):
        case = suites.Case(*line)
        if case.result == 'SKIP':
            continue
        (good if case.result == 'PASS' else bad).update(case.proves.split())
    return good - bad


def print_counts(catalogue, invariants, proven):
    areas = {}
    for name, (ring, _) in catalogue.items():
        have, total = areas.setdefault(name.split('-')[0], {}).get(ring, (0, 0))
        areas[name.split('-')[0]][ring] = (have + (name in proven), total + 1)
    for area, rings in areas.items():
        for ring in 'SLD':
            if ring in rings:
                print('%-3s %s %d/%d' % ((area, ring) + rings[ring]))
    for ring in 'SLD':
        rows = [name for name, row in catalogue.items() if row[0] == ring]
        print('all %s %d/%d' % (ring, len(proven.intersection(rows)), len(rows)))
    print('INV - %d/%d   (invariants of docs/invariants.md)' % (len(proven.intersection(invariants)),
                                                              len(invariants)))


def print_missing(catalogue, invariants, proven):
    """Gives how many rows are not proven without a reason, or have one although they are proven."""
    reasons, wrong = suites.load_reasons(), 0
    print()
    for name, (ring, sentence) in catalogue.items():
        if name not in proven:
            why = reasons.get(name, 'WRONG: no reason is given')
            print('%s %s %s\n        %s' % (name, ring, sentence, why))
            wrong += name not in reasons
    for name in invariants:
        if name not in proven:
            print('%s - invariant without a passing test' % name)
    for name in reasons:
        if name in proven or name not in catalogue:
            print('WRONG: docs/unproven.tsv names %s, which is proven or no row' % name)
            wrong += 1
    return wrong


def breakable_cases():
    """(test, case, proves, switch) of every case that names a switch."""
    with open(os.path.join(WHERE, 'harness.json'), encoding='utf-8') as f:
        harness = set(json.load(f))
    for test in suites.introspect(WHERE):
        if test['name'] not in harness:
            continue
        env = dict(os.environ, **test['env'])
        text = subprocess.run(test['cmd'] + ['--list'], env=env, stdout=subprocess.PIPE, check=True,
                              universal_newlines=True).stdout
        for line in text.splitlines():
            name, proves, switch = line.split('\t')
            if switch:
                yield test, name, proves, switch


def judge(test, case, switch):
    """'ok', or what is wrong with a case and its switch."""
    def only(environment):
        outcome = suites.run(test, environment, max(test['timeout'], 60), ['--only', case])
        return outcome.status, [c.result for c in outcome.cases if c.name == case]
    _, plain = only({})
    if plain != ['PASS']:
        return 'does not pass unbroken'
    status, broken = only({'VIDMM_BREAK': switch})
    if broken == ['FAIL'] or status < 0:    # a negative status: ended by a signal, or for lack of progress
        return 'ok'
    if status == UNKNOWN_SWITCH:
        return 'nothing knows this switch'
    return 'passes although broken' if broken == ['PASS'] else 'left with status %d' % status


def print_breaks(catalogue, proven):
    wrong, switched = 0, set()
    print('\n%-12s %-20s %-52s %s' % ('switch', 'suite', 'case', 'when broken'))
    for test, case, proves, switch in breakable_cases():
        verdict = judge(test, case, switch)
        wrong += verdict != 'ok'
        if verdict == 'ok':
            switched.update(proves.split())
        print('%-12s %-20s %-52s %s' % (switch, test['name'], case,
                                        'fails, as it must' if verdict == 'ok' else 'WRONG: ' + verdict),
              flush=True)
    bare = [name for name, row in catalogue.items()
            if row[0] == 'S' and name in proven and name not in switched]
    if bare:
        print('proven S rows without a break switch that works: ' + ' '.join(bare))
    print('%d switches are not noticed as they must' % wrong)
    return wrong + len(bare)


def main():
    parser = argparse.ArgumentParser(description='Which requirements the last test run proves.')
    parser.add_argument('--missing', action='store_true')
    parser.add_argument('--break', dest='breaks', action='store_true')
    args = parser.parse_args()
    if not os.path.exists(os.path.join(suites.BUILD, 'tests.log')):
        sys.exit('requirements.py: no build/tests.log yet: run "make requirements" or "make test"')
    catalogue, invariants, proven = suites.load_catalogue(), suites.load_invariants(), proven_ids()
    print_counts(catalogue, invariants, proven)
    wrong = print_missing(catalogue, invariants, proven) if args.missing else 0
    wrong += print_breaks(catalogue, proven) if args.breaks else 0
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
