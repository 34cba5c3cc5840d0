/* SPDX-License-Identifier: MIT */
/* test_core_va.c - the address services: what is accepted, what is refused, what the page tables then say. */
#include "core/core.h"

#include "core_fixture.h"

#define BASE 0x200000000ull /* a place nobody picks by himself */

/* What the space holds at an address, in the words of these tests. */
enum shown { UNOWNED, OWNED, BOUND };

static enum shown shown_at(struct fx *f, uint64_t va, struct vidmm_open **op, uint64_t *offset)
{
    struct vidmm_va_info info = {0};
    if (vidmm_va_query(f->p, va, &info) != VIDMM_OK) return UNOWNED;
    if (op != NULL) *op = info.open;
    if (offset != NULL) *offset = info.offset;
    return info.bound ? BOUND : OWNED;
}

static vidmm_status map_at(struct fx *f, const struct vidmm_map *in)
{
    uint64_t va = 1, value = 1, before = vidmm_state_hash(f->ad);
    vidmm_status st = vidmm_va_map(f->q, in, &va, &value);
    if (st < 0) assert_int_equal(vidmm_state_hash(f->ad), before);
    if (st >= 0 && in->base != 0) assert_int_equal(va, in->base);
    if (st == VIDMM_OK) assert_int_equal(value, 0);
    if (st == VIDMM_PENDING) assert_true(value != 0);
    return st;
}

static vidmm_status reserve_at(struct fx *f, const struct vidmm_reserve *in)
{
    uint64_t va = 1, value = 1, before = vidmm_state_hash(f->ad);
    vidmm_status st = vidmm_va_reserve(f->p, f->q, in, &va, &value);
    if (st < 0) assert_int_equal(vidmm_state_hash(f->ad), before);
    return st;
}

static vidmm_status free_at(struct fx *f, uint64_t base, uint64_t bytes)
{
    uint64_t before = vidmm_state_hash(f->ad);
    vidmm_status st = vidmm_va_free(f->p, base, bytes);
    if (st < 0) assert_int_equal(vidmm_state_hash(f->ad), before);
    return st;
}

/* ---- units and windows ---------------------------------------------------------------------------- */

static void units_of_addresses_and_sizes(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    assert_int_equal(map_at(&f, &(struct vidmm_map){.base = BASE + 1, .open = op, .bytes = PAGE}),
                     VIDMM_INVALID);
    assert_int_equal(map_at(&f, &(struct vidmm_map){.base = BASE, .open = op, .bytes = PAGE + 8}),
                     VIDMM_INVALID);
    assert_int_equal(map_at(&f, &(struct vidmm_map){.base = BASE, .open = op, .bytes = PAGE, .offset = 512}),
                     VIDMM_INVALID);
    assert_true(map_at(&f, &(struct vidmm_map){.base = BASE, .open = op, .bytes = PAGE}) >= 0);
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.base = BASE + PAGE, .bytes = 65536}),
                     VIDMM_INVALID);
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.base = BASE + 65536, .bytes = PAGE}),
                     VIDMM_INVALID);
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.base = BASE + 65536, .bytes = 65536}), VIDMM_OK);
    assert_int_equal(free_at(&f, BASE + 1, PAGE), VIDMM_INVALID);
    assert_int_equal(free_at(&f, BASE, 1), VIDMM_INVALID);
    assert_int_equal(free_at(&f, BASE, 0), VIDMM_INVALID);
    assert_int_equal(free_at(&f, BASE, PAGE), VIDMM_OK);
    fx_close(&f);
}

/* Minimum up, maximum + 1 down: the inclusive limits that shipping drivers pass must work. */
static void windows_are_rounded_inwards(void **state)
{
    struct fx f;
    uint64_t va = 0;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 64 * KIB, SYS, 0);
    struct vidmm_map in = {.open = op, .bytes = 64 * KIB, .min = BASE - 5, .max = BASE + 0xffff};
    assert_true(fx_try_map(f.q, &in, &va) >= 0);
    assert_int_equal(va, BASE);
    assert_int_equal(map_at(&f, &in), VIDMM_NO_VIDEO_MEMORY);
    in.max = BASE + 0x1ffff;
    assert_true(fx_try_map(f.q, &in, &va) >= 0);
    assert_int_equal(va, BASE + 0x10000);
    struct vidmm_reserve r = {.bytes = 65536, .min = BASE + 0x20001, .max = BASE + 0x3ffff};
    uint64_t value;
    assert_int_equal(vidmm_va_reserve(f.p, f.q, &r, &va, &value), VIDMM_OK);
    assert_int_equal(va, BASE + 0x30000);
    in.min = 0x7fffffff0000;
    in.max = 0x7fffffffffff;
    assert_true(fx_try_map(f.q, &in, &va) >= 0);
    assert_int_equal(va, 0x7fffffff0000);
    in.min = 0xfffffffff000;
    in.max = UINT64_MAX;
    assert_int_equal(map_at(&f, &in), VIDMM_NO_VIDEO_MEMORY);
    in.min = 0;
    in.max = 0x1ffff; /* exactly [0x10000, 0x20000): nothing lower is ever handed out */
    assert_true(fx_try_map(f.q, &in, &va) >= 0);
    assert_int_equal(va, 0x10000);
    fx_close(&f);
}

