#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tidy.py - the rules of the house as tests: layering, sizes, banned calls, marks, freestanding link.

Each rule is one case; a broken one prints file, line and what to do. Logs like the harness in C.
Use: tidy.py --source DIR [--archive LIB]... [--library LIB] [--list] [--only RULE]
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

import csource

FREESTANDING = {'stdint.h', 'stddef.h', 'stdbool.h', 'stdatomic.h', 'limits.h', 'stdalign.h'}
LINK_NEEDS = {'memcpy', 'memmove', 'memset', 'memcmp'}
# What a folder may include beside its own files; None: anything (a composition root). System headers are
# free except where the folder is listed in BARE.
ARROWS = {
    'src/base': set(),
    'include/vidmm': set(),
    'src/core': {'src/base', 'include/vidmm'},
    'src/host': {'src/base', 'include/vidmm'},
    'src/sim': {'src/base', 'include/vidmm'},
    'src/kmt': {'src/base', 'include/vidmm'},
    'src/softgpu': {'src/base', 'include/vidmm'},
    'src/softgpu/ref': {'src/base', 'include/vidmm', 'src/softgpu'},
    'src/softgpu/dg2': {'src/base', 'include/vidmm', 'src/softgpu'},
    'src/app': None,
    'tests': None,
    'bench': None,
    'demo': None,
}
BARE = {'src/base', 'src/core', 'include/vidmm'}
NOT_FOR_APPS = {'src/core'}
LIMITS = {'file': 900, 'columns': 110, 'function': 60, 'nesting': 3}
BANNED = {
    'memory': ('malloc calloc realloc free aligned_alloc posix_memalign mmap alloca', ('base', 'core')),
    'output': ('printf fprintf snprintf sprintf puts putchar fputs perror write', ('base', 'core')),
    'process': ('abort exit _exit getenv setenv secure_getenv rand random srand qsort', ('base', 'core')),
    'threads': ('pthread_\\w+ thrd_\\w+ mtx_\\w+ cnd_\\w+ sem_\\w+ futex', ('base', 'core', 'kmt')),
    'clock': ('clock clock_gettime gettimeofday time nanosleep usleep sleep', ('base', 'core', 'kmt')),
    'files': ('open openat fopen read pread pwrite close ioctl socket', ('base', 'core', 'kmt')),
}
MARK = re.compile(r'\b(TO' + r'DO|FIX' + r'ME|XX' + r'X|HA' + r'CK)\b')
HOME = re.compile(r'(?<![\w.$}/])/(home|root|Users)/\w')
LINED = r'\.(c|h|inc|S|py|sh|build)$'
IDS = re.compile(r'"((?:[A-Z]{2,3}-\d+)(?: +[A-Z]{2,3}-\d+)*)"')


class Tree:
    """The source files of the project, each read once."""

    def __init__(self, source, archives, library):
        self.source, self.archives, self.solib = source, archives, library
        self.text = {}
        for top in ('include', 'src', 'tests', 'bench', 'demo', 'tools', 'docs', '.ci'):
            for folder, folders, files in os.walk(os.path.join(source, top)):
                folders[:] = sorted(d for d in folders if d not in ('__pycache__', 'corpus'))
                for name in sorted(files):
                    self.read(os.path.join(folder, name))
        for name in os.listdir(source):
            if os.path.isfile(os.path.join(source, name)):
                self.read(os.path.join(source, name))

    def read(self, path):
        try:
            with open(path, encoding='utf-8') as f:
                self.text[os.path.relpath(path, self.source)] = f.read()
        except UnicodeDecodeError:
            pass    # a binary sample of a test

    def some(self, pattern, *folders):
        """(path, text) of the files whose name matches, below the given folders."""
        for path, text in sorted(self.text.items()):
            if re.search(pattern, path) and (not folders or path.startswith(tuple(f + '/' for f in folders))):
                yield path, text

    def code(self, *folders):
        return self.some(r'\.(c|h|inc|S)$', *folders)


