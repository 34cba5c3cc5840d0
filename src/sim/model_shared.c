/* SPDX-License-Identifier: MIT */
/* model_shared.c - see model_shared.h. */
#include "sim/model_shared.h"

#include <stddef.h>
#include <string.h>

static uint32_t written(const struct shared_packet *p, uint32_t i)
{
    return p->source != NULL ? p->source->page[i].now : p->pattern;
}

void shared_packet_begin(struct shared_packet *p)
{
    bool bad = p->target->gone || !p->target->writable || (p->source != NULL && p->source->gone);
    p->must_fault = p->may_fault = bad;
    p->target->writers++;
    if (p->source != NULL) p->source->readers++;
    for (uint32_t i = 0; i < p->count && !p->target->gone; i++) {
        p->target->page[p->first + i].later = written(p, i);
        p->target->page[p->first + i].open = true;
    }
}

void shared_packet_end(struct shared_packet *p, bool completed)
{
    p->target->writers--;
    if (p->source != NULL) p->source->readers--;
    for (uint32_t i = 0; i < p->count && completed && !p->target->gone; i++) {
        struct shared_page *page = &p->target->page[p->first + i];
        page->now = page->later;
        page->open = false;
    }
}

void shared_region_clone(const struct shared_region *from, struct shared_region *to)
{
    to->pages = from->pages;
    to->writable = from->writable;
    memcpy(to->page, from->page, sizeof(to->page));
}

const char *shared_page_seen(const struct shared_region *r, struct shared_page *page, uint32_t word)
{
    bool now = word == page->now, later = page->open && word == page->later;
    if (!now && !later) return "a page of a process shows something that nobody wrote there";
    if (r->writers > 0) return NULL; /* it may still change */
    page->now = word;
    page->open = false;
    return NULL;
}