/* With a base the window does not matter, not even a contradictory one. */
static void a_base_overrides_the_window(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 64 * KIB, SYS, 0);
    struct vidmm_map in = {.base = BASE, .open = op, .bytes = PAGE, .min = BASE + MIB, .max = BASE + 8};
    assert_true(map_at(&f, &in) >= 0);
    struct vidmm_reserve r = {.base = BASE + 65536, .bytes = 65536, .min = UINT64_MAX, .max = 1};
    assert_int_equal(reserve_at(&f, &r), VIDMM_OK);
    fx_close(&f);
}

/* No limits at all: anywhere, from 64 KiB to the top; and nothing outside. */
static void the_ends_of_the_space(void **state)
{
    struct fx f;
    uint64_t top = 1ull << 48;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 128 * KIB, SYS, 0);
    for (uint64_t base = PAGE; base < 65536; base += 15 * PAGE)
        assert_int_equal(map_at(&f, &(struct vidmm_map){.base = base, .open = op, .bytes = PAGE}),
                         VIDMM_INVALID);
    assert_true(map_at(&f, &(struct vidmm_map){.base = 65536, .open = op, .bytes = PAGE}) >= 0);
    assert_int_equal(map_at(&f, &(struct vidmm_map){.base = top, .open = op, .bytes = PAGE}), VIDMM_INVALID);
    assert_int_equal(map_at(&f, &(struct vidmm_map){.base = top - PAGE, .open = op, .bytes = 2 * PAGE}),
                     VIDMM_INVALID);
    assert_int_equal(map_at(&f, &(struct vidmm_map){.base = 0 - PAGE, .open = op, .bytes = 2 * PAGE}),
                     VIDMM_INVALID);
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.base = 0 - 65536ull, .bytes = 131072}),
                     VIDMM_INVALID);
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.bytes = top}), VIDMM_NO_VIDEO_MEMORY);
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.bytes = 0 - 65536ull}), VIDMM_NO_VIDEO_MEMORY);
    /* The topmost page is VidMm's own: fences live there. */
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.base = top - 65536, .bytes = 65536}),
                     VIDMM_INVALID);
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.base = 1ull << 40, .bytes = 1ull << 40}),
                     VIDMM_OK);
    fx_close(&f);
}

/* Sizes and offsets outside the allocation, and numbers that overflow. */
static void sizes_stay_inside_the_allocation(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 5 * PAGE - 100, SYS, 0);
    struct vidmm_map in = {.base = BASE, .open = op};
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID);
    in.bytes = 6 * PAGE;
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID);
    in.bytes = PAGE;
    in.offset = 5 * PAGE;
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID);
    in.offset = 0 - PAGE;
    in.bytes = 2 * PAGE;
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID);
    in.bytes = 0 - PAGE;
    in.offset = PAGE;
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID);
    in.offset = 4 * PAGE;
    in.bytes = PAGE;
    assert_true(map_at(&f, &in) >= 0);
    fx_close(&f);
}

/* ---- ownership ------------------------------------------------------------------------------------ */

/* Map with a base: all free, or inside one earlier range; anything mixed changes nothing. */
static void map_needs_free_or_one_range(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_map(f.q, op, BASE, 0, 4 * PAGE);
    fx_map(f.q, op, BASE + 4 * PAGE, 0, 4 * PAGE);
    struct vidmm_map in = {.base = BASE + 3 * PAGE, .open = op, .bytes = 2 * PAGE};
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID); /* pages of two ranges */
    in.base = BASE + 7 * PAGE;
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID); /* used and free */
    in.base = BASE - PAGE;
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID); /* free and used */
    in.base = BASE + 2 * PAGE;
    assert_true(map_at(&f, &in) >= 0);
    uint64_t range = fx_reserve(&f, BASE + MIB, 65536);
    in.base = range + 65536 - 2 * PAGE;
    assert_true(map_at(&f, &in) >= 0);
    in.bytes = 3 * PAGE;
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID); /* out of the reservation */
    fx_close(&f);
}

