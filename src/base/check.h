/* SPDX-License-Identifier: MIT */
/* check.h - assertions for our own bugs, never for bad input.
 * Calls nothing: base and core have no libc, so a failed check traps at the very instruction. */
#ifndef VIDMM_BASE_CHECK_H
#define VIDMM_BASE_CHECK_H

/* Always on, release builds included. One condition per CHECK, so that the trap's address names it. */
#define CHECK(cond) do { if (__builtin_expect(!(cond), 0)) __builtin_trap(); } while (0)

/* Expensive checks, only where VIDMM_DEBUG is defined; otherwise compiled but not evaluated (sizeof). */
#ifdef VIDMM_DEBUG
#define DCHECK(cond) CHECK(cond)
#else
#define DCHECK(cond) do { (void)sizeof((cond) ? 1 : 0); } while (0)
#endif

#define STATIC_ASSERT(cond, text) _Static_assert(cond, text)

#endif
