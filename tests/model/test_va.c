/* SPDX-License-Identifier: MIT */
/* test_va.c - the address services as the requirements state them, seen through the GPU of the ref driver:
 * reserve, map, free (area VA, seed rows and the rules of arguments). */
#include "fixture.h"

#define BASE 0x200000000ull

static uint64_t top_of(const struct fixture *f) { return 1ull << vidmm_adapter_info(f->ad)->va_bits; }

/* An allocation whose page p holds the word pattern + p, mapped at va. */
static struct vidmm_open *numbered(struct client *c, uint64_t pages, uint32_t set, uint32_t pattern,
                                   uint64_t *va)
{
    struct vidmm_open *op = client_memory(c, pages * PAGE, set, va);
    for (uint64_t p = 0; p < pages; p++) gpu_fill(c, *va + p * PAGE, pattern + (uint32_t)p, PAGE);
    return op;
}

static void services(struct fixture *f)
{
    struct client c;
    uint64_t va;
    client_open(&c, f, NULL);
    struct vidmm_open *op = numbered(&c, 4, SET_SYSTEM, 100, &va);
    assert_int_equal(client_reserve(&c, BASE, KIB(128)), VIDMM_OK);
    assert_int_equal(client_map(&c, op, BASE, PAGE, 2 * PAGE, 0), BASE);
    assert_int_equal(gpu_read(&c, BASE), 101);
    assert_int_equal(vidmm_va_free(c.process, BASE, KIB(128)), VIDMM_OK);
    assert_int_equal(vidmm_va_free(c.process, va, 4 * PAGE), VIDMM_OK);
    fx_settle(f);
    gpu_read_faults(&c, BASE);
    fx_close(f);
}

static void three_families_of_services(void **state)
{
    struct fixture f;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        services(&f);
    }
}

static void resident_but_not_mapped_is_invalid(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = 2 * PAGE, .set = SET_4K,
                                                                    .preferred = 2});
        client_resident(&c, op);
        va = client_map(&c, op, BASE, 0, PAGE, VIDMM_PROT_WRITE);
        assert_int_equal(gpu_read(&c, va), 0);
        /* The second page is resident as well, its neighbour address is in the same table: still invalid. */
        gpu_read_faults(&c, va + PAGE);
        fx_close(&f);
    }
}

static void a_named_address_is_given(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, value;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
    client_resident(&c, op);
    assert_int_equal(client_map(&c, op, BASE, 0, 0, VIDMM_PROT_WRITE), BASE);
    gpu_fill(&c, BASE, 7, KIB(64));
    assert_int_equal(gpu_read(&c, BASE), 7);
    struct vidmm_reserve r = {.base = BASE * 2, .bytes = KIB(64)};
    assert_int_equal(vidmm_va_reserve(c.process, NULL, &r, &va, &value), VIDMM_OK);
    assert_int_equal(va, BASE * 2);
    fx_close(&f);
}

static void a_chosen_address_is_free_and_aligned(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va[32], size[32];
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        for (uint32_t i = 0; i < 32; i++) {
            uint32_t set = i % 2 == 0 ? SET_64K : SET_4K;
            struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = (i + 1) * PAGE, .set = set,
                                                                        .preferred = set});
            size[i] = vidmm_open_bytes(op);
            va[i] = client_map(&c, op, 0, 0, 0, 0);
            assert_true(va[i] >= VIDMM_VA_LOWEST && va[i] + size[i] <= top_of(&f));
            assert_int_equal(va[i] % (set == SET_64K ? KIB(64) : PAGE), 0);
            assert_true(va[i] + size[i] <= c.buffer_va || va[i] >= c.buffer_va + FX_COMMAND_BYTES);
            for (uint32_t k = 0; k < i; k++)
                assert_true(va[i] >= va[k] + size[k] || va[i] + size[i] <= va[k]);
        }
        fx_close(&f);
    }
}

static void minimum_and_maximum_bound_the_choice(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va = 0;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
        struct vidmm_map m = {.min = 0x10000000, .max = 0x10010000, .open = op, .bytes = KIB(64)};
        assert_int_equal(client_try_map(&c, &m, &va), VIDMM_OK);
        assert_int_equal(va, 0x10000000);
        uint64_t before = vidmm_state_hash(f.ad);
        assert_int_equal(client_try_map(&c, &m, &va), VIDMM_NO_VIDEO_MEMORY);
        assert_int_equal(vidmm_state_hash(f.ad), before);
        struct vidmm_reserve r = {.min = 0x10000000, .max = 0x10020000, .bytes = KIB(64)};
        uint64_t value;
        assert_int_equal(vidmm_va_reserve(c.process, NULL, &r, &va, &value), VIDMM_OK);
        assert_int_equal(va, 0x10010000);
        assert_int_equal(vidmm_va_reserve(c.process, NULL, &r, &va, &value), VIDMM_NO_VIDEO_MEMORY);
        fx_close(&f);
    }
}

