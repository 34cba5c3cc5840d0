/* SPDX-License-Identifier: MIT */
/* tiles_scene.c — see tiles_scene.h. One context, everything queued ahead: no draw waits on the CPU.
 *
 *   draw k -> signal V   [update of the tiles, behind V]   wait for V + 1 -> fill new tiles -> draw k + 1 */
#include "tiles_scene.h"

#include <stdlib.h>
#include <string.h>

#include <vidmm/vidmm.h>

#include "sim/world.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref/ref_commands.h"

#define TILE_SIDE 128u
#define TILE_BYTES (TILE_SIDE * TILE_SIDE * 4u)
#define TEXTURE_SIDE 64u                  /* tiles */
#define BADGE (TEXTURE_SIDE * TEXTURE_SIDE) /* number of the badge's tile, behind the texture */
#define SLOTS 40u
#define BASE 0x400000000ull
#define COMMAND_BYTES (8u << 20)
#define PICTURE_BYTES (SCENE_WIDTH * SCENE_HEIGHT * 4u)
#define TURNS 4000000u
#define NOBODY UINT32_MAX

struct slot { uint32_t tile, used; bool fill; }; /* used: number of the draw that needs it, last */

struct scene {
    const struct scene_options *opt;
    struct scene_result *out;
    struct world *world;
    struct ref_kmd *ref;
    struct vidmm_adapter *ad;
    struct vidmm_process *process;
    struct vidmm_device *device, *other;
    struct vidmm_queue *queue, *other_queue;
    struct vidmm_context *context;
    struct vidmm_fence *fence;
    struct vidmm_open *pool, *commands, *pictures, *big;
    uint64_t pool_va, commands_va, pictures_va, value, packet; /* packet: first word of the open one */
    uint64_t *words;
    uint8_t *picture;
    uint32_t used;
    struct slot slot[SLOTS];
    uint32_t place[BADGE + 1];  /* slot that shows a tile; NOBODY */
};

static bool failed(struct scene *s, const char *what)
{
    if (s->out->what == NULL) s->out->what = what;
    return false;
}

/* ---- what a tile looks like: the only place that knows ------------------------------------------- */

/* Digits of 3 x 5 dots, the top row in the highest bits. */
static const uint16_t digits[10] = {0x7b6f, 0x2c97, 0x73e7, 0x73cf, 0x5bc9,
                                    0x79cf, 0x79ef, 0x7292, 0x7bef, 0x7bcf};

static bool dot_of(uint32_t digit, uint32_t x, uint32_t y)
{
    return x < 3 && y < 5 && (digits[digit] >> (14 - (y * 3 + x)) & 1u) != 0;
}

/* Two numbers of two digits, one above the other; for the badge one number, larger. */
static bool ink(uint32_t tile, uint32_t number, uint32_t x, uint32_t y)
{
    if (tile == BADGE) {
        uint32_t column = (x - 8) / 56, in = (x - 8) % 56;
        uint32_t digit = column == 0 ? number / 10 % 10 : number % 10;
        return x >= 8 && column < 2 && y >= 24 && dot_of(digit, in / 16, (y - 24) / 16);
    }
    uint32_t coordinate = y < 64 ? tile % TEXTURE_SIDE : tile / TEXTURE_SIDE;
    uint32_t column = (x - 32) / 36, in = (x - 32) % 36, row = y % 64;
    uint32_t digit = column == 0 ? coordinate / 10 : coordinate % 10;
    return x >= 32 && column < 2 && row >= 12 && dot_of(digit, in / 8, (row - 12) / 8);
}

static uint32_t pixel_of(uint32_t tile, uint32_t number, uint32_t x, uint32_t y)
{
    uint32_t tx = tile % TEXTURE_SIDE, ty = tile / TEXTURE_SIDE;
    if (x < 2 || y < 2 || x >= TILE_SIDE - 2 || y >= TILE_SIDE - 2) return 0xff202020u;
    if (tile == BADGE) return ink(tile, number, x, y) ? 0xff000000u : 0xff00d7ffu;
    if (ink(tile, number, x, y)) return 0xfff0f0f0u;
    uint32_t band = y / 16 % 2 * 16;
    uint32_t r = 40 + tx * 53 % 150, g = 40 + ty * 37 % 150, b = 60 + (tx + ty) * 29 % 130;
    return 0xff000000u | (b + band) << 16 | (g + band) << 8 | (r + band);
}

