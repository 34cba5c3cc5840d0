/* SPDX-License-Identifier: MIT */
/* sched.c — contexts, their packets, and the nodes that run them.
 * Owns: contexts, packets, node lists. Calls: the driver (submit, set_root), queued.c. Keeps: invariants
 * 7, 12. FIFO within a context, turns between contexts of a node (turns.c), paging first. A packet starts
 * only when its device is active, not held, has its whole list resident, and its space owes no gate. */
#include "core/core.h"

static struct vidmm_adapter *adapter_of(const struct vidmm_context *c) { return c->ad; }
static struct vmm_space *space_of(const struct vidmm_context *c) { return c->dev->proc->on[c->ad->gpu]; }
static void *extra_of(struct vmm_packet *p) { return p + 1; }

/* ---- packets ---- */

struct vmm_packet *vmm_packet_new(struct vidmm_context *c, enum vmm_packet_kind kind, uint32_t extra_bytes)
{
    struct vmm_packet *p = vmm_new(adapter_of(c), sizeof *p + extra_bytes);
    if (p == NULL) return NULL;
    p->ctx = c;
    p->kind = kind;
    return p;
}

void vmm_packet_free(struct vidmm_adapter *ad, struct vmm_packet *p)
{
    uint64_t bytes = sizeof *p + p->extra;
    if (p->kind == PACKET_WAIT || p->kind == PACKET_SIGNAL) {
        bytes = vmm_sync_packet_bytes(p);
        vmm_sync_packet_drop(ad, p);
    }
    if (p->dma != NULL) vmm_render_release(p);
    vmm_delete(ad, p, bytes);
}

void vmm_packet_queue(struct vidmm_context *c, struct vmm_packet *p)
{
    struct vidmm_adapter *ad = adapter_of(c);
    p->seq = ++ad->lead->next_seq;
    list_push_back(&c->packets, &p->link);
    c->queued++;
    if (!list_is_linked(&c->on_node)) list_push_back(&ad->node[c->node].contexts, &c->on_node);
    vmm_context_arrive(c);
}

struct vidmm_device *vmm_packet_owner(const struct vmm_packet *p)
{
    if (p->companion != NULL) return p->companion->ctx->dev;
    return p->ctx != NULL ? p->ctx->dev : NULL;
}

struct vmm_packet *vmm_packet_head(const struct vidmm_context *c)
{
    struct list *l = list_first(&c->packets);
    return l != NULL ? list_entry(l, struct vmm_packet, link) : NULL;
}

void vmm_packet_pop(struct vidmm_context *c)
{
    list_remove(&vmm_packet_head(c)->link);
    c->queued--;
    if (c->queued == 0) list_remove(&c->on_node);
    vmm_context_arrive(c);
}

void vmm_packet_push(struct vidmm_adapter *ad, uint32_t node, struct vmm_packet *p)
{
    list_push_back(&ad->node[node].paging, &p->link);
}

/* ---- submission ---- */

static void give_root(struct vidmm_context *c)
{
    struct vidmm_adapter *ad = adapter_of(c);
    struct vmm_space *sp = space_of(c);
    if (c->physical || c->dev->model != VIDMM_MODEL_GPUMMU) return;
    if (c->root_version == sp->tables.root_version) return;
    bool second = list_first(&c->dev->contexts) != &c->on_device;
    if (BROKEN(ad, VA_12) || ((BROKEN(ad, ADP_08) || BROKEN(ad, SUB_03)) && second)) sp = &ad->paging;
    if (BROKEN(ad, LDA_02)) sp = &c->dev->proc->space;
    struct vmm_table *root = sp->tables.root;
    struct vidmm_gpu_address at = { root->segment, root->address };
    ad->ops->set_root_page_table(ad->kmd, c->kmd_context, at, root->entries);
    c->root_version = space_of(c)->tables.root_version;
}

bool vmm_context_may_start(const struct vidmm_context *c)
{
    const struct vmm_space *sp = space_of(c);
    const struct vmm_packet *p = vmm_packet_head(c);
    if (p == NULL || p->kind != PACKET_EXEC || !vmm_device_runnable(c->dev)) return false;
    if (!vmm_iommu_may_start(c->dev)) return false;
    bool tables = !c->physical && c->dev->model == VIDMM_MODEL_GPUMMU;
    bool new_root = tables && c->root_version != sp->tables.root_version;
    if (new_root && c->running > 0) return false; /* PT-12 */
    return sp->pending_root == NULL && vmm_batch_passed(sp->ad, sp->gate_seq);
}