static void mappings_of_one_allocation_see_the_same_bytes(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t x;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        struct vidmm_open *op = numbered(&c, 16, SET_4K | SET_SYSTEM, 0, &x);
        uint64_t y = client_map(&c, op, 0, 4 * PAGE, 4 * PAGE, VIDMM_PROT_WRITE);
        uint64_t z = client_map(&c, op, 0, 0, 16 * PAGE, 0);
        gpu_fill(&c, x + 5 * PAGE, 0x77, PAGE);
        assert_int_equal(gpu_read(&c, y + PAGE), 0x77);
        gpu_fill(&c, y, 0x88, PAGE);
        assert_int_equal(gpu_read(&c, x + 4 * PAGE), 0x88);
        assert_int_equal(gpu_read(&c, z + 4 * PAGE), 0x88);
        assert_int_equal(gpu_read(&c, z + 15 * PAGE), 15);
        fx_close(&f);
    }
}

static void a_part_of_an_allocation_is_mapped(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t x;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    for (uint32_t set = SET_64K; set <= SET_SYSTEM; set <<= 1) { /* S07: 4 KB pages, and the 64 KB twin */
        struct vidmm_open *op = numbered(&c, 16, set, 0, &x);
        uint64_t y = client_map(&c, op, 0, 4 * PAGE, 4 * PAGE, 0);
        uint64_t z = client_map(&c, op, 0, 15 * PAGE, PAGE, 0);
        assert_int_equal(gpu_read(&c, y), 4);
        assert_int_equal(gpu_read(&c, y + 3 * PAGE + 8), 7);
        assert_int_equal(gpu_read(&c, z), 15);
        if (set == SET_64K) assert_int_equal(y % KIB(64), 4 * PAGE); /* PT-18: congruent when VidMm picks */
        assert_int_equal(client_map(&c, op, BASE + PAGE, 0, 8 * PAGE, 0), BASE + PAGE);
        assert_int_equal(gpu_read(&c, BASE + PAGE + 6 * PAGE), 6);
        assert_int_equal(vidmm_va_free(c.process, BASE + PAGE, 8 * PAGE), VIDMM_OK);
    }
    fx_close(&f);
}

static void one_page_of_a_64k_allocation_is_mapped(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t x;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = numbered(&c, 32, SET_64K, 50, &x);
    assert_int_equal(client_map(&c, op, BASE + 0x3000, 19 * PAGE, PAGE, VIDMM_PROT_WRITE), BASE + 0x3000);
    assert_int_equal(gpu_read(&c, BASE + 0x3000), 69);
    gpu_fill(&c, BASE + 0x3000, 5, PAGE);
    assert_int_equal(gpu_read(&c, x + 19 * PAGE), 5);
    assert_int_equal(gpu_read(&c, x + 18 * PAGE), 68);
    gpu_read_faults(&c, BASE + 0x4000);
    fx_close(&f);
}