/* ---- where the camera is ------------------------------------------------------------------------- */

static uint32_t camera_x(uint32_t frame) { return 3000 + frame * 40; }
static uint32_t camera_y(uint32_t frame) { return 2000 + frame * 24 + frame * frame / 4; }

/* ---- packets ------------------------------------------------------------------------------------- */

static uint64_t *emit(struct scene *s) { return s->words + s->used; }

static bool submit(struct scene *s)
{
    uint64_t start = s->packet;
    if (s->used == start) return true;
    s->used += ref_emit_end(emit(s));
    s->packet = s->used;
    if (s->used * 8ull > COMMAND_BYTES - 65536) return failed(s, "the command buffer is full");
    vidmm_status st = vidmm_context_submit(s->context, s->commands_va + start * 8,
                                           (uint32_t)((s->used - start) * 8), NULL, 0, 0);
    return st == VIDMM_OK || failed(s, "a packet was refused");
}

/* Content of a slot, by runs of one colour, through the plain mapping of the pool. */
static void fill_slot(struct scene *s, uint32_t slot, uint32_t number)
{
    uint64_t va = s->pool_va + (uint64_t)slot * TILE_BYTES;
    uint32_t tile = s->slot[slot].tile, at = 0, all = TILE_SIDE * TILE_SIDE;
    while (at < all) {
        uint32_t colour = pixel_of(tile, number, at % TILE_SIDE, at / TILE_SIDE), end = at + 1;
        while (end < all && pixel_of(tile, number, end % TILE_SIDE, end / TILE_SIDE) == colour) end++;
        s->used += ref_emit_fill(emit(s), va + at * 4ull, colour, (end - at) * 4ull);
        at = end;
    }
    s->slot[slot].fill = false;
}

/* A rectangle of one tile, through the reservation, to a place in the picture. */
static void draw_part(struct scene *s, uint32_t frame, uint32_t tile, const uint32_t box[4], uint32_t x,
                      uint32_t y)
{
    for (uint32_t row = box[1]; row < box[3]; row++) {
        uint64_t from = BASE + (uint64_t)tile * TILE_BYTES + (row * TILE_SIDE + box[0]) * 4ull;
        uint64_t to = s->pictures_va + (uint64_t)frame * PICTURE_BYTES +
                      ((uint64_t)(y + row - box[1]) * SCENE_WIDTH + x) * 4;
        s->used += ref_emit_copy(emit(s), to, from, (box[2] - box[0]) * 4ull);
    }
}

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Calls fn for each tile in view with its box and its place in the picture. */
typedef void each_tile(struct scene *, uint32_t frame, uint32_t tile, const uint32_t box[4], uint32_t x,
                       uint32_t y);

static void view(struct scene *s, uint32_t frame, each_tile *fn)
{
    uint32_t left = camera_x(frame), top = camera_y(frame);
    for (uint32_t y = 0, h; y < SCENE_HEIGHT; y += h) {
        uint32_t in_y = (top + y) % TILE_SIDE;
        h = smaller(TILE_SIDE - in_y, SCENE_HEIGHT - y);
        for (uint32_t x = 0, w; x < SCENE_WIDTH; x += w) {
            uint32_t in_x = (left + x) % TILE_SIDE;
            w = smaller(TILE_SIDE - in_x, SCENE_WIDTH - x);
            uint32_t tile = (top + y) / TILE_SIDE * TEXTURE_SIDE + (left + x) / TILE_SIDE;
            fn(s, frame, tile, (const uint32_t[4]){in_x, in_y, in_x + w, in_y + h}, x, y);
        }
    }
    fn(s, frame, BADGE, (const uint32_t[4]){0, 0, TILE_SIDE, TILE_SIDE}, 0, 0); /* over everything */
}

/* ---- tiles and slots ----------------------------------------------------------------------------- */

#define OPS_MAX 96u
static struct vidmm_tile_op plan_op[OPS_MAX]; /* of the update in the making */
static uint32_t plan_n;

