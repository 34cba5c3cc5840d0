/* SPDX-License-Identifier: MIT */
/* test_settings.c - if it fails, a mistyped variable is silently taken for something else. */
#include "vt.h"

#include <string.h>

#include "app/libdxcore/settings.h"

static struct { const char *name; char *value; } variables[4];

static char *get(const char *name)
{
    for (size_t i = 0; i < VT_COUNT(variables); i++)
        if (variables[i].name != NULL && strcmp(variables[i].name, name) == 0) return variables[i].value;
    return NULL;
}

static bool read_one(const char *name, char *value, struct settings *s)
{
    const char *why = NULL;
    memset(variables, 0, sizeof variables);
    variables[0].name = name;
    variables[0].value = value;
    bool ok = settings_read(s, get, &why);
    if (!ok) assert_non_null(strstr(why, name)); /* the message names the variable */
    return ok;
}

static void defaults(void **state)
{
    struct settings s;
    (void)state;
    assert_true(read_one("NOTHING", "", &s));
    assert_int_equal(s.profile, PROFILE_DG2);
    assert_int_equal(s.vram_bytes | s.vram_reported_bytes | s.paging_delay_ms, 0);
    assert_int_equal(s.counters_fd, -1);
}

static void values(void **state)
{
    struct settings s;
    (void)state;
    assert_true(read_one("VIDMM_PROFILE", "ref", &s));
    assert_int_equal(s.profile, PROFILE_REF);
    assert_true(read_one("VIDMM_PROFILE", "ref-iommu", &s));
    assert_int_equal(s.profile, PROFILE_REF_IOMMU);
    assert_true(read_one("VIDMM_PROFILE", "ref-both", &s));
    assert_int_equal(s.profile, PROFILE_REF_BOTH);
    assert_true(read_one("VIDMM_PROFILE", "lda3", &s));
    assert_int_equal(s.profile, PROFILE_LDA3);
    assert_true(read_one("VIDMM_VRAM", "64M", &s));
    assert_int_equal(s.vram_bytes, 64 << 20);
    assert_true(read_one("VIDMM_VRAM", "67108864", &s));
    assert_int_equal(s.vram_bytes, 64 << 20);
    assert_true(read_one("VIDMM_VRAM_REPORTED", "4g", &s));
    assert_true(s.vram_reported_bytes == 1ull << 32);
    assert_true(read_one("VIDMM_PAGING_DELAY_MS", "20", &s));
    assert_int_equal(s.paging_delay_ms, 20);
    assert_true(read_one("VIDMM_TDR_DELAY_MS", "300", &s));
    assert_int_equal(s.tdr_delay_ms, 300);
    assert_true(read_one("VIDMM_TDR_LIMIT", "7", &s));
    assert_int_equal(s.tdr_limit, 7);
    assert_int_equal(s.tdr_level, 0);
    assert_true(read_one("VIDMM_TDR_LEVEL", "recover", &s));
    assert_int_equal(s.tdr_level, 1);
    assert_true(read_one("VIDMM_TDR_LEVEL", "off", &s));
    assert_int_equal(s.tdr_level, 2);
    assert_true(read_one("VIDMM_TDR_LEVEL", "fatal", &s));
    assert_int_equal(s.tdr_level, 3);
    assert_true(read_one("VIDMM_INJECT", "fault@3,hang@12,delay=20,oom@1,remove@999,reset-fails@2", &s));
    assert_int_equal(s.inject.count, 5);
    assert_int_equal(s.inject.what[0].kind, INJECT_FAULT);
    assert_int_equal(s.inject.what[0].at, 3);
    assert_int_equal(s.inject.what[1].kind, INJECT_HANG);
    assert_int_equal(s.inject.what[1].at, 12);
    assert_int_equal(s.inject.what[2].kind, INJECT_OOM);
    assert_int_equal(s.inject.what[3].kind, INJECT_REMOVE);
    assert_int_equal(s.inject.what[3].at, 999);
    assert_int_equal(s.inject.what[4].kind, INJECT_RESET_FAILS);
    assert_true(s.inject.delayed);
    assert_int_equal(s.inject.delay_ms, 20);
    assert_true(read_one("VIDMM_COUNTERS_FD", "7", &s));
    assert_int_equal(s.counters_fd, 7);
}

static void mistakes(void **state)
{
    struct settings s;
    (void)state;
    assert_false(read_one("VIDMM_PROFILE", "dg3", &s));
    assert_false(read_one("VIDMM_PROFILE", "lda5", &s));
    assert_false(read_one("VIDMM_VRAM", "64MB", &s));
    assert_false(read_one("VIDMM_VRAM", "M", &s));
    assert_false(read_one("VIDMM_VRAM", "-1", &s));
    assert_false(read_one("VIDMM_VRAM", " 1", &s));
    assert_false(read_one("VIDMM_VRAM", "99999999999999999999", &s));
    assert_false(read_one("VIDMM_VRAM", "18446744073709551615K", &s));
    assert_false(read_one("VIDMM_VRAM_REPORTED", "4T", &s));
    assert_false(read_one("VIDMM_PAGING_DELAY_MS", "20ms", &s));
    assert_false(read_one("VIDMM_PAGING_DELAY_MS", "60001", &s));
    assert_false(read_one("VIDMM_TDR_DELAY_MS", "60001", &s));
    assert_false(read_one("VIDMM_TDR_LIMIT", "33", &s));
    assert_false(read_one("VIDMM_TDR_LEVEL", "never", &s));
    static char *const wrong[] = {"fault", "fault@", "fault@0", "fault@-1", "fault@ 1", "fault@1,",
                                        ",fault@1", "fault@1 hang@2", "boom@1", "delay=", "delay=60001",
                                        "delay=1s", "fault@9999999999999999999", "FAULT@1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(read_one("VIDMM_INJECT", wrong[i], &s));
    assert_false(read_one("VIDMM_COUNTERS_FD", "three", &s));
}

static const struct vt_case cases[] = {
    VT_TEST(defaults, "", NULL),
    VT_TEST(values, "", NULL),
    VT_TEST(mistakes, "", NULL),
};

int main(int argc, char **argv)
{
    return vt_main(argc, argv, "settings", cases, VT_COUNT(cases));
}
