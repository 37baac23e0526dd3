/*
 * rules.c
 *	  Mining beside FP-growth and Apriori, on generated and given baskets.
 *
 *	  rules quest|dense MIN_SUPPORT [MAX_LENGTH]	generated baskets
 *	  rules FILE MIN_SUPPORT [MAX_LENGTH]			a line a basket, items as numbers
 *	  rules ... write							prints the baskets as such a file
 *
 * Prints: method, seconds of CPU (median of 5), peak MB, itemsets, sum of their supports. The two
 * other methods are straightforward and only for comparison: FP-growth (Han, Pei, Yin
 * 2000) whose trees are projected by copying paths, and Apriori (Agrawal, Srikant 1994)
 * which counts candidates in a trie, basket by basket. quest is the generator of that
 * paper: T10.I4, 1,000 items, 2,000 patterns, 100,000 baskets; dense is 3,196 baskets of
 * 37 attributes with skewed values, like the chess set.
 */
#include "core/itemset.h"
#include "core/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Baskets
{
	uint64_t n;
	uint32_t items;
	uint64_t *offset;
	uint32_t *index;
	uint64_t capacity;
} Baskets;

typedef struct Found
{
	uint64_t itemsets;
	uint64_t supports;
	size_t peak;
} Found;

static size_t live;
static size_t peak;

/* malloc that knows how much is out; the size is kept in front. */
static void *
counted(void *context, size_t bytes)
{
	size_t *memory = malloc(bytes + 64);

	(void) context;
	if (memory == NULL)
		return NULL;
	*memory = bytes;
	live += bytes;
	peak = live > peak ? live : peak;
	return (char *) memory + 64;
}

