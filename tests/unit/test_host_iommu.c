/* SPDX-License-Identifier: MIT */
/* test_host_iommu.c - the host's side of shared addresses: whom it registers, and that an address is used
 * as it is. What engines do with bad ones is in tests/model/test_iommu_demo.c. */
#include "host/instance.h"
#include "host/iommu.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"

#include "vt.h"

static void each_registration_has_a_number_of_its_own(void **state)
{
    struct host_iommu h;
    uint32_t a = 0, b = 0;
    (void)state;
    host_iommu_init(&h);
    assert_null(h.face.unit); /* the machine translates */
    assert_int_equal(h.face.bind(h.face.ctx, NULL, &a), VIDMM_OK);
    assert_int_equal(h.face.bind(h.face.ctx, NULL, &b), VIDMM_OK);
    assert_true(a != 0 && b != 0 && a != b);
    assert_int_equal(h.face.bind(h.face.ctx, &h, &b), VIDMM_INVALID); /* there is no other process here */
    assert_true(h.face.unbind(h.face.ctx, a));
    h.last = UINT32_MAX;
    assert_int_equal(h.face.bind(h.face.ctx, NULL, &a), VIDMM_NO_MEMORY);
}

static void the_pointer_of_an_allocation_is_the_hosts(void **state)
{
    struct ref_options o;
    struct ref_kmd *kmd;
    struct host_instance *host;
    struct vidmm_process *p;
    struct vidmm_device *d;
    struct vidmm_open *op;
    struct vidmm_placement_info at;
    const char *why = "";
    void *cpu = NULL;
    (void)state;
    ref_options_default(&o, REF_FORMAT_A);
    o.iommu = o.no_gpummu = o.threads = true;
    assert_int_equal(ref_create(&o, &kmd), VIDMM_OK);
    struct host_config c = {.ops = ref_ops(), .kmd = kmd, .frames = 1u << 20};
    assert_int_equal(host_instance_create_with(&c, &why, &host), VIDMM_OK);
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = 10000};
    struct vidmm_alloc_desc desc = {.private_data = &in, .private_size = sizeof in};
    const struct vidmm_env *env = host_instance_env(host);
    assert_true(env->enter(env->ctx));
    assert_int_equal(vidmm_process_create(host_instance_adapter(host), &p), VIDMM_OK);
    assert_int_equal(vidmm_device_create(p, &d), VIDMM_OK);
    assert_int_equal(vidmm_alloc_create(d, &desc, &op), VIDMM_OK);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    vidmm_open_placement(op, &at);
    const struct vidmm_platform *pl = host_instance_platform(host);
    assert_ptr_equal(cpu, pl->sys_address(pl->ctx, at.offset / VIDMM_PAGE_SIZE));
    vidmm_process_destroy(p);
    env->leave(env->ctx);
    assert_true(host_instance_destroy(host));
    ref_destroy(kmd);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(each_registration_has_a_number_of_its_own, "IOM-04", NULL),
        VT_TEST(the_pointer_of_an_allocation_is_the_hosts, "IOM-12", NULL),
    };
    return vt_main(argc, argv, "host_iommu", cases, VT_COUNT(cases));
}
