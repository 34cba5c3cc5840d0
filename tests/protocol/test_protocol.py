#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_protocol.py - the protocol models, checked exhaustively by spin: as they are, and with each defect.

A model that no defect can upset proves nothing, so every defect flag is a case of its own: it passes when
the checker finds the trace. The sizes are the smallest at which all of them are found.
"""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SAFETY, LIVE = 'safety', 'live'
# name of the case, model, flags, mode, whether an error must be found
CASES = [
    ('paging_holds', 'paging', '-DN0=2 -DN1=4', SAFETY, False),
    ('paging_holds_for_user_mode_submission', 'paging', '-DN0=2 -DN1=4 -DUSER_SUBMIT', SAFETY, False),
    ('paging_holds_when_a_process_is_killed', 'paging', '-DN0=2 -DN1=2 -DKILL', SAFETY, False),
    ('paging_gets_every_packet_done', 'paging', '-DN0=2 -DN1=2', LIVE, False),
    ('paging_without_flush', 'paging', '-DN0=2 -DN1=4 -DBUG_NO_FLUSH', SAFETY, True),
    ('paging_with_late_dma', 'paging', '-DN0=2 -DN1=4 -DBUG_LATE_DMA', SAFETY, True),
    ('paging_that_drains_before_it_clears', 'paging', '-DN0=2 -DN1=4 -DBUG_DRAIN_FIRST', SAFETY, True),
    ('paging_without_suspension', 'paging', '-DN0=2 -DN1=4 -DBUG_NO_SUSPEND', SAFETY, True),
    ('paging_that_copies_before_it_invalidates', 'paging', '-DN0=2 -DN1=4 -DBUG_ORDER', SAFETY, True),
    ('paging_fence_signalled_early', 'paging', '-DN0=2 -DN1=4 -DUSER_SUBMIT -DBUG_FENCE_EARLY', SAFETY, True),
    ('paging_on_two_engines', 'paging', '-DN0=2 -DN1=4 -DTWO_ENGINES', SAFETY, True),
    ('paging_without_a_packet_after_resume', 'paging', '-DN0=2 -DN1=2 -DBUG_NO_QUANTUM', LIVE, True),
    ('tile_holds', 'tile', '-DM=3 -DR=4', SAFETY, False),
    ('tile_bound_early', 'tile', '-DBUG_EARLY_BIND', SAFETY, True),
    ('tile_with_a_running_companion', 'tile', '-DBUG_NO_SUSPEND_COMPANION', SAFETY, True),
    ('tile_fixed_up_from_queued_state', 'tile', '-DBUG_FIXUP_QUEUED', SAFETY, True),
    ('tile_not_fixed_up', 'tile', '-DBUG_NO_FIXUP', SAFETY, True),
    ('tile_without_flush', 'tile', '-DBUG_NO_TLB', SAFETY, True),
    ('tile_pool_not_pinned', 'tile', '-DBUG_NO_PIN', SAFETY, True),
    ('tile_draw_that_does_not_wait', 'tile', '-DBUG_NO_WAIT', SAFETY, True),
    ('iommu_holds', 'iommu', '-DN=5', SAFETY, False),
    ('iommu_that_clears_the_device_first', 'iommu', '-DBUG_DEV_FIRST', SAFETY, True),
    ('iommu_with_frames_reused_early', 'iommu', '-DBUG_LAZY', SAFETY, True),
    ('iommu_that_forgets_the_device', 'iommu', '-DBUG_NO_DEVTLB', SAFETY, True),
    ('iommu_without_drain', 'iommu', '-DBUG_NO_DRAIN', SAFETY, True),
    ('iommu_freed_with_requests_queued', 'iommu', '-DBUG_NO_PRQ_DRAIN', SAFETY, True),
    ('iommu_freed_without_blocking', 'iommu', '-DBUG_NO_BLOCK', SAFETY, True),
    ('iommu_with_late_requests', 'iommu', '-DBUG_LATE_PRQ', SAFETY, True),
]
COMPILE = {SAFETY: ['-DNOCLAIM', '-DSAFETY', '-DCOLLAPSE'], LIVE: ['-DNFAIR=3']}
RUN = {SAFETY: [], LIVE: ['-a', '-f', '-N', 'live']}


def check(model, flags, mode):
    """What the checker printed for one model with these flags; '' if it could not be built."""
    with tempfile.TemporaryDirectory(prefix='vidmm-protocol-') as work:
        shutil.copy(os.path.join(HERE, model + '.pml'), work)
        reduce = ['-o2'] if mode == SAFETY else []
        steps = [['spin'] + flags.split() + ['-a'] + reduce + [model + '.pml'],
                 ['gcc', '-O2', '-w', '-DVECTORSZ=2048'] + COMPILE[mode] + ['-o', 'pan', 'pan.c'],
                 ['./pan', '-m2000000', '-w22'] + RUN[mode]]
        text = ''
        for step in steps:
            done = subprocess.run(step, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  universal_newlines=True, check=False)
            text = done.stdout
            if done.returncode != 0 and step is not steps[-1]:
                print(text)
                return ''
        return text


def judge(text, must_fail):
    """None, or what is wrong. A search that was cut short says nothing about the absence of errors."""
    found = [line for line in text.splitlines() if 'errors:' in line]
    if not found:
        return 'the checker gave no verdict'
    errors = int(found[0].rsplit('errors:', 1)[1].split()[0])
    if must_fail:
        return None if errors > 0 else 'the defect was not found'
    cut = 'Search not completed' in text or 'max search depth too small' in text or 'error: ' in text
    return 'an error was found' if errors > 0 else 'the search was not complete' if cut else None


def log(line):
    path = os.environ.get('VIDMM_TEST_LOG')
    if path:
        with open(path, 'a', encoding='utf-8') as f:
            f.write(line + '\n')


def main():
    if os.environ.get('VIDMM_PROTOCOL') != '1':
        print('left out: it takes minutes; make test sets VIDMM_PROTOCOL=1')
        return 77
    if shutil.which('spin') is None:
        print('spin is not installed: the protocol models are not checked')
        return 77
    failed = 0
    log('BEGIN\tprotocol\t%d' % len(CASES))
    for name, model, flags, mode, must_fail in CASES:
        text = check(model, flags, mode)
        wrong = judge(text, must_fail)
        failed += wrong is not None
        print('%-45s %s' % (name, wrong or ('found, as it must be' if must_fail else 'holds')), flush=True)
        if wrong:
            print(text)
        log('%s\tprotocol\t%s\t' % ('FAIL' if wrong else 'PASS', name))
    log('DONE\tprotocol\t%d' % len(CASES))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
