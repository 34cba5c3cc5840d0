/* SPDX-License-Identifier: MIT */
/* tiles.c — draws the scene of tiles_scene.h four times and writes its pictures.
 * Use: tiles [--break ROW] [DIRECTORY]; without a directory nothing is written. */
#include "tiles_scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef DEMO_PNG
#include <png.h>

static bool write_png(const char *path, const uint32_t *pixels, uint32_t width, uint32_t height)
{
    png_image image;
    memset(&image, 0, sizeof(image));
    image.version = PNG_IMAGE_VERSION;
    image.width = width;
    image.height = height;
    image.format = PNG_FORMAT_RGBA;
    return png_image_write_to_file(&image, path, 0, pixels, 0, NULL) != 0;
}
#else
static bool write_png(const char *path, const uint32_t *pixels, uint32_t width, uint32_t height)
{
    (void)path, (void)pixels, (void)width, (void)height;
    return false;
}
#endif

static bool write_frames(const char *dir, const uint32_t *picture)
{
    char path[512];
    for (uint32_t frame = 0; frame < SCENE_FRAMES; frame++) {
        (void)snprintf(path, sizeof(path), "%s/frame-%02u.png", dir, frame);
        if (!write_png(path, picture + (size_t)frame * SCENE_WIDTH * SCENE_HEIGHT, SCENE_WIDTH, SCENE_HEIGHT))
            return false;
    }
    return true;
}

/* Draws 42 and 43 beside each other. */
static bool write_strip(const char *dir, const uint32_t *picture)
{
    enum { GAP = 8, WIDTH = 2 * SCENE_WIDTH + GAP };
    char path[512];
    uint32_t *strip = malloc(sizeof(uint32_t) * WIDTH * SCENE_HEIGHT);
    if (strip == NULL) return false;
    memset(strip, 0xff, sizeof(uint32_t) * WIDTH * SCENE_HEIGHT);
    for (uint32_t k = 0; k < 2; k++)
        for (uint32_t y = 0; y < SCENE_HEIGHT; y++)
            memcpy(strip + (size_t)y * WIDTH + k * (SCENE_WIDTH + GAP),
                   picture + ((size_t)(42 + k) * SCENE_HEIGHT + y) * SCENE_WIDTH, SCENE_WIDTH * 4);
    (void)snprintf(path, sizeof(path), "%s/strip-42-43.png", dir);
    bool ok = write_png(path, strip, WIDTH, SCENE_HEIGHT);
    free(strip);
    return ok;
}

static bool run(const char *name, const struct scene_options *o, const char *dir)
{
    struct scene_result r;
    scene_run(o, &r);
    bool good = r.ran && r.wrong_pixels == 0, wrote = true;
    printf("%-34s %3u draws, %4llu tiles mapped, pool moved in %2llu gaps: ", name, SCENE_FRAMES,
           (unsigned long long)r.tiles_mapped, (unsigned long long)r.moves);
    if (good) printf("every pixel right\n");
    else printf("%llu pixels WRONG, the first in draw %u; %s\n", (unsigned long long)r.wrong_pixels,
                r.first_wrong, r.what != NULL ? r.what : "");
    if (dir != NULL && r.picture != NULL) wrote = write_frames(dir, r.picture) && write_strip(dir, r.picture);
    if (!wrote) printf("no pictures: built without libpng, or %s cannot be written\n", dir);
    free(r.picture);
    return good;
}

int main(int argc, char **argv)
{
    struct scene_options o = {.seed = 1};
    const char *dir = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--break") == 0 && i + 1 < argc) o.break_row = argv[++i];
        else dir = argv[i];
    }
    bool good = run("a texture 102 times its pool", &o, dir);
    o.evict = true;
    good &= run("the pool evicted in every gap", &o, NULL);
    o.paging_delay_ns = 5000000;
    good &= run("... and 5 ms of paging delay", &o, NULL);
    o.gpu_writes = true;
    good &= run("... and the GPU writes the tables", &o, NULL);
    return good ? 0 : 1;
}