static void map_returns_before_it_is_done(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_open *op[5];
    uint64_t va[5], value[5], words[2 * REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    for (int i = 0; i < 5; i++) {
        op[i] = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
        client_resident(&c, op[i]);
    }
    fx_settle(&f);
    uint64_t now = world_now_ns(f.world), batches = vidmm_adapter_counters(f.ad)->batches;
    vidmm_queue_delay(c.queue, UINT64_MAX);
    for (int i = 0; i < 5; i++) {
        struct vidmm_map m = {.open = op[i], .bytes = KIB(64), .protection = VIDMM_PROT_WRITE};
        assert_int_equal(vidmm_va_map(c.queue, &m, &va[i], &value[i]), VIDMM_PENDING);
        assert_true(va[i] != 0);
        assert_true(value[i] > (i == 0 ? 0 : value[i - 1]));
        assert_int_equal(vidmm_queue_issued(c.queue), value[i]);
    }
    assert_int_equal(world_now_ns(f.world), now); /* no time passed, nothing was sent to the paging engine */
    assert_int_equal(vidmm_adapter_counters(f.ad)->batches, batches);
    struct vidmm_fence *paging = vidmm_queue_fence(c.queue);
    assert_true(vidmm_fence_value(paging) < value[0]);
    /* A GPU wait for the last value, then work that needs it: it starts only afterwards. */
    assert_int_equal(vidmm_context_wait(c.context, &paging, &value[4], 1), VIDMM_OK);
    uint32_t n = ref_emit_fill(words, va[4], 9, KIB(64));
    assert_int_equal(client_submit_on(&c, c.context, words, n), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(vidmm_context_pending(c.context), 2);
    vidmm_queue_delay(c.queue, 0);
    client_wait(&c, paging, value[2]);
    assert_true(*vidmm_fence_cpu_address(paging) >= value[2]);
    for (int i = 0; i < 3; i++) gpu_fill(&c, va[i], (uint32_t)i, KIB(64));
    fx_settle(&f);
    assert_int_equal(gpu_read(&c, va[4]), 9);
    assert_int_equal(vidmm_fence_value(paging), value[4]);
    fx_close(&f);
}

static void free_gives_the_range_back(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
        client_resident(&c, op);
        va = client_map(&c, op, BASE, 0, 0, VIDMM_PROT_WRITE);
        gpu_fill(&c, va, 3, KIB(64));
        assert_int_equal(vidmm_va_free(c.process, va, KIB(64)), VIDMM_OK);
        assert_true(client_range_free(&c, va, KIB(64))); /* at once, not only after a while */
        struct vidmm_open *other = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
        client_resident(&c, other);
        assert_int_equal(client_map(&c, other, va, 0, 0, VIDMM_PROT_WRITE), va);
        assert_int_equal(gpu_read(&c, va), 0);
        assert_int_equal(vidmm_va_free(c.process, va, KIB(64)), VIDMM_OK);
        fx_settle(&f);
        gpu_read_faults(&c, va);
        fx_close(&f);
    }
}

static void destroying_an_allocation_releases_its_addresses(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_va_info info;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
    client_resident(&c, op);
    (void)client_map(&c, op, BASE, 0, 0, 0);
    (void)client_map(&c, op, BASE + GIB(5), PAGE, 4 * PAGE, 0);
    assert_int_equal(vidmm_va_query(c.process, BASE, &info), VIDMM_OK);
    vidmm_open_close(op, 0);
    fx_settle(&f);
    assert_int_equal(vidmm_va_query(c.process, BASE, &info), VIDMM_INVALID);
    assert_int_equal(client_reserve(&c, BASE, KIB(64)), VIDMM_OK);
    assert_int_equal(client_reserve(&c, BASE + GIB(5), KIB(64)), VIDMM_OK);
    gpu_read_faults(&c, BASE);
    fx_close(&f);
}

static void command_buffers_run_in_the_application_space(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t data, words[REF_WORDS_MAX + 1];
    void *cpu;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, PAGE, SET_4K, &data);
    /* A command buffer wherever the client wants it: here where the paging process has its windows. */
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = PAGE});
    client_resident(&c, op);
    assert_int_equal(client_map(&c, op, 0x400000, 0, 0, VIDMM_PROT_EXECUTE), 0x400000);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    uint32_t n = ref_emit_fill(words, data, 0x55, PAGE);
    n += ref_emit_end(words + n);
    memcpy(cpu, words, n * 8);
    assert_int_equal(vidmm_context_submit(c.context, 0x400000, n * 8, NULL, 0, 0), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(gpu_read(&c, data), 0x55);
    gpu_read_faults(&c, 0x800000); /* nothing is there that user mode did not put there */
    fx_close(&f);
}

static void cpu_and_gpu_addresses_do_not_touch_each_other(void **state)
{
    struct fixture f;
    struct client c;
    void *cpu, *again;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
    client_resident(&c, op);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    memset(cpu, 0x21, KIB(64));
    (void)client_map(&c, op, BASE, 0, 0, VIDMM_PROT_WRITE);
    assert_int_equal(gpu_read(&c, BASE), 0x21212121);
    assert_int_equal(vidmm_va_free(c.process, BASE, KIB(64)), VIDMM_OK);
    fx_settle(&f);
    for (uint32_t i = 0; i < KIB(64); i++) assert_int_equal(((uint8_t *)cpu)[i], 0x21);
    assert_int_equal(vidmm_open_lock(op, &again), VIDMM_OK);
    assert_ptr_equal(cpu, again);
    (void)client_map(&c, op, BASE + GIB(1), 0, 0, VIDMM_PROT_WRITE);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_INVALID);
    gpu_fill(&c, BASE + GIB(1), 1, PAGE);
    assert_int_equal(gpu_read(&c, BASE + GIB(1) + PAGE), 0x21212121);
    fx_close(&f);
}

/* ---- rules of arguments -------------------------------------------------------------------------- */

static void expect_map(struct client *c, struct vidmm_map m, vidmm_status want)
{
    uint64_t va = 1, value = 2, before = vidmm_state_hash(c->fx->ad);
    assert_int_equal(vidmm_va_map(c->queue, &m, &va, &value), want);
    if (want >= 0) return;
    assert_int_equal(va, 1); /* outputs are written on success only */
    assert_int_equal(value, 2);
    assert_int_equal(vidmm_state_hash(c->fx->ad), before);
    fx_verify(c->fx);
}

static void expect_reserve(struct client *c, struct vidmm_reserve r, vidmm_status want)
{
    uint64_t va = 1, value = 2, before = vidmm_state_hash(c->fx->ad);
    assert_int_equal(vidmm_va_reserve(c->process, c->queue, &r, &va, &value), want);
    if (want < 0) assert_int_equal(vidmm_state_hash(c->fx->ad), before);
    if (want == VIDMM_OK) assert_int_equal(value, 0);
}

