#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run-tests.py - builds and tests the configurations it is given; counts single cases, not programs.

A case counts once, however many configurations run it, and is failed if one of them failed it. Each
build counts as a case too. The last line is "N passed, N failed"; the exit status is 1 if any failed.
Leaves build/tests.log (one line per case) and build/<configuration>/output/ (what each suite printed).
"""
import argparse
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import suites

# compiler, arguments of meson setup, whether the suite runs, patience, environment of the suite
CONFIGS = {
    'gcc': ('gcc', [], True, 1, {}),
    'clang': ('clang', [], False, 1, {}),
    'asan': ('gcc', ['-Db_sanitize=address,undefined', '-Db_lundef=false'], True, 3, {
        'ASAN_OPTIONS': 'detect_leaks=1:detect_stack_use_after_return=1',
        'UBSAN_OPTIONS': 'print_stacktrace=1',
        'VIDMM_TEST_SCALE': '25'}),
    'tsan': ('clang', ['-Db_sanitize=thread', '-Db_lundef=false'], True, 6, {
        'TSAN_OPTIONS': 'halt_on_error=1:second_deadlock_stack=1',
        'VIDMM_TEST_SCALE': '10'}),
}
JOBS = max(1, min(4, os.cpu_count() or 1))


def say(text):
    print(text, flush=True)


def build(name, quiet):
    """Configures if needed and compiles; the compiler's lines go to the terminal as they come."""
    compiler, arguments, _, _, _ = CONFIGS[name]
    where = os.path.join(suites.BUILD, name)
    out = subprocess.DEVNULL if quiet else None
    say('== %s: building in build/%s' % (name, name))
    if not os.path.exists(os.path.join(where, 'build.ninja')):
        shutil.rmtree(where, ignore_errors=True)
        setup = subprocess.run(['meson', 'setup', where, suites.ROOT] + arguments,
                               env=dict(os.environ, CC=compiler), stdout=out, check=False)
        if setup.returncode != 0:
            return False
    elif suites.lacks_a_folder(where):
        again = subprocess.run(['meson', 'setup', '--reconfigure', where, suites.ROOT], stdout=out,
                               check=False)
        if again.returncode != 0:
            return False
    return subprocess.run(['ninja', '-C', where, '-j', str(JOBS)], stdout=out, check=False).returncode == 0


def can_fix_addresses():
    """Whether setarch -R works: old sanitizer runtimes do not start in a widely randomised address space."""
    try:
        check = subprocess.run(['setarch', '-R', 'true'], stderr=subprocess.DEVNULL, check=False)
        return check.returncode == 0
    except OSError:
        return False


def run_config(name, only, quiet):
    """Runs every suite of a configuration, side by side where Meson allows it. Gives the cases."""
    _, _, _, patience, environment = CONFIGS[name]
    where = os.path.join(suites.BUILD, name)
    output = os.path.join(where, 'output')
    shutil.rmtree(output, ignore_errors=True)
    os.makedirs(output)
    tests = [t for t in suites.introspect(where) if not only or t['name'] in only]
    prefix = ['setarch', '-R'] if name == 'tsan' and can_fix_addresses() else []
    cases, harness, lock, done = [], [], threading.Lock(), [0]

    def one(test):
        test = dict(test, cmd=prefix + test['cmd'])
        outcome = suites.run(test, environment, max(test['timeout'], 60) * patience)
        with lock:
            done[0] += 1
            cases.extend(outcome.cases)
            if outcome.harness:
                harness.append(test['name'])
            with open(os.path.join(output, test['name'] + '.txt'), 'w', encoding='utf-8') as f:
                f.write(outcome.output)
            report(name, test['name'], outcome, '%3d/%d' % (done[0], len(tests)), quiet)

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(one, [t for t in tests if t['is_parallel']]))
    for test in tests:
        if not test['is_parallel']:
            one(test)
    with open(os.path.join(where, 'harness.json'), 'w', encoding='utf-8') as f:
        json.dump(sorted(harness), f)
    return cases


def report(config, suite, outcome, place, quiet):
    failed = [c for c in outcome.cases if c.result == 'FAIL']
    if not quiet or failed:
        say('%s %s  %-5s %-28s %4d cases %6.1f s' % (place, 'FAIL' if failed else 'ok  ', config, suite,
                                                    len(outcome.cases), outcome.seconds))
    for c in failed:
        say('        %s: %s' % (c.suite, c.name))
    if failed:
        say('        what it printed: build/%s/output/%s.txt' % (config, suite))


class Tally:
    """Distinct cases over all configurations."""

    def __init__(self):
        self.merged = {}

    def add(self, case):
        """The worst result counts. One function may stand twice in a suite, once for each row it proves."""
        key = (case.suite, case.name)
        order = ('SKIP', 'PASS', 'FAIL')
        old = self.merged.get(key, case)
        rows = dict.fromkeys(old.proves.split() + case.proves.split())
        worst = max(old, case, key=lambda c: order.index(c.result))
        self.merged[key] = worst._replace(proves=' '.join(rows))

    def count(self, result):
        return sum(1 for c in self.merged.values() if c.result == result)

    def refuse_unknown_ids(self):
        known = set(suites.load_catalogue()) | set(suites.load_invariants())
        for c in list(self.merged.values()):
            for name in c.proves.split():
                if name not in known:
                    say('%s: %s claims to prove %s, which no catalogue knows' % (c.suite, c.name, name))
                    self.add(c._replace(result='FAIL'))

    def write(self):
        with open(os.path.join(suites.BUILD, 'tests.log'), 'w', encoding='utf-8') as f:
            for key in sorted(self.merged):
                f.write('\t'.join(self.merged[key]) + '\n')


def arguments():
    parser = argparse.ArgumentParser(description='Builds and tests configurations.')
    parser.add_argument('config', nargs='+', choices=sorted(CONFIGS))
    parser.add_argument('--build-only', action='store_true')
    parser.add_argument('--quiet', action='store_true', help='print only what fails, and the sum')
    parser.add_argument('--only', action='append', default=[], metavar='SUITE')
    return parser.parse_args()


def main():
    args = arguments()
    tally, start = Tally(), time.monotonic()
    os.makedirs(suites.BUILD, exist_ok=True)
    for name in args.config:
        built = build(name, args.quiet)
        tally.add(suites.Case('PASS' if built else 'FAIL', 'build', name, ''))
        if not built and name == args.config[0]:
            break
        if built and CONFIGS[name][2] and not args.build_only:
            for case in run_config(name, args.only, args.quiet):
                tally.add(case)
    if args.build_only:
        return 1 if tally.count('FAIL') else 0
    tally.refuse_unknown_ids()
    tally.write()
    failures = [c for c in tally.merged.values() if c.result == 'FAIL']
    for c in failures:
        say('FAILED  %s: %s' % (c.suite, c.name))
    if tally.count('SKIP'):
        say('%d skipped' % tally.count('SKIP'))
    say('%.0f s' % (time.monotonic() - start))
    say('%d passed, %d failed' % (tally.count('PASS'), len(failures)))
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