def layer_of(path):
    """The longest folder of ARROWS that holds a path."""
    best = ''
    for layer in ARROWS:
        if path.startswith(layer + '/') and len(layer) > len(best):
            best = layer
    return best


def resolve(tree, path, name):
    """Project file that an include means, or None for a system header."""
    for start in (os.path.dirname(path), 'src', 'include', 'tests', 'tests/harness', 'tests/support', ''):
        candidate = os.path.normpath(os.path.join(start, name))
        if candidate in tree.text:
            return candidate
    return None


def check_include(tree, path, quote, name):
    """What is wrong with one include, or None."""
    layer = layer_of(path)
    target = resolve(tree, path, name)
    if target is None:
        if quote == '"' and layer not in ('', 'tests', 'bench', 'demo'):
            return 'no such file in the project: "%s"' % name
        if layer in BARE and name not in FREESTANDING:
            return 'a freestanding folder includes <%s>; allowed: %s' % (name, ' '.join(sorted(FREESTANDING)))
        return None
    other = layer_of(target)
    if other == layer:
        return None
    if ARROWS[layer] is None:
        if layer == 'src/app' and other in NOT_FOR_APPS:
            return 'apps reach core only through include/vidmm, not "%s"' % name
        return None
    if other not in ARROWS[layer]:
        return '%s must not know %s: "%s"' % (layer, other or target, name)
    return None


def includes_follow_the_arrows(tree):
    for path, text in tree.code('include', 'src', 'tests', 'bench', 'demo'):
        if not layer_of(path):
            yield '%s:1: lies in no known layer' % path
            continue
        for line, quote, name in csource.includes(text):
            wrong = check_include(tree, path, quote, name)
            if wrong:
                yield '%s:%d: %s' % (path, line, wrong)


def files_have_a_bound(tree):
    for path, text in tree.some(LINED):
        if text.count('\n') > LIMITS['file']:
            yield '%s:1: %d lines, at most %d: split by meaning' % (path, text.count('\n'), LIMITS['file'])


def lines_have_a_bound(tree):
    for path, text in tree.some(LINED):
        for number, line in enumerate(text.split('\n'), 1):
            if len(line) > LIMITS['columns']:
                yield '%s:%d: %d columns, at most %d' % (path, number, len(line), LIMITS['columns'])


def functions_have_a_bound(tree):
    for path, text in tree.code('include', 'src', 'tests', 'bench', 'demo'):
        for f in csource.functions(text):
            if f.lines > LIMITS['function']:
                yield '%s:%d: %s has %d lines, at most %d' % (path, f.line, f.name, f.lines,
                                                              LIMITS['function'])


def nesting_has_a_bound(tree):
    for path, text in tree.code('include', 'src', 'tests', 'bench', 'demo'):
        for f in csource.functions(text):
            if f.depth > LIMITS['nesting']:
                yield '%s:%d: %s nests %d deep, at most %d' % (path, f.line, f.name, f.depth,
                                                               LIMITS['nesting'])


def files_start_with_the_licence(tree):
    for path, text in tree.some(r'\.(c|h|inc|S|py|sh|build|map)$'):
        if not any('SPDX-License-Identifier: MIT' in line for line in text.split('\n')[:2]):
            yield '%s:1: the first line must be /* SPDX-License-Identifier: MIT */' % path


def no_left_over_marks(tree):
    for path, text in tree.some(r'\.(c|h|inc|S|py|sh|build|md)$', 'src', 'include', 'tests', 'tools', 'bench',
                                'demo', 'docs'):
        for number, line in enumerate(text.split('\n'), 1):
            if MARK.search(line):
                yield '%s:%d: a left-over mark; finish it or take it to an issue' % (path, number)


def no_paths_of_one_machine(tree):
    here = os.path.realpath(tree.source)
    for path, text in sorted(tree.text.items()):
        for number, line in enumerate(text.split('\n'), 1):
            if HOME.search(line) or (here.count('/') > 1 and here in line):
                yield '%s:%d: names a path that exists on one machine only' % (path, number)


