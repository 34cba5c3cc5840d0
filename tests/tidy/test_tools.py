#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_tools.py - the tools that count: nothing that went wrong in a suite may be counted as passed."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'tools'))
import importlib  # noqa: E402
import suites     # noqa: E402
import tidy       # noqa: E402

seeds = importlib.import_module('seeds')
requirements = importlib.import_module('requirements')
run_tests = importlib.import_module('run-tests')
PASS = ['PASS', 's', 'a', 'VA-01']
FAIL = ['FAIL', 's', 'b', '']
BEGIN, DONE = ['BEGIN', 's', '2'], ['DONE', 's', '2']


def results(lines, status, timed_out=False):
    return [c.result for c in suites.verdict('s', lines, status, timed_out)[0]]


def verdicts():
    """(what, as it is, as it should be) for the reading of logs."""
    yield 'a clean run', results([BEGIN, PASS, DONE], 0), ['PASS']
    yield 'a failed case', results([BEGIN, PASS, FAIL, DONE], 1), ['PASS', 'FAIL']
    yield 'an early exit', results([BEGIN, PASS], 0), ['PASS', 'FAIL']
    yield 'a crash after the last case', results([BEGIN, PASS, DONE], -11), ['PASS', 'FAIL']
    yield 'a leak found at exit', results([BEGIN, PASS, DONE], 23), ['PASS', 'FAIL']
    yield 'a hang', results([BEGIN, PASS], -9, True), ['PASS', 'FAIL']
    yield 'a plain program that passed', results([], 0), ['PASS']
    yield 'a plain program that failed', results([], 1), ['FAIL']
    yield 'a plain program that skipped', results([], 77), ['SKIP']


def tallied(*cases):
    tally = run_tests.Tally()
    for result, proves in cases:
        tally.add(suites.Case(result, 's', 'a', proves))
    return [(c.result, c.proves) for c in tally.merged.values()]


def tallies():
    yield 'a function that stands twice', tallied(('PASS', 'VA-01'), ('PASS', 'VA-02')), \
        [('PASS', 'VA-01 VA-02')]
    yield 'a case that fails in one configuration', tallied(('PASS', 'VA-01'), ('FAIL', 'VA-01')), \
        [('FAIL', 'VA-01')]
    yield 'a case that one configuration leaves out', tallied(('PASS', 'VA-01'), ('SKIP', 'VA-01')), \
        [('PASS', 'VA-01')]


# A stand-in for a test program: what it does when broken is its argument.
PROGRAM = r'''
import os, signal, sys
broken, log = os.environ.get('VIDMM_BREAK'), os.environ['VIDMM_TEST_LOG']
def line(*words):
    with open(log, 'a') as f:
        f.write('\t'.join(words) + '\n')
line('BEGIN', 's', '1')
if broken and sys.argv[1] == 'unknown':
    os._exit(3)
if broken and sys.argv[1] == 'dies':
    os.kill(os.getpid(), signal.SIGKILL)
bad = sys.argv[1] == 'always' or (broken and sys.argv[1] == 'notices')
line('FAIL' if bad else 'PASS', 's', 'a', 'VA-01')
line('DONE', 's', '1')
sys.exit(1 if bad else 0)
'''


def judged(program, how):
    test = {'name': 's', 'cmd': [sys.executable, program, how], 'env': {}, 'workdir': None, 'timeout': 30}
    return requirements.judge(test, 'a', 'VA-01')


def judgements():
    with tempfile.TemporaryDirectory(prefix='vidmm-tools-') as folder:
        program = os.path.join(folder, 'program.py')
        with open(program, 'w', encoding='utf-8') as f:
            f.write(PROGRAM)
        yield 'a test that notices its switch', judged(program, 'notices'), 'ok'
        yield 'a test that dies of its switch', judged(program, 'dies'), 'ok'
        yield 'a test that is blind', judged(program, 'blind'), 'passes although broken'
        yield 'a switch that nothing knows', judged(program, 'unknown'), 'nothing knows this switch'
        yield 'a test that fails anyway', judged(program, 'always'), 'does not pass unbroken'


def setup_script():
    tool = os.path.join(suites.ROOT, 'tools', 'setup.sh')
    wrong = subprocess.run([tool, 'nonsense'], stderr=subprocess.PIPE, check=False)
    yield 'setup.sh refuses unknown targets', wrong.returncode, 2
    env = dict(os.environ, NO_INSTALL='1')
    text = subprocess.run([tool, 'demo'], env=env, stdout=subprocess.PIPE, check=False,
                          universal_newlines=True).stdout
    yield 'setup.sh prints the apt line first', text.split(' build')[0], \
        'apt-get install -y --no-install-recommends'


def pages():
    with open(seeds.PAGE, encoding='utf-8') as f:
        yield 'docs/seeds.md is what tools/seeds.py writes', f.read() == seeds.page(), True
    strangers = sorted(set(suites.load_reasons()) - set(suites.load_catalogue()))
    yield 'docs/unproven.tsv names rows only', strangers, []
    binding = [row for row, (ring, _) in suites.load_catalogue().items() if ring == 'S']
    yield 'docs/seeds.tsv names every binding row', sorted(seeds.names()), sorted(binding)


def main():
    rows = list(verdicts()) + list(tallies()) + list(judgements()) + list(setup_script()) + list(pages())
    tidy.log('BEGIN', 'tools', str(len(rows)))
    for what, got, wanted in rows:
        print('%s %s%s' % ('ok  ' if got == wanted else 'FAIL', what,
                           '' if got == wanted else ': %r, not %r' % (got, wanted)))
        tidy.log('PASS' if got == wanted else 'FAIL', 'tools', what, '')
    tidy.log('DONE', 'tools', str(len(rows)))
    return 0 if all(got == wanted for _, got, wanted in rows) else 1


if __name__ == '__main__':
    sys.exit(0 if '--list' in sys.argv else main())