static void reserve_needs_every_page_free(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_map(f.q, op, BASE + 65536 - PAGE, 0, PAGE);
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.base = BASE, .bytes = 65536}), VIDMM_INVALID);
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.base = BASE + 65536, .bytes = 65536}), VIDMM_OK);
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.base = BASE + 65536, .bytes = 65536}),
                     VIDMM_INVALID);
    fx_close(&f);
}

/* A map over part of another replaces those pages and no others. */
static void map_replaces_what_it_covers(void **state)
{
    struct fx f;
    struct vidmm_open *who;
    uint64_t at;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, 64 * KIB, SYS, 0), *b = fx_alloc(f.d, 64 * KIB, SYS, 0);
    fx_resident(f.q, a);
    fx_resident(f.q, b);
    fx_map(f.q, a, BASE, 0, 64 * KIB);
    fx_fill(&f, f.c, BASE, 0xaaaaaaaa, 64 * KIB);
    fx_run(&f);
    fx_map(f.q, b, BASE + 4 * PAGE, 8 * PAGE, 4 * PAGE);
    fx_run(&f);
    for (uint64_t i = 0; i < 16; i++) {
        bool inside = i >= 4 && i < 8;
        assert_int_equal(shown_at(&f, BASE + i * PAGE, &who, &at), BOUND);
        assert_ptr_equal(who, inside ? b : a);
        assert_int_equal(at, (inside ? i + 4 : i) * PAGE);
        assert_int_equal(fx_gpu_read(&f, BASE + i * PAGE), inside ? 0 : 0xaaaaaaaaaaaaaaaaull);
    }
    fx_close(&f);
}

/* Only opens of the queue's own device, and none that is being closed. */
static void map_takes_opens_of_its_device(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *foreign = fx_alloc(other.d, MIB, SYS, 0), *op = fx_alloc(f.d, MIB, SYS, 0);
    struct vidmm_map in = {.base = BASE, .open = foreign, .bytes = PAGE};
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID);
    in.open = op;
    assert_true(map_at(&f, &in) >= 0);
    fx_close(&f);
}

/* ---- protections ---------------------------------------------------------------------------------- */

static void protections_that_contradict(void **state)
{
    static const uint64_t bad[] = {
        VIDMM_PROT_ZERO | VIDMM_PROT_NO_ACCESS, VIDMM_PROT_ZERO | VIDMM_PROT_WRITE,
        VIDMM_PROT_NO_ACCESS | VIDMM_PROT_EXECUTE, VIDMM_PROT_SYSTEM_USE_ONLY, 1ull << 5, 1ull << 63, 0,
        VIDMM_PROT_WRITE};
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    for (size_t i = 0; i < VT_COUNT(bad); i++)
        assert_int_equal(map_at(&f, &(struct vidmm_map){.base = BASE, .bytes = PAGE, .protection = bad[i]}),
                         VIDMM_INVALID);
    struct vidmm_map in = {.base = BASE, .bytes = PAGE, .open = op, .protection = VIDMM_PROT_ZERO};
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID);
    in.protection = VIDMM_PROT_NO_ACCESS;
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID);
    in.protection = VIDMM_PROT_SYSTEM_USE_ONLY;
    assert_int_equal(map_at(&f, &in), VIDMM_INVALID);
    fx_map(f.q, op, BASE, 0, 2 * PAGE);
    struct vidmm_map none = {.base = BASE, .bytes = PAGE, .protection = VIDMM_PROT_NO_ACCESS};
    assert_int_equal(map_at(&f, &none), VIDMM_INVALID); /* in a Map-obtained range */
    none.protection = VIDMM_PROT_ZERO;
    assert_int_equal(map_at(&f, &none), VIDMM_INVALID);
    none.base = fx_reserve(&f, BASE + MIB, 65536);
    assert_true(map_at(&f, &none) >= 0);
    none.base = BASE + 2 * MIB;
    assert_true(map_at(&f, &none) >= 0);
    fx_close(&f);
}

