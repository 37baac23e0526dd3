/*
 * segment_cache.c
 *	  Encodings and centres of segmentations that were read, kept in the session.
 *
 * What has an id never changes, so a copy is as good as the table whatever the snapshot; a new
 * generation of the registry (its tables changed, kpx.segmentation among them) frees copies
 * of what was dropped. Which segmentation has a name, and who may use it, is not kept.
 *
 * A copy may be in use further up the stack: it lives until the transaction ends. So that one long
 * transaction cannot fill the memory, those count, and nothing is kept beyond LIMIT.
 */
#include "segment.h"

#include "access/xact.h"

#define LIMIT ((size_t) 16 << 20) /* bytes */

typedef struct Entry
{
	struct Entry *next;
	MemoryContext context;
	size_t bytes;
	const KpxSegmentation *s;
} Entry;

static Entry *kept = NULL;
static Entry *retired = NULL;
static uint64 kept_generation = 0;
static size_t total = 0;
static bool full = false; /* something found no room */
static bool callback_registered = false;

static void
free_all(Entry **list)
{
	while (*list)
	{
		Entry *entry = *list;

		*list = entry->next;
		total -= entry->bytes;
		MemoryContextDelete(entry->context);
	}
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	free_all(&retired);
	if (full)
		free_all(&kept);
	full = false;
}

const KpxSegmentation *
kpx_segment_cache_find(uint64 generation, int64 id)
{
	if (kept_generation != generation)
		while (kept)
		{
			Entry *entry = kept;

			kept = entry->next;
			entry->next = retired;
			retired = entry;
		}
	kept_generation = generation;
	for (Entry *entry = kept; entry; entry = entry->next)
		if (entry->s->id == id)
			return entry->s;
	return NULL;
}

void
kpx_segment_cache_keep(uint64 generation, const KpxSegmentation *s, MemoryContext context)
{
	size_t bytes = MemoryContextMemAllocated(context, true);
	Entry *entry;

	if (generation != kept_generation || bytes > LIMIT)
		return;
	if (bytes > LIMIT - Min(total, LIMIT))
	{
		full = true;
		return;
	}
	if (!callback_registered)
	{
		RegisterXactCallback(transaction_ended, NULL);
		callback_registered = true;
	}
	entry = MemoryContextAlloc(context, sizeof(Entry));
	*entry = (Entry){kept, context, bytes, s};
	MemoryContextSetParent(context, TopMemoryContext);
	kept = entry;
	total += bytes;
}