static void alignment_rules(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, value;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
    expect_map(&c, (struct vidmm_map){.base = BASE + 0x800, .open = op, .bytes = KIB(64)}, VIDMM_INVALID);
    expect_map(&c, (struct vidmm_map){.base = BASE, .open = op, .bytes = 0x800}, VIDMM_INVALID);
    expect_map(&c, (struct vidmm_map){.base = BASE, .open = op, .offset = 8, .bytes = PAGE}, VIDMM_INVALID);
    expect_reserve(&c, (struct vidmm_reserve){.bytes = 0x8000}, VIDMM_INVALID);
    expect_reserve(&c, (struct vidmm_reserve){.bytes = 0}, VIDMM_INVALID);
    expect_reserve(&c, (struct vidmm_reserve){.base = BASE + 0x8000, .bytes = KIB(64)}, VIDMM_INVALID);
    assert_int_equal(vidmm_va_free(c.process, BASE + 1, PAGE), VIDMM_INVALID);
    assert_int_equal(vidmm_va_free(c.process, BASE, 0), VIDMM_INVALID);
    assert_int_equal(vidmm_va_free(c.process, BASE, 100), VIDMM_INVALID);
    /* An inclusive maximum is what drivers pass; an odd minimum is rounded up (Q47). */
    struct vidmm_map m = {.min = 0x10000, .max = 0x7fffffffffff, .open = op, .bytes = KIB(64)};
    assert_int_equal(client_try_map(&c, &m, &va), VIDMM_OK);
    m = (struct vidmm_map){.min = BASE + 1, .max = BASE + KIB(68) - 1, .open = op, .bytes = KIB(64)};
    assert_int_equal(client_try_map(&c, &m, &va), VIDMM_OK);
    assert_int_equal(va, BASE + PAGE);
    struct vidmm_reserve r = {.min = BASE + KIB(128), .max = BASE + KIB(192) - 1, .bytes = KIB(64)};
    assert_int_equal(vidmm_va_reserve(c.process, NULL, &r, &va, &value), VIDMM_OK);
    assert_int_equal(va, BASE + KIB(128));
    fx_close(&f);
}

static void a_base_overrides_the_window(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
    struct vidmm_map m = {.base = 0x300000000, .min = 0x500000000, .max = 0x400000000, .open = op,
                          .bytes = KIB(64)};
    assert_int_equal(client_try_map(&c, &m, &va), VIDMM_OK);
    assert_int_equal(va, 0x300000000);
    expect_reserve(&c, (struct vidmm_reserve){.base = 0x300000000, .bytes = KIB(64)}, VIDMM_INVALID);
    fx_close(&f);
}

static void offset_and_size_stay_inside(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = 16 * PAGE});
    expect_map(&c, (struct vidmm_map){.open = op, .bytes = 0}, VIDMM_INVALID);
    expect_map(&c, (struct vidmm_map){.open = op, .bytes = 17 * PAGE}, VIDMM_INVALID);
    expect_map(&c, (struct vidmm_map){.open = op, .offset = 15 * PAGE, .bytes = 2 * PAGE}, VIDMM_INVALID);
    expect_map(&c, (struct vidmm_map){.open = op, .offset = UINT64_MAX - PAGE + 1, .bytes = 2 * PAGE},
               VIDMM_INVALID);
    expect_map(&c, (struct vidmm_map){.open = op, .bytes = UINT64_MAX - PAGE + 1}, VIDMM_INVALID);
    expect_map(&c, (struct vidmm_map){.base = BASE, .open = op, .offset = 15 * PAGE, .bytes = PAGE},
               VIDMM_OK);
    fx_close(&f);
}

static void a_base_is_free_or_inside_one_range(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = 16 * PAGE});
    client_resident(&c, op);
    (void)client_map(&c, op, BASE, 0, 8 * PAGE, 0);
    (void)client_map(&c, op, BASE + 8 * PAGE, 0, 8 * PAGE, 0);
    (void)client_map(&c, op, BASE + PAGE, 8 * PAGE, 4 * PAGE, 0); /* inside the first */
    /* free and used, two ranges that touch, over a fence page */
    expect_map(&c, (struct vidmm_map){.base = BASE - PAGE, .open = op, .bytes = 2 * PAGE}, VIDMM_INVALID);
    expect_map(&c, (struct vidmm_map){.base = BASE + 15 * PAGE, .open = op, .bytes = 2 * PAGE},
               VIDMM_INVALID);
    expect_map(&c, (struct vidmm_map){.base = BASE + 7 * PAGE, .open = op, .bytes = 2 * PAGE}, VIDMM_INVALID);
    uint64_t fence = vidmm_fence_gpu_address(c.fence) & ~(PAGE - 1);
    expect_map(&c, (struct vidmm_map){.base = fence, .open = op, .bytes = PAGE}, VIDMM_INVALID);
    assert_int_equal(vidmm_va_free(c.process, fence, PAGE), VIDMM_INVALID);
    expect_reserve(&c, (struct vidmm_reserve){.base = BASE, .bytes = KIB(64)}, VIDMM_INVALID);
    expect_reserve(&c, (struct vidmm_reserve){.base = BASE - KIB(64), .bytes = KIB(128)}, VIDMM_INVALID);
    fx_close(&f);
}