def nothing_banned_is_called(tree):
    for what, (names, folders) in BANNED.items():
        pattern = re.compile(r'(?<![\w.>*])(' + '|'.join(names.split()) + r')\s*\(')
        for path, text in tree.code(*['src/' + f for f in folders]):
            for number, line in enumerate(csource.blank(text).split('\n'), 1):
                match = pattern.search(line)
                if match:
                    yield '%s:%d: %s() is not for this layer (%s)' % (path, number, match.group(1), what)


def core_has_no_floating_point(tree):
    for path, text in tree.code('src/base', 'src/core', 'include'):
        for number, line in enumerate(csource.blank(text).split('\n'), 1):
            if re.search(r'\b(float|double|_Thread_local|thread_local)\b', line):
                yield '%s:%d: no floating point, no thread-locals in base and core' % (path, number)


def find_cycle(graph, start):
    """A call path from start back to itself, or None."""
    todo, seen = [(start, [start])], set()
    while todo:
        node, path = todo.pop()
        for called in sorted(graph[node]):
            if called == start:
                return path + [start]
            if called not in seen:
                seen.add(called)
                todo.append((called, path + [called]))
    return None


def core_does_not_recurse(tree):
    where, graph = {}, {}
    files = [(path, csource.functions(text)) for path, text in tree.code('src/base', 'src/core', 'include')]
    for path, found in files:
        own = {f.name for f in found}
        for f in found:
            key = (path, f.name)
            where[key] = f.line
            graph[key] = {(path, c) for c in f.calls if c in own}
            graph[key] |= {(p, c) for c in f.calls - own for p, g in files if any(c == h.name for h in g)}
    for key in sorted(graph):
        cycle = find_cycle(graph, key)
        if cycle:
            yield '%s:%d: recursion: %s' % (key[0], where[key], ' -> '.join(name for _, name in cycle))