static void
uncounted(void *context, void *memory)
{
	size_t *start = (size_t *) ((char *) memory - 64);

	(void) context;
	live -= *start;
	free(start);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* ---------------------------------------------------------------- baskets */

static void
put(Baskets *b, uint64_t at, uint32_t item)
{
	if (at == b->capacity)
	{
		b->capacity = b->capacity ? b->capacity * 2 : 1024;
		b->index = realloc(b->index, b->capacity * sizeof(uint32_t));
	}
	b->index[at] = item;
	if (item >= b->items)
		b->items = item + 1;
}

static uint64_t position;

static double
uniform(void)
{
	return kpx_uniform(42, 1, position++);
}

static int
poisson(double mean)
{
	double limit = exp(-mean);
	double product = uniform();
	int k = 0;

	for (; product > limit; k++)
		product *= uniform();
	return k;
}

#define PATTERNS 2000
#define PATTERN_ITEMS 32

static int pattern_size[PATTERNS];
static uint32_t pattern[PATTERNS][PATTERN_ITEMS];
static double pattern_weight[PATTERNS]; /* cumulated */
static double corruption[PATTERNS];

static void
make_patterns(uint32_t items)
{
	double total = 0;

	for (int p = 0; p < PATTERNS; p++)
	{
		int size = poisson(3) + 1;
		int from_last = p ? (int) (-0.5 * log(uniform()) * size) : 0;

		size = size > PATTERN_ITEMS ? PATTERN_ITEMS : size;
		for (int i = 0; i < size; i++)
			pattern[p][i] = i < from_last && i < pattern_size[p - 1] ? pattern[p - 1][i] : (uint32_t) (uniform() * items);
		pattern_size[p] = size;
		pattern_weight[p] = total += -log(uniform());
		corruption[p] = 0.5 + sqrt(0.1) * kpx_normal(42, 2, (uint64_t) p);
	}
	for (int p = 0; p < PATTERNS; p++)
		pattern_weight[p] /= total;
}

static int
draw_pattern(void)
{
	double u = uniform();
	int low = 0;
	int high = PATTERNS - 1;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (pattern_weight[middle] < u)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static Baskets
quest(uint64_t n, uint32_t items)
{
	Baskets b = {n, items, malloc((n + 1) * sizeof(uint64_t)), NULL, 0};
	uint64_t at = 0;

	make_patterns(items);
	b.offset[0] = 0;
	for (uint64_t i = 0; i < n; i++)
	{
		int size = poisson(9) + 1;

		while (at - b.offset[i] < (uint64_t) size)
		{
			int p = draw_pattern();

			for (int k = 0; k < pattern_size[p]; k++)
				if (uniform() >= corruption[p])
					put(&b, at++, pattern[p][k]);
		}
		b.offset[i + 1] = at;
	}
	return b;
}

static Baskets
dense(uint64_t n)
{
	Baskets b = {n, 0, malloc((n + 1) * sizeof(uint64_t)), NULL, 0};
	uint64_t at = 0;

	b.offset[0] = 0;
	for (uint64_t i = 0; i < n; i++)
	{
		/* a basket is typical in all of its attributes or in few */
		double typical = 0.5 + 0.5 * uniform();

		for (uint32_t a = 0; a < 37; a++)
			put(&b, at++, 2 * a + (uniform() >= 1 - (1 - typical) * (0.1 + 0.9 * a / 37)));
		b.offset[i + 1] = at;
	}
	return b;
}

static Baskets
read_baskets(const char *name)
{
	Baskets b = {0};
	FILE *file = fopen(name, "r");
	uint64_t at = 0;
	uint64_t capacity = 1024;
	unsigned item = 0;
	bool number = false;
	int c;

	if (!file)
	{
		perror(name);
		exit(1);
	}
	b.offset = malloc((capacity + 2) * sizeof(uint64_t));
	b.offset[0] = 0;
	while ((c = getc(file)) != EOF)
	{
		if (c >= '0' && c <= '9')
		{
			item = (number ? item * 10 : 0) + (unsigned) (c - '0');
			number = true;
			continue;
		}
		if (number)
			put(&b, at++, item);
		number = false;
		if (c != '\n')
			continue;
		if (b.n == capacity)
			b.offset = realloc(b.offset, ((capacity *= 2) + 2) * sizeof(uint64_t));
		b.offset[++b.n] = at;
	}
	fclose(file);
	return b;
}

/* ---------------------------------------------------------------- what kpx_mine_rules does */

static Found
mine(const Baskets *b, uint64_t min_support, int max_length)
{
	KpxArena arena = {counted, uncounted, NULL, SIZE_MAX, 0, 0};
	KpxMinerOptions options = {min_support, max_length, UINT32_MAX};
	uint64_t *offset = counted(NULL, (b->n + 1) * sizeof(uint64_t));
	uint32_t *index = counted(NULL, b->offset[b->n] * sizeof(uint32_t));
	KpxMiner *miner;
	KpxStatus status;
	Found found = {0, 0, 0};

	memcpy(offset, b->offset, (b->n + 1) * sizeof(uint64_t));
	memcpy(index, b->index, b->offset[b->n] * sizeof(uint32_t));
	if (kpx_miner_begin(&options, offset, index, b->n, b->items, &arena, &miner) != KPX_OK)
		exit(1);
	while ((status = kpx_miner_run(miner, 1 << 21)) == KPX_MORE)
		;
	if (status != KPX_OK)
	{
		fprintf(stderr, "more than 2^32 itemsets, or no memory\n");
		exit(1);
	}
	found.itemsets = kpx_miner_itemsets(miner)->n - 1;
	for (uint32_t i = 1; i <= found.itemsets; i++)
		found.supports += kpx_itemset(kpx_miner_itemsets(miner), i)->support;
	uncounted(NULL, offset);
	uncounted(NULL, index);
	return found; /* the arena's blocks are left to the process */
}

/* ---------------------------------------------------------------- baskets by rank, for the others */

static uint32_t *item_support;

static int
by_support(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a;
	uint32_t y = *(const uint32_t *) b;

	if (item_support[x] != item_support[y])
		return item_support[x] > item_support[y] ? -1 : 1;
	return x < y ? -1 : x > y;
}

static int
by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a;
	uint32_t y = *(const uint32_t *) b;

	return x < y ? -1 : x > y;
}

/* Frequent items as ranks, the most frequent 0, increasing in each basket. */
static Baskets
ranked(const Baskets *b, uint64_t min_support, uint32_t **support)
{
	Baskets r = {b->n, 0, counted(NULL, (b->n + 1) * sizeof(uint64_t)), counted(NULL, (b->offset[b->n] + 1) * sizeof(uint32_t)), 0};
	uint64_t *stamp = calloc(b->items, sizeof(uint64_t));
	uint32_t *order = malloc(b->items * sizeof(uint32_t));
	uint32_t *rank = malloc(b->items * sizeof(uint32_t));
	uint64_t at = 0;

	item_support = calloc(b->items, sizeof(uint32_t));
	for (uint64_t i = 0; i < b->n; i++)
		for (uint64_t j = b->offset[i]; j < b->offset[i + 1]; j++)
		{
			item_support[b->index[j]] += stamp[b->index[j]] != i + 1;
			stamp[b->index[j]] = i + 1;
		}
	for (uint32_t i = 0; i < b->items; i++)
		order[i] = i;
	qsort(order, b->items, sizeof(uint32_t), by_support);
	*support = counted(NULL, (b->items + 1) * sizeof(uint32_t));
	for (uint32_t i = 0; i < b->items; i++)
	{
		rank[order[i]] = i;
		(*support)[i] = item_support[order[i]];
		r.items += item_support[order[i]] >= min_support;
	}
	r.offset[0] = 0;
	for (uint64_t i = 0; i < b->n; i++)
	{
		uint64_t begin = at;
		uint64_t kept = begin;

		for (uint64_t j = b->offset[i]; j < b->offset[i + 1]; j++)
			if (rank[b->index[j]] < r.items)
				r.index[at++] = rank[b->index[j]];
		qsort(r.index + begin, at - begin, sizeof(uint32_t), by_number);
		for (uint64_t j = begin; j < at; j++)
			if (kept == begin || r.index[j] != r.index[kept - 1])
				r.index[kept++] = r.index[j];
		r.offset[i + 1] = at = kept;
	}
	free(stamp);
	free(order);
	free(rank);
	free(item_support);
	return r;
}

/* ---------------------------------------------------------------- FP-growth */

typedef struct Node
{
	uint32_t item;
	uint32_t parent;
	uint32_t count;
	uint32_t next; /* of the same item */
	uint32_t copy; /* in the tree that is being made */
	uint32_t stamp;
} Node;

typedef struct Tree
{
	uint32_t items;
	uint32_t *support;
	uint32_t *head;
	Node *node; /* 0 is the root */
	uint32_t n;
	uint32_t capacity;
} Tree;

static uint64_t fp_min;
static int fp_length;
static uint32_t fp_stamp;

static Tree
new_tree(uint32_t items)
{
	Tree t = {items, counted(NULL, items * 4 + 4), counted(NULL, items * 4 + 4), counted(NULL, 64 * sizeof(Node)), 1, 64};

	memset(t.support, 0, items * 4 + 4);
	memset(t.head, 0, items * 4 + 4);
	memset(t.node, 0, sizeof(Node));
	return t;
}

static void
free_tree(Tree *t)
{
	uncounted(NULL, t->support);
	uncounted(NULL, t->head);
	uncounted(NULL, t->node);
}

static uint32_t
new_node(Tree *t, uint32_t item)
{
	if (t->n == t->capacity)
	{
		Node *bigger = counted(NULL, 2 * (size_t) t->capacity * sizeof(Node));

		memcpy(bigger, t->node, t->n * sizeof(Node));
		uncounted(NULL, t->node);
		t->node = bigger;
		t->capacity *= 2;
	}
	t->node[t->n] = (Node){item, 0, 0, t->head[item], 0, 0};
	t->head[item] = t->n;
	return t->n++;
}

/* The tree of the baskets with item, by copying the paths above its nodes. */
static Tree
project(Tree *t, uint32_t item)
{
	Tree p = new_tree(item);

	for (uint32_t i = t->head[item]; i; i = t->node[i].next)
		for (uint32_t a = t->node[i].parent; a; a = t->node[a].parent)
			p.support[t->node[a].item] += t->node[i].count;
	fp_stamp++;
	for (uint32_t i = t->head[item]; i; i = t->node[i].next)
	{
		uint32_t child = 0;

		for (uint32_t a = t->node[i].parent; a; a = t->node[a].parent)
		{
			bool known = t->node[a].stamp == fp_stamp;

			if (p.support[t->node[a].item] < fp_min)
				continue;
			if (!known)
			{
				t->node[a].copy = new_node(&p, t->node[a].item);
				t->node[a].stamp = fp_stamp;
			}
			if (child)
				p.node[child].parent = t->node[a].copy;
			p.node[t->node[a].copy].count += t->node[i].count;
			child = known ? 0 : t->node[a].copy;
		}
	}
	return p;
}

static void
grow(Tree *t, int length, Found *found)
{
	for (uint32_t item = 0; item < t->items; item++)
	{
		if (t->support[item] < fp_min)
			continue;
		found->itemsets++;
		found->supports += t->support[item];
		if (length < fp_length && item > 0)
		{
			Tree p = project(t, item);

			grow(&p, length + 1, found);
			free_tree(&p);
		}
	}
}

static const uint32_t *sort_index;
static const uint64_t *sort_offset;

static int
by_basket(const void *a, const void *b)
{
	uint64_t x = *(const uint32_t *) a;
	uint64_t y = *(const uint32_t *) b;
	uint64_t i = sort_offset[x];
	uint64_t j = sort_offset[y];

	for (; i < sort_offset[x + 1] && j < sort_offset[y + 1]; i++, j++)
		if (sort_index[i] != sort_index[j])
			return sort_index[i] < sort_index[j] ? -1 : 1;
	return (i < sort_offset[x + 1]) - (j < sort_offset[y + 1]);
}

static Found
fp_growth(const Baskets *b, uint64_t min_support, int max_length)
{
	Found found = {0, 0, 0};
	uint32_t *support;
	Baskets r = ranked(b, min_support, &support);
	Tree t = new_tree(r.items);
	uint32_t *order = counted(NULL, r.n * sizeof(uint32_t));
	uint32_t *path = counted(NULL, (r.items + 1) * sizeof(uint32_t));
	uint32_t depth = 0;

	memcpy(t.support, support, r.items * sizeof(uint32_t));
	for (uint32_t i = 0; i < r.n; i++)
		order[i] = i;
	sort_index = r.index;
	sort_offset = r.offset;
	qsort(order, r.n, sizeof(uint32_t), by_basket);
	path[0] = 0;
	for (uint64_t i = 0; i < r.n; i++)
	{
		const uint32_t *item = r.index + r.offset[order[i]];
		uint32_t n = (uint32_t) (r.offset[order[i] + 1] - r.offset[order[i]]);
		uint32_t same = 0;

		while (same < n && same < depth && t.node[path[same + 1]].item == item[same])
			t.node[path[++same]].count++;
		for (depth = same; depth < n; depth++)
		{
			path[depth + 1] = new_node(&t, item[depth]);
			t.node[path[depth + 1]].parent = path[depth];
			t.node[path[depth + 1]].count = 1;
		}
	}
	fp_min = min_support;
	fp_length = max_length;
	grow(&t, 1, &found);
	free_tree(&t);
	uncounted(NULL, order);
	uncounted(NULL, path);
	uncounted(NULL, support);
	uncounted(NULL, r.offset);
	uncounted(NULL, r.index);
	return found;
}

/* ---------------------------------------------------------------- Apriori */

typedef struct Candidate
{
	uint32_t item;
	uint32_t support;
	uint32_t n;
	struct Candidate *child;
} Candidate;

static void
count_basket(Candidate *c, const uint32_t *item, size_t n, int deeper)
{
	uint32_t k = 0;

	for (size_t i = 0; i < n && k < c->n;)
		if (item[i] < c->child[k].item)
			i++;
		else if (item[i] > c->child[k].item)
			k++;
		else
		{
			if (deeper == 1)
				c->child[k].support++;
			else if (c->child[k].n)
				count_basket(&c->child[k], item + i + 1, n - i - 1, deeper - 1);
			i++;
			k++;
		}
}

static const Candidate *
lookup(const Candidate *root, const uint32_t *set, int n)
{
	const Candidate *c = root;

	for (int i = 0; i < n && c; i++)
	{
		uint32_t low = 0;
		uint32_t high = c->n;

		while (low < high)
		{
			uint32_t middle = (low + high) / 2;

			if (c->child[middle].item < set[i])
				low = middle + 1;
			else
				high = middle;
		}
		c = low < c->n && c->child[low].item == set[i] ? &c->child[low] : NULL;
	}
	return c;
}

/* Joins siblings at depth length - 1 whose subsets are all there; returns how many candidates. */
static uint64_t
make_candidates(Candidate *root, Candidate *c, uint32_t *set, int depth, int length)
{
	uint64_t made = 0;

	for (uint32_t i = 0; i < c->n; i++)
	{
		Candidate *left = &c->child[i];

		set[depth] = left->item;
		if (depth + 2 < length)
		{
			made += left->n ? make_candidates(root, left, set, depth + 1, length) : 0;
			continue;
		}
		left->child = counted(NULL, (c->n - i) * sizeof(Candidate));
		for (uint32_t j = i + 1; j < c->n; j++)
		{
			bool all = true;
			uint32_t subset[KPX_MAX_ITEMSET];

			set[depth + 1] = c->child[j].item;
			for (int without = 0; without < depth && all; without++)
			{
				int n = 0;

				for (int k = 0; k <= depth + 1; k++)
					if (k != without)
						subset[n++] = set[k];
				all = lookup(root, subset, n) != NULL;
			}
			if (all)
				left->child[left->n++] = (Candidate){c->child[j].item, 0, 0, NULL};
		}
		made += left->n;
		if (left->n == 0)
		{
			uncounted(NULL, left->child);
			left->child = NULL;
		}
	}
	return made;
}

static void
keep_frequent(Candidate *c, int deeper, uint64_t min_support, Found *found)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->n; i++)
		if (deeper > 1)
			keep_frequent(&c->child[i], deeper - 1, min_support, found);
		else if (c->child[i].support >= min_support)
		{
			found->itemsets++;
			found->supports += c->child[i].support;
			c->child[n++] = c->child[i];
		}
	if (deeper == 1)
		c->n = n;
}