/* Zero pages read as zeros and swallow writes; NoAccess pages fault. */
static void zero_and_no_access_states(void **state)
{
    struct fx f;
    uint64_t va, value;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_reserve in = {.base = BASE, .bytes = 65536, .type = VIDMM_RESERVE_ZERO};
    assert_true(vidmm_va_reserve(f.p, f.q, &in, &va, &value) >= 0);
    fx_run(&f);
    fx_fill(&f, f.c, BASE, 0x12345678, 65536);
    assert_int_equal(fx_gpu_read(&f, BASE + 4096), 0);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    struct vidmm_map none = {.base = BASE + PAGE, .bytes = PAGE, .protection = VIDMM_PROT_NO_ACCESS};
    assert_true(map_at(&f, &none) >= 0);
    fx_run(&f);
    (void)fx_gpu_read(&f, BASE + 2 * PAGE);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    (void)fx_gpu_read(&f, BASE + PAGE);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_PAGE_FAULT);
    fx_close(&f);
}

static void zero_needs_the_cap(void **state)
{
    struct fx f;
    uint64_t va, value;
    (void)state;
    fx_open(&f, REF_FORMAT_B);
    struct vidmm_reserve in = {.base = BASE, .bytes = 65536, .type = VIDMM_RESERVE_ZERO};
    assert_int_equal(vidmm_va_reserve(f.p, f.q, &in, &va, &value), VIDMM_INVALID);
    struct vidmm_map zero = {.base = BASE, .bytes = PAGE, .protection = VIDMM_PROT_ZERO};
    assert_int_equal(map_at(&f, &zero), VIDMM_INVALID);
    fx_close(&f);
}

/* Reservation types that user mode may not ask for; a reservation costs no memory, whatever its size. */
static void reservations(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(reserve_at(&f, &(struct vidmm_reserve){.base = BASE, .bytes = 65536, .type = 2}),
                     VIDMM_INVALID);
    uint64_t va, value = 1, tables = f.count.tables_live, frames = f.world.live_frames;
    struct vidmm_reserve zero = {.base = BASE, .bytes = 65536, .type = VIDMM_RESERVE_ZERO};
    assert_int_equal(vidmm_va_reserve(f.p, NULL, &zero, &va, &value), VIDMM_INVALID);
    vidmm_queue_delay(f.q, UINT64_MAX);
    struct vidmm_reserve huge = {.base = 1ull << 44, .bytes = 1ull << 46};
    assert_int_equal(vidmm_va_reserve(f.p, f.q, &huge, &va, &value), VIDMM_OK);
    assert_int_equal(value, 0);
    assert_int_equal(f.count.tables_live, tables);
    assert_int_equal(f.world.live_frames, frames);
    struct vidmm_reserve adapter = {.base = BASE, .bytes = 65536};
    assert_int_equal(vidmm_va_reserve(f.p, NULL, &adapter, &va, &value), VIDMM_OK);
    vidmm_queue_delay(f.q, 0);
    fx_close(&f);
}

/* ---- free ----------------------------------------------------------------------------------------- */

/* Part of a range may be freed; a page that nobody owns makes the call void. */
static void free_in_parts(void **state)
{
    struct fx f;
    uint64_t at;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 64 * KIB, SYS, 0), *who;
    fx_map(f.q, op, BASE, 0, 64 * KIB);
    assert_int_equal(free_at(&f, BASE + 4 * PAGE, 4 * PAGE), VIDMM_OK);
    assert_int_equal(shown_at(&f, BASE + 4 * PAGE, NULL, NULL), UNOWNED);
    assert_int_equal(shown_at(&f, BASE + 3 * PAGE, &who, &at), BOUND);
    assert_int_equal(shown_at(&f, BASE + 8 * PAGE, &who, &at), BOUND);
    assert_int_equal(at, 8 * PAGE);
    assert_int_equal(free_at(&f, BASE + 3 * PAGE, 2 * PAGE), VIDMM_INVALID);
    assert_int_equal(free_at(&f, BASE + 7 * PAGE, 2 * PAGE), VIDMM_INVALID);
    assert_int_equal(free_at(&f, BASE, 64 * KIB), VIDMM_INVALID);
    assert_int_equal(free_at(&f, vidmm_fence_gpu_address(vidmm_queue_fence(f.q)) & ~(PAGE - 1), PAGE),
                     VIDMM_INVALID);
    fx_map(f.q, op, BASE + 4 * PAGE, 0, 4 * PAGE);
    assert_int_equal(free_at(&f, BASE, 64 * KIB), VIDMM_OK); /* three ranges at once */
    assert_int_equal(shown_at(&f, BASE, NULL, NULL), UNOWNED);
    fx_close(&f);
}