static void a_map_over_a_map_replaces_those_pages(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t a, b;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        struct vidmm_open *oa = numbered(&c, 16, SET_64K, 100, &a);
        struct vidmm_open *ob = numbered(&c, 16, SET_SYSTEM, 200, &b);
        uint64_t y = client_map(&c, oa, 0, 4 * PAGE, 4 * PAGE, 0);
        (void)client_map(&c, ob, a + 4 * PAGE, 0, 4 * PAGE, 0);
        for (uint32_t p = 0; p < 16; p++)
            assert_int_equal(gpu_read(&c, a + p * PAGE), p >= 4 && p < 8 ? 196 + p : 100 + p);
        assert_int_equal(gpu_read(&c, y), 104);
        fx_close(&f);
    }
}

static void protections(void **state)
{
    struct fixture f;
    struct client c[3];
    uint64_t va, words[REF_WORDS_MAX + 1];
    void *cpu;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    for (int i = 0; i < 3; i++) client_open(&c[i], &f, NULL);
    struct vidmm_open *op = client_alloc(&c[0], &(struct fx_alloc){.bytes = PAGE});
    client_resident(&c[0], op);
    va = client_map(&c[0], op, 0, 0, 0, 0);
    assert_int_equal(gpu_read(&c[0], va), 0);
    gpu_write_faults(&c[0], va); /* read-only unless Write was asked for */
    op = client_memory(&c[1], PAGE, SET_SYSTEM, &va);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    (void)ref_emit_end(words);
    memcpy(cpu, words, 8);
    gpu_fill(&c[1], va + 64, 1, 64);
    struct vidmm_page_fault fault;
    assert_int_equal(vidmm_context_submit(c[1].context, va, 8, NULL, 0, 0), VIDMM_OK);
    fx_settle(&f); /* not executable unless Execute was asked for */
    assert_int_equal(vidmm_device_fault(c[1].device, &fault), VIDMM_OK);
    assert_int_equal(fault.va, va);
    assert_int_equal(fault.error_code, SOFTGPU_ERROR_NO_EXECUTE);
    op = client_alloc(&c[2], &(struct fx_alloc){.bytes = PAGE});
    const uint64_t bad[] = {VIDMM_PROT_SYSTEM_USE_ONLY, 1u << 5, 1ull << 40, VIDMM_PROT_ZERO,
                            VIDMM_PROT_NO_ACCESS, VIDMM_PROT_WRITE | VIDMM_PROT_SYSTEM_USE_ONLY};
    for (size_t i = 0; i < VT_COUNT(bad); i++)
        expect_map(&c[2], (struct vidmm_map){.base = BASE, .open = op, .bytes = PAGE, .protection = bad[i]},
                   VIDMM_INVALID);
    /* neither open nor zero */
    expect_map(&c[2], (struct vidmm_map){.base = BASE, .bytes = PAGE}, VIDMM_INVALID);
    fx_close(&f);
}

static void without_caps_the_protection_bits_stay_zero(void **state)
{
    struct fixture f;
    struct client c;
    struct fx_options o;
    uint64_t va;
    (void)state;
    fx_options(&o, REF_FORMAT_A);
    o.ref.mmu_flags = 0;
    (void)fx_open(&f, &o);
    client_open(&c, &f, NULL);
    tap_clear(&f.tap);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = PAGE});
    client_resident(&c, op);
    va = client_map(&c, op, 0, 0, 0, 0);
    gpu_fill(&c, va, 5, PAGE); /* nothing forbids it */
    const struct tap_entry *e;
    for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_PTE_ATTR, i)) != NULL; i++)
        assert_int_equal(e->flags & ~(uint32_t)VIDMM_PTE_VALID, 0);
    /* ... and zero pages cannot be had */
    expect_map(&c, (struct vidmm_map){.base = BASE, .bytes = PAGE, .protection = VIDMM_PROT_ZERO},
               VIDMM_INVALID);
    expect_reserve(&c, (struct vidmm_reserve){.bytes = KIB(64), .type = VIDMM_RESERVE_ZERO}, VIDMM_INVALID);
    fx_close(&f);
}