def output_of(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout


def base_and_core_link_freestanding(tree):
    if not tree.archives:
        yield 'no archive was given, so nothing was checked'
        return
    with tempfile.TemporaryDirectory(prefix='vidmm-tidy-') as scratch:
        whole = os.path.join(scratch, 'whole.o')
        subprocess.run(['ld', '-r', '-o', whole, '--whole-archive'] + tree.archives, check=True)
        undefined = {line.split()[-1].split('@')[0] for line in output_of(['nm', '-u', whole]).splitlines()}
    undefined.discard('_GLOBAL_OFFSET_TABLE_')
    for name in sorted(undefined - LINK_NEEDS):
        yield 'base and core need %s; allowed are only %s' % (name, ' '.join(sorted(LINK_NEEDS)))


def base_and_core_have_no_globals(tree):
    if not tree.archives:
        yield 'no archive was given, so nothing was checked'
    for archive in tree.archives:
        member = archive
        for line in output_of(['size', '-A', archive]).splitlines():
            words = line.split()
            if len(words) >= 2 and words[1] == ':':
                member = words[0]
            variable = len(words) == 3 and re.match(r'\.(data|bss|tdata|tbss)(?!\.rel\.ro)', words[0])
            if variable and words[1] != '0':
                yield '%s: %s bytes in %s: variables outside of functions' % (member, words[1], words[0])


def headers_compile_alone(tree):
    for path, _ in tree.some(r'\.h$', 'include', 'src/base'):
        command = ['cc', '-std=c17', '-ffreestanding', '-Wall', '-Wextra', '-Wpedantic', '-Werror',
                   '-fsyntax-only', '-I' + os.path.join(tree.source, 'include'),
                   '-I' + os.path.join(tree.source, 'src'),
                   '-x', 'c', '-include', os.path.join(tree.source, path), '-']
        done = subprocess.run(command, input='typedef int some;\n', stderr=subprocess.PIPE,
                              universal_newlines=True, check=False)
        if done.returncode != 0:
            yield '%s:1: does not compile by itself: %s' % (path, done.stderr.strip())


def the_library_exports_its_headers_only(tree):
    if not tree.solib:
        yield 'no library was given, so nothing was checked'
        return
    declared = ' '.join(csource.blank(text) for _, text in tree.code('include'))
    for line in output_of(['nm', '-D', '--defined-only', tree.solib]).splitlines():
        name = line.split()[-1].split('@')[0]
        if line.split()[-2] != 'A' and not re.search(r'\b%s\s*\(' % name, declared):
            yield '%s exports %s, which no public header declares' % (os.path.basename(tree.solib), name)
    if 'libvidmm.so.0' not in output_of(['readelf', '-d', tree.solib]):
        yield 'the soname is not libvidmm.so.0'


def claimed_ids(tree):
    """(path, line, ID) of everything that looks like the 'proves' of a test table."""
    for path, text in tree.code('tests'):
        for number, line in enumerate(csource.uncomment(text).split('\n'), 1):
            for match in IDS.finditer(line):
                for name in match.group(1).split():
                    yield path, number, name


def invariant_ids(tree, pattern=r'^(\d+)\. '):
    return {'INV-%02d' % int(n) for n in re.findall(pattern, tree.text['docs/invariants.md'], re.M)}


def tests_claim_known_ids(tree):
    known = {line.split('\t')[0] for line in tree.text['docs/requirements.tsv'].split('\n')}
    known |= invariant_ids(tree)
    for path, number, name in claimed_ids(tree):
        if name not in known:
            yield '%s:%d: %s is in neither requirements.tsv nor invariants.md' % (path, number, name)


def every_invariant_has_a_test(tree):
    claimed = {name for _, _, name in claimed_ids(tree)}
    for name in sorted(invariant_ids(tree, r'^(\d+)\. (?!\(Not yet\))') - claimed):
        yield 'docs/invariants.md: no test says that it proves %s' % name


def every_test_file_is_registered(tree):
    named = '\n'.join(text for _, text in tree.some(r'(^|/)meson\.build$', 'tests'))
    for path, _ in tree.some(r'/test_\w+\.(c|py)$', 'tests'):
        stem = re.sub(r'^test_|\.\w+$', '', os.path.basename(path))
        if not re.search(r"['_]%s['.]" % stem, named):
            yield '%s:1: no meson.build below tests/ names it, so it never runs' % path


RULES = [
    includes_follow_the_arrows, files_have_a_bound, lines_have_a_bound, functions_have_a_bound,
    nesting_has_a_bound, files_start_with_the_licence, no_left_over_marks, no_paths_of_one_machine,
    nothing_banned_is_called, core_has_no_floating_point, core_does_not_recurse,
    base_and_core_link_freestanding, base_and_core_have_no_globals, headers_compile_alone,
    the_library_exports_its_headers_only, tests_claim_known_ids,
    every_invariant_has_a_test, every_test_file_is_registered,
]


def log(*words):
    path = os.environ.get('VIDMM_TEST_LOG')
    if path:
        with open(path, 'a', encoding='utf-8') as f:
            f.write('\t'.join(words) + '\n')


def main():
    parser = argparse.ArgumentParser(description='The rules of the house.')
    parser.add_argument('--source', required=True)
    parser.add_argument('--archive', action='append', default=[])
    parser.add_argument('--library', dest='solib', help='libvidmm.so')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--only', action='append', default=[])
    args = parser.parse_args()
    rules = [r for r in RULES if not args.only or r.__name__ in args.only]
    if args.list:
        for rule in RULES:
            print('%s\t\t' % rule.__name__)
        return 0
    tree, failed = Tree(args.source, args.archive, args.solib), 0
    log('BEGIN', 'tidy', str(len(rules)))
    for rule in rules:
        wrong = list(rule(tree))
        print('%s %s' % ('FAIL' if wrong else 'ok  ', rule.__name__))
        for line in wrong:
            print('    ' + line)
        log('FAIL' if wrong else 'PASS', 'tidy', rule.__name__, '')
        failed += bool(wrong)
    log('DONE', 'tidy', str(len(rules)))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