/* At return the range is free; a queued map of its pages is void there, and only there. */
static void free_voids_queued_maps(void **state)
{
    struct fx f;
    uint64_t at;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, 64 * KIB, SYS, 0), *b = fx_alloc(f.d, 64 * KIB, SYS, 0), *who;
    struct vidmm_queue *second;
    assert_int_equal(vidmm_queue_create(f.d, 0, &second), VIDMM_OK);
    vidmm_queue_delay(f.q, UINT64_MAX);
    fx_map(f.q, a, BASE, 0, 64 * KIB);
    assert_int_equal(free_at(&f, BASE + 4 * PAGE, 8 * PAGE), VIDMM_OK);
    fx_map(second, b, BASE + 6 * PAGE, 0, 2 * PAGE);
    fx_run(&f);
    vidmm_queue_delay(f.q, 0);
    fx_run(&f);
    assert_true(fx_queue_done(f.q));
    for (uint64_t i = 0; i < 16; i++) {
        enum shown now = shown_at(&f, BASE + i * PAGE, &who, &at);
        bool freed = i >= 4 && i < 12, again = i >= 6 && i < 8;
        assert_int_equal(now, freed && !again ? UNOWNED : BOUND);
        if (now == BOUND) assert_ptr_equal(who, again ? b : a);
        if (now == BOUND && !again) assert_int_equal(at, i * PAGE);
    }
    fx_close(&f);
}

/* ---- what destroying an allocation leaves ----------------------------------------------------------- */

/* Pages of Map ranges become free; pages of reservations fall back; other allocations' pages stay. */
static void destroyed_allocations_give_their_pages_back(void **state)
{
    struct fx f;
    struct vidmm_open *who;
    uint64_t va, value;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, 64 * KIB, SYS, 0), *b = fx_alloc(f.d, 64 * KIB, SYS, 0);
    fx_resident(f.q, a);
    fx_resident(f.q, b);
    fx_map(f.q, a, BASE, 0, 64 * KIB);
    fx_map(f.q, b, BASE + 4 * PAGE, 0, 4 * PAGE);
    uint64_t plain = fx_reserve(&f, BASE + MIB, 65536), zero = BASE + 2 * MIB;
    struct vidmm_reserve in = {.base = zero, .bytes = 65536, .type = VIDMM_RESERVE_ZERO};
    assert_true(vidmm_va_reserve(f.p, f.q, &in, &va, &value) >= 0);
    fx_map(f.q, a, plain + 2 * PAGE, 0, 4 * PAGE);
    fx_map(f.q, b, plain + 6 * PAGE, 0, 4 * PAGE);
    fx_map(f.q, a, zero + 2 * PAGE, 0, 4 * PAGE);
    fx_fill(&f, f.c, zero + 2 * PAGE, 0x99999999, PAGE);
    fx_run(&f);
    vidmm_open_close(a, 0);
    fx_run(&f);
    for (uint64_t i = 0; i < 16; i++) {
        bool inside = i >= 4 && i < 8;
        assert_int_equal(shown_at(&f, BASE + i * PAGE, &who, NULL), inside ? BOUND : UNOWNED);
        if (inside) assert_ptr_equal(who, b);
    }
    assert_int_equal(shown_at(&f, plain + 2 * PAGE, NULL, NULL), OWNED);
    assert_int_equal(shown_at(&f, plain + 6 * PAGE, &who, NULL), BOUND);
    assert_int_equal(shown_at(&f, zero + 2 * PAGE, NULL, NULL), BOUND); /* zero pages again */
    assert_int_equal(fx_gpu_read(&f, zero + 2 * PAGE), 0);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(free_at(&f, plain, 65536), VIDMM_OK);
    assert_int_equal(free_at(&f, zero, 65536), VIDMM_OK);
    fx_close(&f);
}

/* Also when a queued map, void on those pages, still names them. */
static void void_maps_do_not_keep_pages(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, 64 * KIB, SYS, 0), *b = fx_alloc(f.d, 64 * KIB, SYS, 0);
    struct vidmm_queue *second;
    assert_int_equal(vidmm_queue_create(f.d, 0, &second), VIDMM_OK);
    vidmm_queue_delay(f.q, UINT64_MAX);
    fx_map(f.q, a, BASE, 0, 64 * KIB);
    assert_int_equal(free_at(&f, BASE, 64 * KIB), VIDMM_OK);
    fx_map(second, b, BASE, 0, 64 * KIB);
    fx_run(&f);
    vidmm_open_close(b, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    fx_run(&f);
    vidmm_queue_delay(f.q, 0);
    fx_run(&f);
    assert_int_equal(shown_at(&f, BASE, NULL, NULL), UNOWNED);
    fx_close(&f);
}