static void zero_and_no_access(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, value, x;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = numbered(&c, 16, SET_4K, 40, &x);
    struct vidmm_map zero = {.base = BASE, .bytes = 4 * PAGE, .protection = VIDMM_PROT_ZERO};
    assert_int_equal(client_try_map(&c, &zero, &va), VIDMM_OK); /* at a free address */
    gpu_fill(&c, BASE, 9, 4 * PAGE);
    assert_int_equal(gpu_sum(&c, BASE, 4 * PAGE), sum_of_pattern(0, 4 * PAGE)); /* writes vanish */
    struct vidmm_reserve r = {.base = BASE * 2, .bytes = KIB(64), .type = VIDMM_RESERVE_ZERO};
    vidmm_status st = vidmm_va_reserve(c.process, c.queue, &r, &va, &value);
    assert_int_equal(st, value != 0 ? VIDMM_PENDING : VIDMM_OK);
    client_wait(&c, vidmm_queue_fence(c.queue), value);
    assert_int_equal(gpu_sum(&c, BASE * 2, KIB(64)), sum_of_pattern(0, KIB(64)));
    (void)client_map(&c, op, BASE * 2 + PAGE, 0, 2 * PAGE, VIDMM_PROT_WRITE); /* inside the reservation */
    assert_int_equal(gpu_read(&c, BASE * 2 + 2 * PAGE), 41);
    zero.base = BASE * 2 + PAGE;
    zero.bytes = PAGE;
    assert_int_equal(client_try_map(&c, &zero, &va), VIDMM_OK);
    assert_int_equal(gpu_read(&c, BASE * 2 + PAGE), 0);
    assert_int_equal(gpu_read(&c, BASE * 2 + 2 * PAGE), 41);
    zero.base = x; /* not inside a range that Map obtained */
    expect_map(&c, zero, VIDMM_INVALID);
    zero.protection = VIDMM_PROT_NO_ACCESS;
    expect_map(&c, zero, VIDMM_INVALID);
    const uint64_t mixes[] = {VIDMM_PROT_ZERO | VIDMM_PROT_NO_ACCESS, VIDMM_PROT_ZERO | VIDMM_PROT_WRITE,
                              VIDMM_PROT_NO_ACCESS | VIDMM_PROT_EXECUTE};
    for (size_t i = 0; i < VT_COUNT(mixes); i++)
        expect_map(&c, (struct vidmm_map){.base = BASE * 3, .bytes = PAGE, .protection = mixes[i]},
                   VIDMM_INVALID);
    zero.base = BASE * 2 + 2 * PAGE;
    assert_int_equal(client_try_map(&c, &zero, &va), VIDMM_OK);
    fx_settle(&f);
    gpu_read_faults(&c, BASE * 2 + 2 * PAGE);
    fx_close(&f);
}

static void a_reservation_takes_address_space_only(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
    client_resident(&c, op);
    fx_settle(&f);
    uint64_t tables = vidmm_adapter_counters(f.ad)->tables_created;
    /* S06 (k): what a driver does that shares its address space with the CPU */
    expect_reserve(&c, (struct vidmm_reserve){.base = 0x200000, .bytes = 0x7fffffe00000}, VIDMM_INVALID);
    assert_int_equal(vidmm_va_free(c.process, c.buffer_va, FX_COMMAND_BYTES), VIDMM_OK);
    expect_reserve(&c, (struct vidmm_reserve){.base = 0x200000, .bytes = 0x7fffffe00000}, VIDMM_OK);
    expect_reserve(&c, (struct vidmm_reserve){.base = 0x200000, .bytes = 0x7fffffe00000}, VIDMM_INVALID);
    expect_reserve(&c, (struct vidmm_reserve){.base = 0x40000000, .bytes = KIB(64)}, VIDMM_INVALID);
    assert_int_equal(vidmm_adapter_counters(f.ad)->tables_created, tables);
    c.buffer_va = client_map(&c, c.buffer, 0x600000000000, 0, 0, VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE);
    (void)client_map(&c, op, 0x555500003000, 0, 0, VIDMM_PROT_WRITE);
    gpu_fill(&c, 0x555500003000, 8, KIB(64));
    assert_int_equal(gpu_read(&c, 0x555500003000 + 5 * PAGE), 8);
    expect_reserve(&c, (struct vidmm_reserve){.bytes = KIB(64), .type = 2}, VIDMM_INVALID); /* kernel only */
    assert_int_equal(vidmm_va_free(c.process, 0x555500003000, KIB(64)), VIDMM_OK);
    fx_settle(&f);
    gpu_read_faults(&c, 0x555500003000);
    fx_close(&f);
}