static void plan_unmap(uint32_t tile)
{
    plan_op[plan_n++] = (struct vidmm_tile_op){.type = VIDMM_TILE_UNMAP, .bytes = TILE_BYTES,
                                               .base = BASE + (uint64_t)tile * TILE_BYTES,
                                               .protection = VIDMM_PROT_NO_ACCESS};
}

/* The slot that was not needed for the longest time; never one that the draw in the making needs. */
static uint32_t oldest_slot(const struct scene *s, uint32_t frame)
{
    uint32_t best = NOBODY;
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (s->slot[i].used == frame + 1) continue;
        if (best == NOBODY || s->slot[i].used < s->slot[best].used) best = i;
    }
    return best;
}

static void want_tile(struct scene *s, uint32_t frame, uint32_t tile, const uint32_t box[4], uint32_t x,
                      uint32_t y)
{
    (void)box, (void)x, (void)y;
    uint32_t slot = s->place[tile];
    bool anew = tile == BADGE && (slot == NOBODY || s->slot[slot].used != frame + 1);
    if (slot == NOBODY || anew) {
        if (slot != NOBODY) s->slot[slot].tile = NOBODY;
        slot = oldest_slot(s, frame);
        uint32_t old = s->slot[slot].tile;
        if (old != NOBODY) {
            s->place[old] = NOBODY;
            plan_unmap(old);
        }
        s->place[tile] = slot;
        s->slot[slot] = (struct slot){tile, 0, true};
        plan_op[plan_n++] = (struct vidmm_tile_op){
            .type = VIDMM_TILE_MAP, .base = BASE + (uint64_t)tile * TILE_BYTES, .bytes = TILE_BYTES,
            .open = s->pool, .offset = (uint64_t)slot * TILE_BYTES};
        s->out->tiles_mapped++;
    }
    s->slot[slot].used = frame + 1;
}

/* ---- one frame ----------------------------------------------------------------------------------- */

static bool wait_paging(struct scene *s, struct vidmm_queue *q, uint64_t value)
{
    struct vidmm_fence *f = vidmm_queue_fence(q);
    return value == 0 || vidmm_context_wait(s->context, &f, &value, 1) == VIDMM_OK || failed(s, "a wait");
}

/* User mode evicts the pool while the update waits; somebody else's memory takes its room for a while. */
static bool gap(struct scene *s)
{
    uint64_t value, trim;
    if (!s->opt->evict) return true;
    if (vidmm_evict(s->device, &s->pool, 1, 0, &trim) != VIDMM_OK) return failed(s, "Evict");
    if (vidmm_make_resident(s->other_queue, &s->big, 1, 0, &value, &trim) < 0)
        return failed(s, "MakeResident of the other");
    for (uint32_t i = 0; i < 3000; i++) (void)world_turn(s->world);
    struct vidmm_placement_info at;
    vidmm_open_placement(s->pool, &at);
    s->out->moves += at.segment != 1;
    if (vidmm_evict(s->other, &s->big, 1, 0, &trim) != VIDMM_OK) return failed(s, "Evict of the other");
    if (vidmm_make_resident(s->queue, &s->pool, 1, 0, &value, &trim) < 0) return failed(s, "MakeResident");
    return wait_paging(s, s->queue, value);
}

static bool remap(struct scene *s, uint32_t frame)
{
    plan_n = 0;
    view(s, frame, want_tile);
    uint64_t v = s->value + 1, next = v + 1;
    if (vidmm_context_signal(s->context, &s->fence, &v, 1) != VIDMM_OK) return failed(s, "a signal");
    if (vidmm_va_update(s->context, plan_op, plan_n, s->fence, v, 0) != VIDMM_OK)
        return failed(s, "the update");
    s->value = next;
    if (!gap(s)) return false;
    if (vidmm_context_wait(s->context, &s->fence, &next, 1) != VIDMM_OK) return failed(s, "a wait");
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (!s->slot[i].fill) continue;
        fill_slot(s, i, frame);
        if (!submit(s)) return false;
    }
    return true;
}

static bool drained(void *arg)
{
    const struct scene *s = arg;
    return vidmm_context_pending(s->context) == 0 || vidmm_device_state(s->device) != VIDMM_DEVICE_ACTIVE;
}

static bool rest(struct scene *s)
{
    if (!world_until(s->world, TURNS, drained, s)) return failed(s, "the GPU does not come to rest");
    s->used = 0;
    s->packet = 0;
    return true;
}

