/* SPDX-License-Identifier: MIT */
/* ring.h - what user mode and the simulated device share of a doorbell's ring. All fields are little-endian
 * 64-bit words that each side stores whole. Owns nothing.
 *   put counts the entries ever written, get those executed; entry i lies at ring + (i % entries) * 32.
 * To submit: write the entry, store put, release, store put to the doorbell word. A newly connected doorbell
 * shows SOFTGPU_DOOR_FRESH, which is no put. */
#ifndef SOFTGPU_RING_H
#define SOFTGPU_RING_H

#include <stdint.h>

#define SOFTGPU_DOOR_FRESH UINT64_MAX

struct softgpu_ring_entry { uint64_t va, bytes, progress, unused; };
struct softgpu_ring_control { uint64_t put, get; };

#endif