static void queued_maps_skip_freed_pages(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t a, b, cc, va, value;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format); /* S09 */
        client_open(&c, &f, NULL);
        struct vidmm_open *oa = numbered(&c, 16, SET_4K, 100, &a), *ob = numbered(&c, 8, SET_4K, 200, &b);
        struct vidmm_open *oc = numbered(&c, 2, SET_4K, 300, &cc);
        const uint64_t x = 0x18000000;
        (void)client_map(&c, oa, x, 0, 0, 0);
        vidmm_queue_delay(c.queue, UINT64_MAX);
        struct vidmm_map m = {.base = x + 2 * PAGE, .open = oc, .bytes = 2 * PAGE};
        assert_int_equal(vidmm_va_map(c.queue, &m, &va, &value), VIDMM_PENDING);
        assert_int_equal(vidmm_va_free(c.process, x, 8 * PAGE), VIDMM_OK);
        m = (struct vidmm_map){.base = x, .open = ob, .bytes = 8 * PAGE};
        assert_int_equal(vidmm_va_map(c.queue, &m, &va, &value), VIDMM_PENDING);
        assert_int_equal(va, x);
        vidmm_queue_delay(c.queue, 0);
        client_wait(&c, vidmm_queue_fence(c.queue), value);
        for (uint32_t p = 0; p < 16; p++)
            assert_int_equal(gpu_read(&c, x + p * PAGE), p < 8 ? 200 + p : 100 + p);
        uint64_t before = vidmm_state_hash(f.ad);
        assert_int_equal(vidmm_va_free(c.process, x + 4 * PAGE, 16 * PAGE), VIDMM_INVALID);
        assert_int_equal(vidmm_state_hash(f.ad), before);
        assert_int_equal(vidmm_va_free(c.process, x + 7 * PAGE, 2 * PAGE), VIDMM_OK); /* across two ranges */
        assert_int_equal(gpu_read(&c, x + 6 * PAGE), 206);
        assert_int_equal(gpu_read(&c, x + 9 * PAGE), 109);
        fx_settle(&f);
        gpu_read_faults(&c, x + 8 * PAGE);
        fx_close(&f);
    }
}

static void the_ends_of_the_space(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        uint64_t top = top_of(&f);
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
        client_resident(&c, op);
        expect_map(&c, (struct vidmm_map){.base = 0x1000, .open = op, .bytes = PAGE}, VIDMM_INVALID);
        expect_map(&c, (struct vidmm_map){.base = 0xf000, .open = op, .bytes = 2 * PAGE}, VIDMM_INVALID);
        expect_map(&c, (struct vidmm_map){.base = top, .open = op, .bytes = PAGE}, VIDMM_INVALID);
        expect_map(&c, (struct vidmm_map){.base = top - PAGE, .open = op, .bytes = 2 * PAGE}, VIDMM_INVALID);
        expect_map(&c, (struct vidmm_map){.base = UINT64_MAX - PAGE + 1, .open = op, .bytes = PAGE},
                   VIDMM_INVALID);
        expect_map(&c, (struct vidmm_map){.base = UINT64_MAX - PAGE + 1, .open = op, .bytes = 2 * PAGE},
                   VIDMM_INVALID);
        expect_map(&c, (struct vidmm_map){.min = top, .open = op, .bytes = PAGE}, VIDMM_NO_VIDEO_MEMORY);
        expect_map(&c, (struct vidmm_map){.min = UINT64_MAX, .open = op, .bytes = PAGE},
                   VIDMM_NO_VIDEO_MEMORY);
        expect_map(&c, (struct vidmm_map){.min = BASE, .max = BASE, .open = op, .bytes = PAGE},
                   VIDMM_NO_VIDEO_MEMORY);
        expect_reserve(&c, (struct vidmm_reserve){.base = top - KIB(64), .bytes = KIB(128)}, VIDMM_INVALID);
        expect_reserve(&c, (struct vidmm_reserve){.bytes = UINT64_MAX - KIB(64) + 1}, VIDMM_NO_VIDEO_MEMORY);
        assert_int_equal(vidmm_va_free(c.process, UINT64_MAX - PAGE + 1, 2 * PAGE), VIDMM_INVALID);
        (void)client_map(&c, op, VIDMM_VA_LOWEST, 0, PAGE, VIDMM_PROT_WRITE);
        gpu_fill(&c, VIDMM_VA_LOWEST, 4, PAGE);
        assert_int_equal(gpu_read(&c, VIDMM_VA_LOWEST), 4);
        fx_close(&f);
    }
}

static void the_last_page_of_the_space_can_be_mapped(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        uint64_t last = top_of(&f) - PAGE;
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = PAGE});
        client_resident(&c, op);
        if (format == REF_FORMAT_A) { /* fences live at the top there: one page lower */
            last = (vidmm_fence_gpu_address(c.fence) & ~(PAGE - 1)) - PAGE;
        }
        (void)client_map(&c, op, last, 0, 0, VIDMM_PROT_WRITE);
        gpu_fill(&c, last, 4, PAGE);
        assert_int_equal(gpu_read(&c, last), 4);
        fx_close(&f);
    }
}

static void a_foreign_open_is_refused(void **state)
{
    struct fixture f;
    struct client a, b, other;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&a, &f, NULL);
    client_open(&b, &f, a.process); /* the same process, another device */
    client_open(&other, &f, NULL);
    struct vidmm_open *op = client_alloc(&a, &(struct fx_alloc){.bytes = PAGE});
    expect_map(&b, (struct vidmm_map){.base = BASE, .open = op, .bytes = PAGE}, VIDMM_INVALID);
    expect_map(&other, (struct vidmm_map){.base = BASE, .open = op, .bytes = PAGE}, VIDMM_INVALID);
    uint64_t va, value;
    struct vidmm_reserve r = {.bytes = KIB(64)};
    assert_int_equal(vidmm_va_reserve(a.process, other.queue, &r, &va, &value), VIDMM_INVALID);
    fx_close(&f);
}