/* Four frames are queued ahead of the GPU. */
static bool draw_frames(struct scene *s)
{
    for (uint32_t frame = 0; frame < SCENE_FRAMES; frame++) {
        if (!remap(s, frame)) return false;
        view(s, frame, draw_part);
        if (!submit(s)) return false;
        if (frame % 4 == 3 && !rest(s)) return false;
    }
    return rest(s);
}

/* ---- comparing ----------------------------------------------------------------------------------- */

static void expect_part(struct scene *s, uint32_t frame, uint32_t tile, const uint32_t box[4], uint32_t x,
                        uint32_t y)
{
    uint32_t *want = s->out->picture; /* the last picture is built here before it is taken */
    want += (uint64_t)SCENE_FRAMES * SCENE_WIDTH * SCENE_HEIGHT;
    for (uint32_t v = box[1]; v < box[3]; v++)
        for (uint32_t u = box[0]; u < box[2]; u++)
            want[(y + v - box[1]) * SCENE_WIDTH + x + u - box[0]] = pixel_of(tile, frame, u, v);
}

static bool compare(struct scene *s)
{
    uint64_t pixels = (uint64_t)SCENE_WIDTH * SCENE_HEIGHT;
    s->out->picture = calloc(SCENE_FRAMES + 1, PICTURE_BYTES);
    if (s->out->picture == NULL) return failed(s, "no memory");
    memcpy(s->out->picture, s->picture, (size_t)SCENE_FRAMES * PICTURE_BYTES);
    for (uint32_t frame = 0; frame < SCENE_FRAMES; frame++) {
        const uint32_t *got = s->out->picture + frame * pixels;
        const uint32_t *want = s->out->picture + SCENE_FRAMES * pixels;
        uint64_t wrong = 0;
        view(s, frame, expect_part);
        for (uint64_t i = 0; i < pixels; i++) wrong += got[i] != want[i];
        if (wrong > 0 && s->out->wrong_pixels == 0) s->out->first_wrong = frame;
        s->out->wrong_pixels += wrong;
    }
    return true;
}

/* ---- setting up ---------------------------------------------------------------------------------- */

static bool step_node(void *gpu, uint32_t node) { return softgpu_engine_step(gpu, node) == SOFTGPU_PROGRESS; }
static bool step_compute(void *gpu) { return step_node(gpu, REF_NODE_COMPUTE); }
static bool step_paging(void *gpu) { return step_node(gpu, REF_NODE_PAGING); }
static uint64_t gpu_wake(void *gpu) { return softgpu_wakeup_ns(gpu); }

static bool open_adapter(struct scene *s)
{
    struct world_options wo = {.seed = s->opt->seed, .frames = 131072};
    struct ref_options ro;
    struct softgpu_knobs knobs;
    const char *why = NULL;
    s->world = world_create(&wo);
    if (s->world == NULL) return failed(s, "no memory");
    ref_options_default(&ro, REF_FORMAT_A);
    if (s->opt->gpu_writes) ro.update_mode = VIDMM_UPDATE_GPU_VIRTUAL;
    ro.segment[0].bytes = 16ull << 20;
    ro.now_ns = world_now_ns;
    ro.now_ctx = s->world;
    if (ref_create(&ro, &s->ref) != VIDMM_OK) return failed(s, "no GPU");
    struct softgpu *gpu = ref_gpu(s->ref);
    struct vidmm_adapter_config cfg = {.struct_size = sizeof(cfg), .platform = world_platform(s->world),
                                       .ops = ref_ops(), .kmd = s->ref, .break_row = s->opt->break_row};
    if (vidmm_adapter_create(&cfg, &s->ad, &why) != VIDMM_OK) return failed(s, why);
    world_add_actor(s->world, &(struct world_actor){step_compute, gpu_wake, gpu});
    world_add_actor(s->world, &(struct world_actor){step_paging, NULL, gpu});
    world_own(s->world, s->ad);
    softgpu_get_knobs(gpu, &knobs);
    knobs.paging_delay_ns = s->opt->paging_delay_ns;
    softgpu_set_knobs(gpu, &knobs);
    return true;
}