static Found
apriori(const Baskets *b, uint64_t min_support, int max_length)
{
	Found found = {0, 0, 0};
	uint32_t *support;
	Baskets r = ranked(b, min_support, &support);
	Candidate root = {0, 0, r.items, counted(NULL, (r.items + 1) * sizeof(Candidate))};
	uint32_t set[KPX_MAX_ITEMSET + 1];

	for (uint32_t i = 0; i < r.items; i++)
		root.child[i] = (Candidate){i, support[i], 0, NULL};
	keep_frequent(&root, 1, min_support, &found);
	for (int length = 2; length <= max_length && make_candidates(&root, &root, set, 0, length); length++)
	{
		for (uint64_t i = 0; i < r.n; i++)
			count_basket(&root, r.index + r.offset[i], r.offset[i + 1] - r.offset[i], length);
		keep_frequent(&root, length, min_support, &found);
	}
	return found;
}

/* ---------------------------------------------------------------- comparing */

static int
by_seconds(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

static uint64_t
measure(const char *name, Found (*method)(const Baskets *, uint64_t, int), const Baskets *b, uint64_t min_support, int max_length, int runs)
{
	double seconds[5];
	Found found = {0, 0, 0};

	for (int run = 0; run < runs; run++)
	{
		double start = now();

		live = peak = 0;
		found = method(b, min_support, max_length);
		seconds[run] = now() - start;
	}
	qsort(seconds, (size_t) runs, sizeof(double), by_seconds);
	printf("%-10s %9.4f s %8.1f MB %10lu itemsets %14lu\n", name, seconds[runs / 2], (double) peak / 1048576,
		   (unsigned long) found.itemsets, (unsigned long) found.supports);
	return found.itemsets;
}

int
main(int argc, char **argv)
{
	Baskets b;
	uint64_t min_support = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
	int max_length = argc > 3 ? atoi(argv[3]) : 64;

	if (argc < 3)
		return 1;
	b = strcmp(argv[1], "quest") == 0 ? quest(100000, 1000) : strcmp(argv[1], "dense") == 0 ? dense(3196)
																							: read_baskets(argv[1]);
	if (strcmp(argv[argc - 1], "write") == 0)
	{
		for (uint64_t i = 0; i < b.n; i++)
			for (uint64_t j = b.offset[i]; j < b.offset[i + 1]; j++)
				printf("%u%s", b.index[j], j + 1 < b.offset[i + 1] ? " " : "\n");
		return 0;
	}
	measure("bitsets", mine, &b, min_support, max_length, 5);
	/* Apriori on many itemsets takes minutes and tells nothing. */
	if (measure("fp-growth", fp_growth, &b, min_support, max_length, 5) < 100000)
		measure("apriori", apriori, &b, min_support, max_length, 1);
	return 0;
}
