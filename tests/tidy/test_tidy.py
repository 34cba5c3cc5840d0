#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_tidy.py - a rule that cannot fail proves nothing: each one meets a small tree that breaks it."""
import os
import subprocess
import sys
import tempfile

import tidy

SPDX = '/* SPDX-License-Identifier: MIT */\n'
CLEAN = {
    'src/base/list.h': SPDX + '#include <stdint.h>\nint list_next(int a);\n',
    'src/base/list.c': SPDX + '#include "base/list.h"\nint list_next(int a)\n{\n    return a + 1;\n}\n',
    'src/core/obj.h': SPDX + '#include <vidmm/types.h>\n#include "base/list.h"\n',
    'src/host/posix.c': SPDX + '#include <pthread.h>\n#include <vidmm/types.h>\n',
    'src/softgpu/gpu.h': SPDX,
    'src/softgpu/ref/ref.c': SPDX + '#include "softgpu/gpu.h"\n',
    'src/app/cli/main.c': SPDX + '#include <stdio.h>\n#include "host/posix.c"\n',
    'include/vidmm/types.h': SPDX + '#include <stdint.h>\nint list_next(int a);\n',
    'tests/unit/test_list.c': SPDX + 'static const char *ids = "VA-01 INV-01";\n',
    'tests/meson.build': "# SPDX-License-Identifier: MIT\n'list'\n",
    'docs/requirements.tsv': 'VA-01\tS\tA row.\n',
    'docs/invariants.md': '1. One.\n2. (Not yet) Two.\n',
}
DEEP = 'int f(int a)\n{\n    if (a) {\n        for (;;) {\n            while (a) {\n' \
       '                if (a) { a--; }\n            }\n        }\n    }\n    return 0;\n}\n'
# rule, file that breaks it, its text
BREAKS = [
    ('includes_follow_the_arrows', 'src/base/x.c', SPDX + '#include <stdlib.h>\n'),
    ('includes_follow_the_arrows', 'src/base/x.c', SPDX + '#include <vidmm/types.h>\n'),
    ('includes_follow_the_arrows', 'src/core/x.c', SPDX + '#include "host/posix.c"\n'),
    ('includes_follow_the_arrows', 'src/host/x.c', SPDX + '#include "core/obj.h"\n'),
    ('includes_follow_the_arrows', 'src/host/x.c', SPDX + '#include "../core/obj.h"\n'),
    ('includes_follow_the_arrows', 'src/host/x.c', SPDX + '#include <softgpu/gpu.h>\n'),
    ('includes_follow_the_arrows', 'src/softgpu/x.c', SPDX + '#include "ref/ref.c"\n'),
    ('includes_follow_the_arrows', 'src/softgpu/dg2/x.c', SPDX + '#include "softgpu/ref/ref.c"\n'),
    ('includes_follow_the_arrows', 'src/app/x.c', SPDX + '#include "core/obj.h"\n'),
    ('includes_follow_the_arrows', 'src/host/x.c', SPDX + '#include "nowhere.h"\n'),
    ('includes_follow_the_arrows', 'src/unknown/x.c', SPDX),
    ('files_have_a_bound', 'src/host/x.c', SPDX + '\n' * 900),
    ('lines_have_a_bound', 'src/host/x.c', SPDX + 'x' * 111 + '\n'),
    ('functions_have_a_bound', 'src/host/x.c', SPDX + 'void f(void)\n{\n' + '    ;\n' * 60 + '}\n'),
    ('nesting_has_a_bound', 'src/host/x.c', SPDX + DEEP),
    ('files_start_with_the_licence', 'src/host/x.c', '/* no licence */\n\n' + SPDX),
    ('no_left_over_marks', 'src/host/x.c', SPDX + '/* FIX' + 'ME later */\n'),
    ('no_paths_of_one_machine', 'src/host/x.c', SPDX + '/* see /' + 'home/somebody/notes */\n'),
    ('nothing_banned_is_called', 'src/base/x.c', SPDX + 'void f(void) { malloc (1); }\n'),
    ('nothing_banned_is_called', 'src/kmt/x.c', SPDX + 'void f(void) { pthread_self(); }\n'),
    ('core_has_no_floating_point', 'src/core/x.c', SPDX + 'double d;\n'),
    ('core_does_not_recurse', 'src/core/x.c', SPDX + 'int f(int a)\n{\n    return f(a - 1);\n}\n'),
    ('core_does_not_recurse', 'src/core/x.c', SPDX + 'int f(int a);\nint g(int a) { return f(a); }\n'
                                                     'int f(int a) { return g(a); }\n'),
    ('tests_claim_known_ids', 'tests/unit/x.c', SPDX + 'const char *a = "VA-99";\n'),
    ('every_invariant_has_a_test', 'docs/invariants.md', '1. One.\n3. Three.\n'),
    ('headers_compile_alone', 'include/vidmm/x.h', SPDX + 'size_t f(void);\n'),
    ('the_library_exports_its_headers_only', 'src/base/x.c', 'void vidmm_secret(void) {}\n'),
    ('every_test_file_is_registered', 'tests/unit/test_forgotten.c', SPDX),
    ('base_and_core_link_freestanding', 'src/base/x.c', 'void puts(char *); void f(void) { puts(0); }\n'),
    ('base_and_core_have_no_globals', 'src/base/x.c', 'int counter;\n'),
    ('base_and_core_have_no_globals', 'src/base/x.c', 'static int n = 3; int *f(void) { return &n; }\n'),
]
# Things that look like a breach and are none.
ALLOWED = [
    ('nothing_banned_is_called', 'src/base/x.c', SPDX + '/* malloc() */ void f(t *m) { m->free(m); }\n'),
    ('nesting_has_a_bound', 'src/host/x.c', SPDX + 'struct s a = {{{{{1}}}}};\n'),
    ('functions_have_a_bound', 'src/host/x.c', SPDX + 'int a[] = {\n' + '    1,\n' * 90 + '};\n'),
    ('core_does_not_recurse', 'src/core/x.c', SPDX + 'int f(struct s *o)\n{\n    return o->f(1);\n}\n'),
    ('base_and_core_link_freestanding', 'src/base/x.c', 'void *memset(void *, int, unsigned long);\n'
                                                        'void f(char *p) { memset(p, 1, 77); }\n'),
    ('the_library_exports_its_headers_only', 'src/base/x.c', 'int list_next(int a) { return a; }\n'),
    ('base_and_core_have_no_globals', 'src/base/x.c', 'int g(void); static int (*const t[])(void) = {g};\n'
                                                      'int f(int i) { return t[i](); }\n'),
]