static struct vidmm_open *memory(struct vidmm_device *d, uint64_t bytes, uint32_t supported)
{
    struct ref_alloc_private p = {.magic = REF_ALLOC_MAGIC, .bytes = bytes, .supported = supported,
                                  .preferred = supported & 1u, .alignment = supported & 1u ? 65536 : 0};
    struct vidmm_alloc_desc in = {.private_data = &p, .private_size = sizeof(p)};
    struct vidmm_open *op = NULL;
    return vidmm_alloc_create(d, &in, &op) == VIDMM_OK ? op : NULL;
}

static bool show(struct scene *s, struct vidmm_open *op, uint64_t *va)
{
    uint64_t value, trim;
    struct vidmm_map in = {.open = op, .protection = VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE};
    if (op == NULL) return failed(s, "no memory for the scene");
    in.bytes = vidmm_open_bytes(op);
    bool ok = vidmm_va_map(s->queue, &in, va, &value) >= 0 && wait_paging(s, s->queue, value);
    if (!ok) return failed(s, "a map");
    if (vidmm_make_resident(s->queue, &op, 1, 0, &value, &trim) < 0) return failed(s, "MakeResident");
    return wait_paging(s, s->queue, value);
}

static bool open_scene(struct scene *s)
{
    struct vidmm_context_desc cd = {.node = REF_NODE_COMPUTE};
    struct vidmm_reserve rd = {.base = BASE, .bytes = (BADGE + 1ull) * TILE_BYTES};
    uint64_t va, value;
    void *cpu;
    bool ok = vidmm_process_create(s->ad, &s->process) == VIDMM_OK &&
              vidmm_device_create(s->process, &s->device) == VIDMM_OK &&
              vidmm_device_create(s->process, &s->other) == VIDMM_OK &&
              vidmm_queue_create(s->device, 0, &s->queue) == VIDMM_OK &&
              vidmm_queue_create(s->other, 0, &s->other_queue) == VIDMM_OK &&
              vidmm_context_create(s->device, &cd, &s->context) == VIDMM_OK &&
              vidmm_fence_create(s->device, 0, 0, &s->fence) == VIDMM_OK;
    if (!ok) return failed(s, "the objects of the scene");
    s->pool = memory(s->device, SLOTS * TILE_BYTES, 1u | 4u);
    s->commands = memory(s->device, COMMAND_BYTES, 4u);
    s->pictures = memory(s->device, (uint64_t)SCENE_FRAMES * PICTURE_BYTES, 4u);
    s->big = memory(s->other, 14ull << 20, 1u); /* nothing fits beside it */
    if (s->big == NULL || !show(s, s->pool, &s->pool_va) || !show(s, s->commands, &s->commands_va) ||
        !show(s, s->pictures, &s->pictures_va))
        return failed(s, "no memory for the scene");
    if (vidmm_open_lock(s->commands, &cpu) != VIDMM_OK) return failed(s, "Lock2");
    s->words = cpu;
    if (vidmm_open_lock(s->pictures, &cpu) != VIDMM_OK) return failed(s, "Lock2");
    s->picture = cpu;
    ok = vidmm_va_reserve(s->process, s->queue, &rd, &va, &value) == VIDMM_OK;
    return ok || failed(s, "the reservation");
}

static void close_scene(struct scene *s)
{
    if (s->process != NULL) vidmm_process_destroy(s->process);
    if (s->ad != NULL) {
        if (world_settle(s->world, TURNS)) vidmm_adapter_destroy(s->ad);
        else (void)failed(s, "the process does not go away");
    }
    ref_destroy(s->ref);
    if (s->world != NULL) world_destroy(s->world);
}

void scene_run(const struct scene_options *o, struct scene_result *out)
{
    struct scene s = {.opt = o, .out = out};
    struct softgpu_detector seen = {0};
    *out = (struct scene_result){.ran = false};
    memset(s.place, 0xff, sizeof(s.place));
    for (uint32_t i = 0; i < SLOTS; i++) s.slot[i].tile = NOBODY;
    bool ok = open_adapter(&s) && open_scene(&s) && draw_frames(&s);
    if (ok) softgpu_get_detector(ref_gpu(s.ref), &seen);
    if (ok && seen.violations != 0) ok = failed(&s, "the GPU used stale translations");
    if (s.picture != NULL) out->ran = compare(&s) && ok;
    close_scene(&s);
}