/* A device that goes with maps still queued leaves no addresses behind that nobody can name any more. */
static void cancelled_maps_give_their_range_back(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *op = fx_alloc(other.d, 64 * KIB, SYS, 0);
    vidmm_queue_delay(other.q, UINT64_MAX);
    fx_map(other.q, op, BASE, 0, 64 * KIB);
    vidmm_device_destroy(other.d);
    fx_run(&f);
    assert_int_equal(shown_at(&f, BASE, NULL, NULL), UNOWNED);
    fx_close(&f);
}

/* ---- hostile input ---------------------------------------------------------------------------------- */

/* Many single-page frees of one queued map must not make its execution take for ever. */
static void many_holes_in_one_queued_map(void **state)
{
    struct fx f;
    const uint64_t pages = 6000;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, pages * PAGE, SYS, 0);
    vidmm_queue_delay(f.q, UINT64_MAX);
    fx_map(f.q, op, BASE, 0, pages * PAGE);
    for (uint64_t i = 0; i < pages; i += 2) assert_int_equal(free_at(&f, BASE + i * PAGE, PAGE), VIDMM_OK);
    for (uint64_t i = pages - 1; i > pages / 2; i -= 2)
        assert_int_equal(free_at(&f, BASE + i * PAGE, PAGE), VIDMM_OK);
    vidmm_queue_delay(f.q, 0);
    fx_run(&f);
    assert_true(fx_queue_done(f.q));
    assert_int_equal(f.p->space.binding_count, 2 + pages / 4);
    fx_close(&f);
}

/* A zero range is not bounded by an allocation: it must be refused by size, not by running out of memory. */
static void zero_ranges_have_a_limit(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    uint64_t va, value, before = f.count.tables_created;
    struct vidmm_reserve huge = {.base = 1ull << 44, .bytes = 1ull << 46, .type = VIDMM_RESERVE_ZERO};
    assert_int_equal(vidmm_va_reserve(f.p, f.q, &huge, &va, &value), VIDMM_LIMIT);
    struct vidmm_map map = {.base = 1ull << 44, .bytes = 1ull << 46, .protection = VIDMM_PROT_ZERO};
    assert_int_equal(map_at(&f, &map), VIDMM_LIMIT);
    assert_int_equal(f.count.tables_created, before);
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(units_of_addresses_and_sizes, "VA-14", NULL),
        VT_TEST(windows_are_rounded_inwards, "VA-14 VA-16 VA-30 VA-31", NULL),
        VT_TEST(a_base_overrides_the_window, "VA-15", NULL),
        VT_TEST(the_ends_of_the_space, "VA-30 VA-31 VA-16", NULL),
        VT_TEST(sizes_stay_inside_the_allocation, "VA-17", NULL),
        VT_TEST(map_needs_free_or_one_range, "VA-18", NULL),
        VT_TEST(reserve_needs_every_page_free, "VA-19", NULL),
        VT_TEST(map_replaces_what_it_covers, "VA-20", NULL),
        VT_TEST(map_takes_opens_of_its_device, "VA-42", NULL),
        VT_TEST(protections_that_contradict, "VA-21 VA-22", NULL),
        VT_TEST(zero_and_no_access_states, "VA-23 VA-24 VA-25", NULL),
        VT_TEST(zero_needs_the_cap, "VA-23", NULL),
        VT_TEST(reservations, "VA-25 VA-27", NULL),
        VT_TEST(free_in_parts, "VA-29", NULL),
        VT_TEST(free_voids_queued_maps, "VA-28", NULL),
        VT_TEST(destroyed_allocations_give_their_pages_back, "VA-45", NULL),
        VT_TEST(void_maps_do_not_keep_pages, "VA-45", NULL),
        VT_TEST(cancelled_maps_give_their_range_back, "", NULL),
        VT_TEST(many_holes_in_one_queued_map, "", NULL),
        VT_TEST(zero_ranges_have_a_limit, "", NULL),
    };
    return vt_main(argc, argv, "core_va", cases, VT_COUNT(cases));
}