static void start_packet(struct vidmm_adapter *ad, uint32_t node, struct vmm_packet *p, void *context,
                         const void *private_data)
{
    struct vmm_node *n = &ad->node[node];
    struct vidmm_kmd_submit s = { .context = context, .node = node, .va = p->va, .bytes = p->bytes,
                                  .private_data = private_data, .private_size = p->extra, .flags = p->flags };
    bool again = p->ctx == NULL && (p->flags & VIDMM_SUBMIT_RESUBMISSION) != 0; /* FLT-15 */
    if (!again) p->fence_id = ++n->next_fence;
    s.fence_id = p->fence_id;
    list_push_back(&n->running, &p->link);
    n->running_count++;
    if (BROKEN(ad, SUB_02) && p->extra == 0 && p->ctx != NULL) {
        s.private_data = &ad->info; /* as if a list had been attached */
        s.private_size = 8;
    }
    vidmm_status st = p->dma != NULL ? vmm_render_submit(ad, p, node)
                                     : ad->ops->submit_command_virtual(ad->kmd, &s);
    if (st == VIDMM_OK) return;
    list_remove(&p->link);
    n->running_count--;
    if (p->companion != NULL) vmm_tile_packet_done(ad);
    struct vidmm_device *d = p->ctx != NULL ? p->ctx->dev : NULL;
    if (d != NULL) {
        p->ctx->running--;
        d->running--;
        vmm_packet_free(ad, p);
    }
    if (d == NULL || st != VIDMM_INVALID) vmm_adapter_remove(ad);
    else vmm_device_fail(d, VIDMM_DEVICE_DMA_FAULT, NULL); /* SUB-08 */
}

static bool start_paging(struct vidmm_adapter *ad, uint32_t node)
{
    struct vmm_node *n = &ad->node[node];
    struct list *l = list_first(&n->paging);
    if (l == NULL) return false;
    if (ad->paging_root_set == 0) {
        struct vmm_table *root = ad->paging.tables.root;
        struct vidmm_gpu_address at = { root->segment, root->address };
        ad->ops->set_root_page_table(ad->kmd, ad->paging_context, at, root->entries);
        ad->paging_root_set = 1;
    }
    list_remove(l);
    struct vmm_packet *p = list_entry(l, struct vmm_packet, link);
    void *context = p->companion != NULL ? p->companion->kmd_context : ad->paging_context;
    start_packet(ad, node, p, context, NULL);
    return true;
}

static bool start_client(struct vidmm_adapter *ad, uint32_t node)
{
    struct vmm_node *n = &ad->node[node];
    struct vidmm_context *c = n->wanted && !n->client_next ? NULL : vmm_turn_pick(n);
    if (c == NULL) return false;
    n->client_next = false;
    give_root(c);
    struct vmm_packet *p = vmm_packet_head(c);
    vmm_turn_taken(c, p);
    c->running++; /* before what follows comes to the head */
    vmm_packet_pop(c);
    if (c->queued > 0) list_move_back(&n->contexts, &c->on_node);
    c->dev->running++;
    c->dev->quantum = false;
    ad->counters->submits++;
    start_packet(ad, node, p, c->kmd_context, p->extra > 0 ? extra_of(p) : NULL);
    return true;
}

/* A node that was asked to stop gets nothing before it has answered; none does while a domain is due. */
static bool may_submit(const struct vidmm_adapter *ad, const struct vmm_node *n)
{
    bool stops = ad->lead->attaching || n->preempt_until != 0 || n->group != 0;
    return !ad->lost && !stops && n->running_count < ad->info.submit_depth;
}

bool vmm_sched_step(struct vidmm_adapter *ad)
{
    bool progress = vmm_waiters_step(ad);
    for (uint32_t i = 0; i < ad->info.node_count && !ad->lost; i++) {
        struct vmm_node *n = &ad->node[i];
        LIST_FOREACH_SAFE(it, tmp, &n->contexts)
            progress |= vmm_context_sync_step(list_entry(it, struct vidmm_context, on_node));
        while (may_submit(ad, n) && (start_paging(ad, i) || start_client(ad, i))) progress = true;
    }
    return progress;
}

/* ---- completion ---- */

static void complete_packet(struct vidmm_adapter *ad, struct vmm_node *n, struct vmm_packet *p)
{
    list_remove(&p->link);
    n->running_count--;
    if (p->companion != NULL) {
        vmm_tile_packet_done(ad);
        return;
    }
    if (p->ctx == NULL) {
        if (!ad->silent) vmm_batch_complete(ad, list_entry(p, struct vmm_buffer, packet));
        return;
    }
    p->ctx->running--;
    p->ctx->dev->running--;
    ad->counters->submits_completed++;
    vmm_context_arrive(p->ctx);
    vmm_packet_free(ad, p);
}

