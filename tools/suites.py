# SPDX-License-Identifier: MIT
"""suites.py - the test executables of a build directory, and the lines they log.

Shared by run-tests.py and requirements.py. A suite that uses the harness logs, per case,
    PASS|FAIL|SKIP <tab> suite <tab> case <tab> IDs it proves
between a BEGIN and a DONE line; a suite that logs nothing counts as one case by its exit status.
"""
import collections
import json
import os
import signal
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, 'build')

Case = collections.namedtuple('Case', 'result suite name proves')
Outcome = collections.namedtuple('Outcome', 'cases output seconds harness status')


def load_catalogue():
    """ID -> (ring, sentence), in the order of the file."""
    rows = {}
    with open(os.path.join(ROOT, 'docs', 'requirements.tsv'), encoding='utf-8') as f:
        for line in f:
            if not line.startswith('#') and line.strip():
                name, ring, sentence = line.rstrip('\n').split('\t')
                rows[name] = (ring, sentence)
    return rows


def load_reasons():
    """ID -> why no test proves it."""
    with open(os.path.join(ROOT, 'docs', 'unproven.tsv'), encoding='utf-8') as f:
        return dict(line.rstrip('\n').split('\t') for line in f if not line.startswith('#'))


def load_invariants():
    """The IDs INV-nn of docs/invariants.md, whose numbered lines are '12. text'."""
    found = []
    with open(os.path.join(ROOT, 'docs', 'invariants.md'), encoding='utf-8') as f:
        for line in f:
            number = line.split('.', 1)[0]
            if number.isdigit():
                found.append('INV-%02d' % int(number))
    return found


def introspect(build_dir, what='--tests'):
    """What Meson knows about a build directory: its tests as dictionaries, or its build files."""
    text = subprocess.run(['meson', 'introspect', what, build_dir], check=True,
                          stdout=subprocess.PIPE, universal_newlines=True).stdout
    return json.loads(text)


def lacks_a_folder(build_dir):
    """Whether a folder with a meson.build appeared that this build directory was configured without."""
    known = set(introspect(build_dir, '--buildsystem-files'))
    for top in ('src', 'tests', 'bench', 'demo'):
        for folder, _, files in os.walk(os.path.join(ROOT, top)):
            if 'meson.build' in files and os.path.join(folder, 'meson.build') not in known:
                return True
    return False


def read_log(path):
    with open(path, encoding='utf-8', errors='replace') as f:
        return [line.rstrip('\n').split('\t') for line in f]


def verdict(name, lines, status, timed_out):
    """Cases of one finished suite; what went wrong outside of a case becomes a failed case."""
    cases = [Case(p[0], p[1], p[2], p[3] if len(p) > 3 else '')
             for p in lines if p[0] in ('PASS', 'FAIL', 'SKIP') and len(p) >= 3]
    harness = any(p[0] == 'BEGIN' for p in lines)
    failed = any(c.result == 'FAIL' for c in cases)
    if timed_out:
        cases.append(Case('FAIL', name, '(timed out)', ''))
    elif not harness:
        result = {0: 'PASS', 77: 'SKIP'}.get(status, 'FAIL')
        cases.append(Case(result, name, '(whole program)', ''))
    elif not any(p[0] == 'DONE' for p in lines):
        cases.append(Case('FAIL', name, '(ended before its last case)', ''))
    elif status != 0 and not failed:
        cases.append(Case('FAIL', name, '(exit status %d after its last case)' % status, ''))
    return cases, harness


def run(test, environment, timeout, extra=()):
    """Runs one test as Meson would, in a process group of its own that is ended with it."""
    with tempfile.TemporaryDirectory(prefix='vidmm-test-') as scratch:
        log = os.path.join(scratch, 'log')
        open(log, 'w', encoding='utf-8').close()
        env = dict(os.environ)
        env.update(test['env'])
        env.update(environment)
        env['VIDMM_TEST_LOG'] = log
        start = time.monotonic()
        child = subprocess.Popen(test['cmd'] + list(extra), env=env, cwd=test['workdir'] or ROOT,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, start_new_session=True)
        timed_out = False
        try:
            output, _ = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            os.killpg(child.pid, signal.SIGKILL)
            output, _ = child.communicate()
        cases, harness = verdict(test['name'], read_log(log), child.returncode, timed_out)
        text = output.decode('utf-8', 'replace')
        return Outcome(cases, text, time.monotonic() - start, harness, child.returncode)