static void destroy_falls_back_per_page(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t x, d, va, value;
    struct vidmm_va_info info;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S11, second half */
    client_open(&c, &f, NULL);
    struct vidmm_open *oc = numbered(&c, 16, SET_4K, 100, &x), *od = numbered(&c, 16, SET_4K, 200, &d);
    struct vidmm_reserve r = {.base = BASE, .bytes = KIB(128), .type = VIDMM_RESERVE_ZERO};
    assert_true(vidmm_va_reserve(c.process, c.queue, &r, &va, &value) >= 0);
    client_wait(&c, vidmm_queue_fence(c.queue), value);
    (void)client_map(&c, od, x + 4 * PAGE, 0, 4 * PAGE, 0);
    (void)client_map(&c, od, BASE, 0, 16 * PAGE, 0);
    assert_int_equal(gpu_read(&c, BASE + 3 * PAGE), 203);
    vidmm_open_close(od, 0);
    fx_settle(&f);
    for (uint32_t p = 0; p < 16; p++) {
        bool gone = p >= 4 && p < 8;
        assert_int_equal(vidmm_va_query(c.process, x + p * PAGE, &info), gone ? VIDMM_INVALID : VIDMM_OK);
        if (!gone) assert_int_equal(gpu_read(&c, x + p * PAGE), 100 + p);
    }
    assert_int_equal(gpu_sum(&c, BASE, KIB(128)), sum_of_pattern(0, KIB(128)));
    assert_false(client_range_free(&c, BASE, KIB(64)));
    vidmm_open_close(oc, 0);
    fx_settle(&f);
    for (uint32_t p = 0; p < 16; p++)
        assert_int_equal(vidmm_va_query(c.process, x + p * PAGE, &info), VIDMM_INVALID);
    fx_close(&f);
}

static const struct vt_case cases[] = {
    VT_TEST(three_families_of_services, "VA-01", "VA-01"),
    VT_TEST(resident_but_not_mapped_is_invalid, "VA-02 FLT-04", "VA-02"),
    VT_TEST(a_named_address_is_given, "VA-03", "VA-03"),
    VT_TEST(a_chosen_address_is_free_and_aligned, "VA-04", "VA-04"),
    VT_TEST(minimum_and_maximum_bound_the_choice, "VA-05 VA-31", "VA-05"),
    VT_TEST(mappings_of_one_allocation_see_the_same_bytes, "VA-06", "VA-06"),
    VT_TEST(a_part_of_an_allocation_is_mapped, "VA-07 PT-18", "VA-07"),
    VT_TEST(one_page_of_a_64k_allocation_is_mapped, "VA-08", "VA-08"),
    VT_TEST(map_returns_before_it_is_done, "VA-09 PAG-03 PAG-05 PAG-06 PAG-11", "VA-09"),
    VT_TEST(free_gives_the_range_back, "VA-10 VA-28", "VA-10"),
    VT_TEST(destroying_an_allocation_releases_its_addresses, "VA-11", "VA-11"),
    VT_TEST(command_buffers_run_in_the_application_space, "VA-12", "VA-12"),
    VT_TEST(cpu_and_gpu_addresses_do_not_touch_each_other, "VA-13", "VA-13"),
    VT_TEST(alignment_rules, "VA-14 VA-16", NULL),
    VT_TEST(a_base_overrides_the_window, "VA-15", NULL),
    VT_TEST(offset_and_size_stay_inside, "VA-17", NULL),
    VT_TEST(a_base_is_free_or_inside_one_range, "VA-18 VA-19", NULL),
    VT_TEST(a_map_over_a_map_replaces_those_pages, "VA-20", NULL),
    VT_TEST(protections, "VA-21 VA-22", NULL),
    VT_TEST(without_caps_the_protection_bits_stay_zero, "VA-23 VA-43 PT-31", NULL),
    VT_TEST(zero_and_no_access, "VA-22 VA-23 VA-24", NULL),
    VT_TEST(a_reservation_takes_address_space_only, "VA-19 VA-25 VA-27", NULL),
    VT_TEST(queued_maps_skip_freed_pages, "VA-28 VA-29", NULL),
    VT_TEST(the_ends_of_the_space, "VA-30 VA-31", NULL),
    VT_TEST(the_last_page_of_the_space_can_be_mapped, "VA-30", NULL),
    VT_TEST(a_foreign_open_is_refused, "VA-42", NULL),
    VT_TEST(destroy_falls_back_per_page, "VA-45", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "model_va", cases, VT_COUNT(cases)); }