def write(folder, files):
    for path, text in files.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'w', encoding='utf-8') as f:
            f.write(text)


def archive_of(folder, path):
    """Compiles one file into an archive, as the build does for base and core."""
    obj, lib = os.path.join(folder, 'x.o'), os.path.join(folder, 'x.a')
    subprocess.run(['cc', '-c', '-fPIC', '-ffreestanding', '-o', obj, os.path.join(folder, path)], check=True)
    subprocess.run(['ar', 'rcs', lib, obj], check=True)
    return [lib]


def library_of(folder, path):
    lib = os.path.join(folder, 'libvidmm.so')
    subprocess.run(['cc', '-shared', '-fPIC', '-nostdlib', '-Wl,-soname,libvidmm.so.0', '-o', lib,
                    os.path.join(folder, path)], check=True)
    return lib


def complaints(rule, extra):
    with tempfile.TemporaryDirectory(prefix='vidmm-tidy-') as folder:
        write(folder, dict(CLEAN, **extra))
        archives = archive_of(folder, *extra) if rule.startswith('base_and_core') else []
        library = library_of(folder, *extra) if rule.startswith('the_library') else None
        return list(getattr(tidy, rule)(tidy.Tree(folder, archives, library)))


def cases():
    for rule in tidy.RULES:
        if not rule.__name__.startswith(('base_and_core', 'the_library')):
            yield 'clean tree passes ' + rule.__name__, not complaints(rule.__name__, {})
    for number, (rule, path, text) in enumerate(BREAKS):
        yield 'breach %d is seen by %s' % (number + 1, rule), bool(complaints(rule, {path: text}))
    for number, (rule, path, text) in enumerate(ALLOWED):
        yield 'look-alike %d passes %s' % (number + 1, rule), not complaints(rule, {path: text})
    unbroken = {rule.__name__ for rule in tidy.RULES} - {rule for rule, _, _ in BREAKS}
    yield 'every rule meets a breach', not unbroken


def main():
    if '--list' in sys.argv:
        return 0
    results = list(cases())
    tidy.log('BEGIN', 'tidy_rules', str(len(results)))
    for name, good in results:
        print('%s %s' % ('ok  ' if good else 'FAIL', name))
        tidy.log('PASS' if good else 'FAIL', 'tidy_rules', name, '')
    tidy.log('DONE', 'tidy_rules', str(len(results)))
    return 0 if all(good for _, good in results) else 1


if __name__ == '__main__':
    sys.exit(main())