bool vmm_node_complete(struct vidmm_adapter *ad, uint32_t node, uint64_t fence_id)
{
    struct vmm_node *n = &ad->node[node];
    bool progress = false;
    if (fence_id > n->completed) n->completed = fence_id;
    for (struct list *l = list_first(&n->running); l != NULL; l = list_first(&n->running)) {
        struct vmm_packet *p = list_entry(l, struct vmm_packet, link);
        if (p->fence_id > fence_id) break;
        complete_packet(ad, n, p);
        progress = true;
    }
    return progress;
}

struct vmm_packet *vmm_node_front(const struct vmm_node *n)
{
    struct list *l = list_first(&n->running);
    return l != NULL ? list_entry(l, struct vmm_packet, link) : NULL;
}

struct vmm_packet *vmm_node_find(const struct vmm_node *n, uint64_t fence_id)
{
    LIST_FOREACH(it, &n->running) {
        struct vmm_packet *p = list_entry(it, struct vmm_packet, link);
        if (p->fence_id == fence_id) return p;
    }
    return NULL;
}

static void requeue(struct vmm_node *n, struct vmm_packet *p)
{
    list_push_front(&p->ctx->packets, &p->link);
    p->ctx->queued++;
    if (!list_is_linked(&p->ctx->on_node)) list_push_back(&n->contexts, &p->ctx->on_node);
}

/* The engine was reset or has stopped: the guilty packet is dropped, the others go back to the front of
 * their queues in order. Paging packets keep their fence ids and go first (FLT-15). */
void vmm_node_give_back(struct vidmm_adapter *ad, uint32_t node, uint64_t guilty)
{
    struct vmm_node *n = &ad->node[node];
    for (struct list *l = list_last(&n->running); l != NULL; l = list_last(&n->running)) {
        struct vmm_packet *p = list_entry(l, struct vmm_packet, link);
        list_remove(&p->link);
        n->running_count--;
        p->flags |= VIDMM_SUBMIT_RESUBMISSION;
        if (p->companion != NULL && p->fence_id == guilty) {
            vmm_tile_packet_done(ad);
            continue;
        }
        if (p->ctx == NULL) {
            list_push_front(&n->paging, &p->link);
            continue;
        }
        p->ctx->running--;
        p->ctx->dev->running--;
        if (p->fence_id == guilty || p->ctx->dev->state != VIDMM_DEVICE_ACTIVE) vmm_packet_free(ad, p);
        else requeue(n, p);
    }
}

void vmm_node_drop(struct vidmm_adapter *ad, uint32_t node)
{
    struct vmm_node *n = &ad->node[node];
    for (struct list *l = list_first(&n->running); l != NULL; l = list_first(&n->running))
        complete_packet(ad, n, list_entry(l, struct vmm_packet, link));
    for (struct list *l = list_first(&n->paging); l != NULL; l = list_first(&n->paging)) {
        list_remove(l);
        if (list_entry(l, struct vmm_packet, link)->companion != NULL) vmm_tile_packet_done(ad);
    }
}

/* ---- questions ---- */

static bool runs_on(const struct vidmm_device *d, const struct vidmm_adapter *ad)
{
    LIST_FOREACH(it, &d->contexts) {
        const struct vidmm_context *c = list_entry(it, struct vidmm_context, on_device);
        if (c->ad == ad && c->running > 0) return true;
    }
    LIST_FOREACH(hi, &d->hwcontexts) {
        const struct vidmm_hwcontext *c = list_entry(hi, struct vidmm_hwcontext, on_device);
        if (c->ad == ad && c->state != HW_SUSPENDED) return true;
    }
    return false;
}

/* Those of the gpu: what other gpus of the link run goes on, and nobody would stop it. */
bool vmm_contexts_idle(const struct vmm_space *sp)
{
    const struct vidmm_adapter *ad = sp->ad;
    if (ad->updating != NULL && ad->updating->ctx->dev->proc == sp->proc) return false;
    LIST_FOREACH(it, &sp->proc->devices) {
        const struct vidmm_device *d = list_entry(it, struct vidmm_device, on_process);
        if (d->running > 0 && runs_on(d, ad)) return false;
    }
    return true;
}

static bool running_before(const struct vidmm_adapter *ad, const struct vidmm_device *d, uint64_t seq)
{
    for (uint32_t i = 0; i < ad->info.node_count; i++) {
        LIST_FOREACH(it, &ad->node[i].running) {
            const struct vmm_packet *p = list_entry(it, struct vmm_packet, link);
            if (p->ctx != NULL && p->ctx->dev == d && p->seq < seq) return true;
        }
    }
    return false;
}

