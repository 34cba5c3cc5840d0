/* SPDX-License-Identifier: MIT */
/* guard.h — copies to and from memory that may not be there.
 * Owns: the process' SIGSEGV and SIGBUS handlers, and which of two ways a copy takes. Calls: libc only.
 *
 * Fast way: plain instructions in one known range. A fault inside the range is turned into `false` by
 * our handler, so a good copy pays nothing. Slow way: the kernel copies (process_vm_readv) and answers
 * EFAULT; taken where a fault could not reach our handler:
 *   - on CPUs for which there is no guard_<cpu>.S;
 *   - before guard_install, or while somebody else's handler sits in front of ours;
 *   - in a thread that had SIGSEGV or SIGBUS blocked at its first copy (the kernel ends a process that
 *     faults with the signal blocked). A thread that copies much should leave these two open.
 *   - in a SIGSEGV or SIGBUS handler that was there before ours, which blocks the signal while it runs.
 * Not covered: a thread that blocks them itself after its first copy (also by the mask of another handler),
 * and a handler installed between two guard_install calls that does not pass on what it does not know. */
#ifndef HOST_GUARD_H
#define HOST_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* Copies n bytes forward. Gives: false if a byte of either side was not accessible; then nothing is known
 * about how much was copied. Never writes to find out whether memory is writable. An aligned copy of 1,
 * 2, 4 or 8 bytes on the fast way is one load and one store. Any thread, async-signal-safe. */
bool guard_copy(void *dst, const void *src, size_t n);

/* Puts our handlers in place, or looks whether they still are: costs two system calls then, so the
 * monitor repeats it now and then. A handler that another part of the program has put in front of ours
 * is left there (it probably calls ours, and we must not call each other in a circle); SIG_DFL and
 * SIG_IGN are replaced. Gives: true if copies take the fast way. Any thread, never waits. */
bool guard_install(void);

/* Gives the handlers back where ours are still in front. Needs: no copy is running. For programs that
 * destroy their last instance, which are tests. */
void guard_uninstall(void);

#endif