bool vmm_packets_before(const struct vidmm_device *d, uint64_t seq)
{
    LIST_FOREACH(it, &d->contexts) {
        const struct vmm_packet *p = vmm_packet_head(list_entry(it, struct vidmm_context, on_device));
        if (p != NULL && p->seq < seq) return true;
    }
    if (vmm_hw_before(d, seq)) return true;
    if (d->running == 0) return false;
    LINK_FOREACH(g, d->proc->ad) {
        if (running_before(g, d, seq)) return true;
    }
    return false;
}

uint32_t vidmm_context_pending(const struct vidmm_context *c) { return c->queued + c->running; }

/* ---- services ---- */

vidmm_status vidmm_context_create(struct vidmm_device *d, const struct vidmm_context_desc *in,
                                  struct vidmm_context **out)
{
    struct vidmm_adapter *ad = vmm_link_engine(d->proc->ad, in->engine_affinity);
    if (d->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (ad == NULL) return VIDMM_INVALID;
    struct vidmm_kmd_context kc = { .process = d->proc->on[ad->gpu]->kmd_process, .node = in->node,
                                    .flags = in->physical ? 0 : VIDMM_CONTEXT_VIRTUAL,
                                    .private_data = in->private_data, .private_size = in->private_size,
                                    .paging_companion_node = ad->info.paging_node, .device = d->kmd_device };
    if (ad->lost) return VIDMM_DEVICE_LOST;
    if (in->node >= ad->info.node_count) return VIDMM_INVALID;
    if (in->private_size > VIDMM_PRIVATE_DATA_MAX) return VIDMM_LIMIT;
    const struct vidmm_node_desc *node = &ad->info.node[in->node];
    if (in->physical ? !node->physical : !node->gpummu && !node->iommu) return VIDMM_NOT_SUPPORTED;
    struct vidmm_context *c = vmm_new(ad, sizeof *c);
    if (c == NULL) return VIDMM_NO_MEMORY;
    c->dev = d;
    c->ad = ad;
    vidmm_status st = ad->ops->create_context(ad->kmd, &kc);
    bool made = st == VIDMM_OK, addresses = made && !in->physical && !kc.use_iommu;
    uint32_t companion = kc.paging_companion_node; /* where GPU addresses have to mean something */
    if (made && (companion >= ad->info.node_count || (addresses && !ad->info.node[companion].gpummu)))
        st = VIDMM_FAILED; /* a broken driver */
    if (st == VIDMM_OK && !in->physical) st = vmm_model_check(d, node, kc.use_iommu);
    if (made && st != VIDMM_OK) ad->ops->destroy_context(ad->kmd, kc.handle);
    if (st == VIDMM_OK && in->physical) st = vmm_render_context(c, &kc);
    if (st != VIDMM_OK) {
        vmm_delete(ad, c, sizeof *c);
        return st;
    }
    if (!in->physical) vmm_model_take(d, kc.use_iommu);
    c->node = in->node;
    c->kmd_context = kc.handle;
    c->companion_node = kc.paging_companion_node;
    c->submit_private_max = kc.submit_private_max;
    c->id = ++ad->lead->next_id;
    list_init(&c->packets);
    list_push_back(&d->contexts, &c->on_device);
    ad->counters->contexts++;
    *out = c;
    return VIDMM_OK;
}

/* For the break switch of ADP-09: looks into the command buffer, and "patches" it. */
static void break_inspect(struct vidmm_context *c, uint64_t va)
{
    struct vmm_space *sp = space_of(c);
    struct tree_node *n = tree_floor(&sp->bindings, va);
    struct vmm_binding *b = n != NULL ? tree_entry(n, struct vmm_binding, node) : NULL;
    uint64_t word;
    if (b == NULL || b->end <= va || b->target != TARGET_ALLOC || b->open->al->segment != VMM_SYSTEM) return;
    uint64_t at = b->open->al->home * VIDMM_PAGE_SIZE + b->offset + (va - b->node.key);
    const struct vidmm_platform *pl = sp->ad->platform;
    char *cpu = (char *)pl->sys_address(pl->ctx, at / VIDMM_PAGE_SIZE) + at % VIDMM_PAGE_SIZE;
    pl->copy(pl->ctx, &word, cpu, sizeof word);
    word ^= 1;
    pl->copy(pl->ctx, cpu, &word, sizeof word);
}

static vidmm_status check_submit(const struct vidmm_context *c, const struct vidmm_submit *in)
{
    if (c->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (c->dying || (in->flags & ~(uint32_t)VIDMM_SUBMIT_NULL)) return VIDMM_INVALID;
    if (in->private_size > 0 && in->private_data == NULL) return VIDMM_INVALID;
    if (c->physical) return VIDMM_INVALID; /* SUB-07 */
    if (in->private_size > c->submit_private_max) return VIDMM_LIMIT;
    return BROKEN(adapter_of(c), SUB_01) ? VIDMM_NOT_SUPPORTED : VIDMM_OK;
}

static struct vmm_packet *exec_packet(struct vidmm_context *c, const struct vidmm_submit *in)
{
    struct vmm_packet *p = vmm_packet_new(c, PACKET_EXEC, in->private_size);
    if (p == NULL) return NULL;
    if (BROKEN(adapter_of(c), ADP_09)) break_inspect(c, in->va);
    p->va = in->va;
    p->bytes = in->bytes;
    p->flags = in->flags;
    p->extra = in->private_size;
    if (in->private_size > 0) memcpy(extra_of(p), in->private_data, in->private_size);
    return p;
}

vidmm_status vidmm_contexts_submit(struct vidmm_context *const *c, uint32_t n, const struct vidmm_submit *in)
{
    struct vmm_packet *packet[VIDMM_BROADCAST_MAX];
    uint32_t made = 0;
    if (n == 0 || n > VIDMM_BROADCAST_MAX) return VIDMM_INVALID;
    for (uint32_t i = 0; i < n; i++) {
        vidmm_status st = check_submit(c[i], in);
        if (st == VIDMM_OK && c[i]->dev != c[0]->dev) st = VIDMM_INVALID;
        if (st != VIDMM_OK) return st;
    }
    while (made < n && (packet[made] = exec_packet(c[made], in)) != NULL) made++;
    for (uint32_t i = 0; i < made; i++) {
        if (made == n) vmm_packet_queue(c[i], packet[i]);
        else vmm_packet_free(adapter_of(c[i]), packet[i]);
    }
    return made == n ? VIDMM_OK : VIDMM_NO_MEMORY;
}

vidmm_status vidmm_context_submit(struct vidmm_context *c, uint64_t va, uint32_t bytes,
                                  const void *private_data, uint32_t private_size, uint32_t flags)
{
    const struct vidmm_submit in = { va, bytes, flags, private_data, private_size };
    return vidmm_contexts_submit(&c, 1, &in);
}

vidmm_status vidmm_context_set_priority(struct vidmm_context *c, int32_t priority)
{
    if (priority < -7 || priority > 7) return VIDMM_INVALID;
    c->priority = priority;
    return VIDMM_OK;
}

vidmm_status vidmm_context_set_in_process_priority(struct vidmm_context *c, int32_t priority)
{
    if (priority != 0 && priority != 1) return VIDMM_INVALID;
    c->in_process = priority;
    return VIDMM_OK;
}

/* SUB-34: a driver that wants to know hears of every packet that will not come. */
static void tell_cancelled(struct vidmm_context *c, struct vmm_packet *p)
{
    struct vidmm_adapter *ad = adapter_of(c);
    struct vidmm_kmd_submit s = { .context = c->kmd_context, .node = c->node, .va = p->va, .bytes = p->bytes,
                                  .private_data = p->extra > 0 ? extra_of(p) : NULL,
                                  .private_size = p->extra, .fence_id = p->fence_id, .flags = p->flags };
    if (p->kind != PACKET_EXEC || ad->ops->cancel_command == NULL || ad->silent) return;
    ad->ops->cancel_command(ad->kmd, &s);
}

void vmm_context_cancel(struct vidmm_context *c)
{
    for (struct vmm_packet *p = vmm_packet_head(c); p != NULL; p = vmm_packet_head(c)) {
        vmm_packet_pop(c);
        tell_cancelled(c, p);
        vmm_packet_free(adapter_of(c), p);
    }
    vmm_companion_cancel(c);
}

void vidmm_context_destroy(struct vidmm_context *c)
{
    c->dying = true;
    vmm_context_step_dying(c);
}

bool vmm_context_step_dying(struct vidmm_context *c)
{
    struct vidmm_adapter *ad = adapter_of(c);
    if (!c->dying || c->queued + c->running + vidmm_context_updates(c) > 0) return false;
    vmm_companion_free(c);
    ad->ops->destroy_context(ad->kmd, c->kmd_context);
    if (c->physical) vmm_render_context_fini(c);
    list_remove(&c->on_device);
    vmm_delete(ad, c, sizeof *c);
    return true;
}
