/*
 * content_read.c
 *	  What items are: their texts, attributes and embeddings, read from the item tables.
 *
 * One SELECT a module, run as the current user, so that privileges and row-level security
 * hold; rows come through a cursor. Texts become terms (core/tokens.h), or are parsed by the
 * module's text search configuration inside the query.
 */
#include "content_read.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "core/fuse.h"
#include "core/tfidf.h"
#include "core/tokens.h"
#include "items.h"

/* How a column of the query is taken. */
typedef enum Take
{
	TAKE_TEXT,
	TAKE_LEXEMES,
	TAKE_COUNTS, /* of the lexemes in the column before */
	TAKE_VALUE, /* a category */
	TAKE_VALUES, /* several: text[] */
	TAKE_NUMBER,
	TAKE_EMBEDDING
} Take;

typedef struct Column
{
	Take take;
	const char *name;
	uint64 field; /* of its terms */
	int target; /* which numbers or embeddings */
} Column;

typedef struct Reader
{
	KpxContent *content;
	const KpxStopWords *stop;
	const KpxModule *module;
	const KpxIds *ids;
	uint32 base;
	StringInfoData sql;
	int n_columns;
	Column *columns;
	MemoryContext row_context;
	uint64 *row_term; /* of one item */
	uint32 *row_count;
	size_t row_size;
} Reader;

bool
kpx_has_content(const KpxModule *module)
{
	return module->title || module->category || module->price || module->n_text_columns || module->n_attributes ||
		   module->n_embeddings;
}

/* ------------------------------------------------------------ the query */

static void
add_column(Reader *r, Take take, const char *name, int target)
{
	r->columns[r->n_columns++] = (Column){take, name, kpx_term_hash(1, name, strlen(name)), target};
}

static void
add_number(Reader *r, const char *column)
{
	KpxContent *c = r->content;
	MemoryContext old = MemoryContextSwitchTo(c->context);
	KpxNumbers *numbers;

	kpx_check_budget((size_t) c->items * sizeof(double) * (c->n_numbers + 1), "reading the items' content");
	c->numbers = c->numbers ? repalloc(c->numbers, sizeof(KpxNumbers) * (c->n_numbers + 1)) : palloc(sizeof(KpxNumbers));
	numbers = &c->numbers[c->n_numbers];
	numbers->name = psprintf("%s.%s", r->module->name, column);
	numbers->value = kpx_alloc(c->context, c->items, sizeof(double));
	for (uint32 i = 0; i < c->items; i++)
		numbers->value[i] = NAN;
	MemoryContextSwitchTo(old);
	add_column(r, TAKE_NUMBER, column, c->n_numbers++);
}

/* An attribute by its type: number, time, array or anything else by its text. */
static void
select_attribute(Reader *r, const char *column)
{
	Oid type = getBaseType(kpx_column_type(r->module->items, column));
	const char *name = quote_identifier(column);

	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			appendStringInfo(&r->sql, ", i.%s::pg_catalog.float8", name);
			add_number(r, column);
			return;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			appendStringInfo(&r->sql, ", extract(epoch FROM i.%s)::pg_catalog.float8", name);
			add_number(r, column);
			return;
		default:
			break;
	}
	if (OidIsValid(get_element_type(type)))
	{
		appendStringInfo(&r->sql, ", i.%s::pg_catalog.text[]", name);
		add_column(r, TAKE_VALUES, column, 0);
	}
	else
	{
		appendStringInfo(&r->sql, ", i.%s::pg_catalog.text", name);
		add_column(r, TAKE_VALUE, column, 0);
	}
}

static void
select_embedding(Reader *r, const char *column)
{
	KpxContent *c = r->content;
	int e = 0;

	(void) kpx_column_type(r->module->items, column);
	while (e < c->n_embeddings && strcmp(c->embeddings[e].name, column) != 0)
		e++;
	if (e == c->n_embeddings)
	{
		MemoryContext old = MemoryContextSwitchTo(c->context);

		c->embeddings = c->embeddings ? repalloc(c->embeddings, sizeof(KpxEmbeddings) * (e + 1)) : palloc(sizeof(KpxEmbeddings));
		c->embeddings[e] = (KpxEmbeddings){.name = pstrdup(column), .row = kpx_alloc(c->context, c->items, sizeof(uint32))};
		memset(c->embeddings[e].row, 0, sizeof(uint32) * c->items);
		c->n_embeddings++;
		MemoryContextSwitchTo(old);
	}
	appendStringInfo(&r->sql, ", i.%s::pg_catalog.float4[]", quote_identifier(column));
	add_column(r, TAKE_EMBEDDING, column, e);
}

/* The title, unless it is among the text columns, and these, joined by spaces; NULL without any. */
static char *
text_expression(const KpxModule *m)
{
	StringInfoData text;
	bool titled = m->title == NULL;

	if (m->title == NULL && m->n_text_columns == 0)
		return NULL;
	initStringInfo(&text);
	appendStringInfoString(&text, "pg_catalog.concat_ws(' '");
	for (int c = 0; c < m->n_text_columns; c++)
	{
		(void) kpx_column_type(m->items, m->text_columns[c]);
		titled = titled || strcmp(m->text_columns[c], m->title) == 0;
		appendStringInfo(&text, ", i.%s", quote_identifier(m->text_columns[c]));
	}
	if (!titled)
	{
		(void) kpx_column_type(m->items, m->title);
		appendStringInfo(&text, ", i.%s", quote_identifier(m->title));
	}
	appendStringInfoChar(&text, ')');
	return text.data;
}

static void
build_query(Reader *r, bool some)
{
	const KpxModule *m = r->module;
	char *relation = kpx_relation_sql(m->items, m->items_name, "module", m->name);
	char *text = text_expression(m);

	r->n_columns = 0;
	r->columns = palloc(sizeof(Column) * (4 + m->n_attributes + m->n_embeddings + 2));
	initStringInfo(&r->sql);
	appendStringInfo(&r->sql, "SELECT i.%s::pg_catalog.%s", quote_identifier(m->item_id),
					 r->ids->kind == KPX_ID_INT ? "int8" : r->ids->kind == KPX_ID_UUID ? "uuid"
																					   : "text");
	if (text && m->text_search_config == NULL)
	{
		appendStringInfo(&r->sql, ", %s", text);
		add_column(r, TAKE_TEXT, "text", 0);
	}
	else if (text)
	{
		appendStringInfoString(&r->sql, ", t.lexemes, t.counts");
		add_column(r, TAKE_LEXEMES, "text", 0);
		add_column(r, TAKE_COUNTS, "text", 0);
	}
	if (m->category)
		select_attribute(r, m->category);
	if (m->price)
		select_attribute(r, m->price);
	for (int a = 0; a < m->n_attributes; a++)
		select_attribute(r, m->attributes[a]);
	for (int e = 0; e < m->n_embeddings; e++)
		select_embedding(r, m->embeddings[e]);
	appendStringInfo(&r->sql, " FROM %s i", relation);
	if (text && m->text_search_config)
		appendStringInfo(&r->sql, ", LATERAL (SELECT pg_catalog.array_agg(u.lexeme) AS lexemes,"
								  " pg_catalog.array_agg(coalesce(pg_catalog.cardinality(u.positions), 1)) AS counts"
								  " FROM pg_catalog.unnest(pg_catalog.to_tsvector(%s::pg_catalog.regconfig, %s)) u) t",
						 quote_literal_cstr(m->text_search_config), text);
	if (some)
		appendStringInfo(&r->sql, " WHERE i.%s OPERATOR(pg_catalog.=) ANY ($1)", quote_identifier(m->item_id));
}

/* ------------------------------------------------------------ rows */

static void
put_term(KpxContent *c, KpxTerms *terms, uint64 term, float value)
{
	if (terms->n == terms->size)
	{
		size_t size = Max(4096, terms->size * 2);
		uint64 *term_copy;
		float *value_copy;

		kpx_check_budget(size * (sizeof(uint64) + sizeof(float)) * 2, "reading the items' content");
		term_copy = kpx_alloc(c->context, size, sizeof(uint64));
		value_copy = kpx_alloc(c->context, size, sizeof(float));
		if (terms->n)
		{
			memcpy(term_copy, terms->term, terms->n * sizeof(uint64));
			memcpy(value_copy, terms->value, terms->n * sizeof(float));
			pfree(terms->term);
			pfree(terms->value);
		}
		terms->term = term_copy;
		terms->value = value_copy;
		terms->size = size;
	}
	terms->term[terms->n] = term;
	terms->value[terms->n++] = value;
}

static bool
is_stop_word(const KpxStopWords *stop, const KpxToken *token, uint64 term)
{
	if (stop->builtin)
		return kpx_is_stop_word(token);
	return stop->n && bsearch(&term, stop->term, stop->n, sizeof(uint64), kpx_compare_terms) != NULL;
}

static void
put_row_term(Reader *r, size_t n, uint64 term)
{
	if (n == r->row_size)
	{
		size_t size = Max(1024, r->row_size * 2);
		uint64 *bigger = kpx_alloc(r->content->context, size, sizeof(uint64));

		if (n)
			memcpy(bigger, r->row_term, n * sizeof(uint64));
		r->row_term = bigger;
		r->row_count = kpx_alloc(r->content->context, size, sizeof(uint32));
		r->row_size = size;
	}
	r->row_term[n] = term;
}

static void
take_text(Reader *r, uint32 item, text *value)
{
	KpxTokenizer tokenizer;
	KpxToken token;
	size_t n = 0;

	kpx_tokenizer_init(&tokenizer, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	while (kpx_token_next(&tokenizer, &token))
	{
		uint64 term = kpx_term_hash(0, token.bytes, token.length);

		if (n % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
		if (!is_stop_word(r->stop, &token, term))
			put_row_term(r, n++, term);
	}
	if (n == 0)
		return;
	n = kpx_count_terms(r->row_term, n, r->row_count);
	r->content->text.begin[item] = r->content->text.n;
	r->content->text.length[item] = (uint32) n;
	for (size_t i = 0; i < n; i++)
		put_term(r->content, &r->content->text, r->row_term[i], (float) r->row_count[i]);
}

static int
compare_pairs(const void *a, const void *b)
{
	return kpx_compare_terms(a, b);
}

typedef struct TermCount
{
	uint64 term;
	int32 count;
} TermCount;

static void
take_lexemes(Reader *r, uint32 item, Datum lexemes, Datum counts)
{
	Datum *word;
	Datum *count;
	int n;
	int n_counts;
	TermCount *pair;

	deconstruct_array(DatumGetArrayTypeP(lexemes), TEXTOID, -1, false, TYPALIGN_INT, &word, NULL, &n);
	deconstruct_array(DatumGetArrayTypeP(counts), INT4OID, 4, true, TYPALIGN_INT, &count, NULL, &n_counts);
	pair = palloc(sizeof(TermCount) * Max(n, 1));
	for (int i = 0; i < n && i < n_counts; i++)
		pair[i] = (TermCount){kpx_term_hash(0, VARDATA_ANY(DatumGetPointer(word[i])), VARSIZE_ANY_EXHDR(DatumGetPointer(word[i]))),
							  DatumGetInt32(count[i])};
	qsort(pair, n, sizeof(TermCount), compare_pairs);
	r->content->text.begin[item] = r->content->text.n;
	r->content->text.length[item] = (uint32) n;
	for (int i = 0; i < n; i++)
		put_term(r->content, &r->content->text, pair[i].term, (float) pair[i].count);
}

static void
take_value(Reader *r, uint32 item, uint64 field, text *value, float weight)
{
	KpxTerms *attributes = &r->content->attributes;

	if (VARSIZE_ANY_EXHDR(value) == 0)
		return;
	if (attributes->length[item]++ == 0)
		attributes->begin[item] = attributes->n;
	put_term(r->content, attributes, kpx_term_hash(field, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)), weight);
}

static void
take_values(Reader *r, uint32 item, uint64 field, ArrayType *array)
{
	Datum *element;
	bool *null;
	int n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &element, &null, &n);
	for (int i = 0; i < n; i++)
		if (!null[i])
			take_value(r, item, field, DatumGetTextPP(element[i]), 1.0f / sqrtf((float) n));
}

static void
bad_embedding(const Reader *r, const Column *column, uint32 item, const char *found, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("column \"%s\" of %s: the embedding of item %s %s", column->name, r->module->items_name,
					kpx_id_to_cstring(r->ids->kind, kpx_ids_get(r->ids, item - r->base)), found),
			 errhint("%s", hint)));
}

static void
take_embedding(Reader *r, const Column *column, uint32 item, ArrayType *array)
{
	KpxEmbeddings *e = &r->content->embeddings[column->target];
	uint32 d = (uint32) ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	const char *null_hint = "Store NULL for an item without embedding.";
	float *to;

	if (ARR_NDIM(array) != 1 || ARR_HASNULL(array))
		bad_embedding(r, column, item, d == 0 ? "is empty" : ARR_HASNULL(array) ? "contains NULL"
																				: "has more than one dimension",
					  null_hint);
	if (e->d == 0)
		e->d = d;
	if (d != e->d)
		bad_embedding(r, column, item, psprintf("has %u numbers, expected %u as of the others", d, e->d),
					  "All embeddings of one name must have the same number of dimensions.");
	if (e->n == e->size)
	{
		size_t size = Max(1024, e->size * 2);
		size_t cells;
		float *bigger;

		if (!kpx_mul_size(size, d, &cells))
			cells = SIZE_MAX / 8;
		kpx_check_budget(cells * sizeof(float) * 2, "reading the items' embeddings");
		bigger = kpx_alloc(r->content->context, cells, sizeof(float));
		if (e->n)
		{
			memcpy(bigger, e->value, e->n * d * sizeof(float));
			pfree(e->value);
		}
		e->value = bigger;
		e->size = size;
	}
	to = e->value + e->n * d;
	memcpy(to, ARR_DATA_PTR(array), d * sizeof(float));
	switch (kpx_embedding_check(to, d))
	{
		case KPX_NOT_FINITE:
			bad_embedding(r, column, item, "holds NaN or infinity", null_hint);
			break;
		case KPX_BAD_ARGUMENT:
			bad_embedding(r, column, item, "is all zeroes", null_hint);
			break;
		default:
			break;
	}
	e->row[item] = (uint32) ++e->n;
}

static void
take_column(Reader *r, int c, uint32 item, HeapTuple tuple, TupleDesc desc)
{
	const Column *column = &r->columns[c];
	bool null;
	Datum value = SPI_getbinval(tuple, desc, c + 2, &null);

	if (null)
		return;
	switch (column->take)
	{
		case TAKE_TEXT:
			take_text(r, item, DatumGetTextPP(value));
			break;
		case TAKE_LEXEMES:
			take_lexemes(r, item, value, SPI_getbinval(tuple, desc, c + 3, &null));
			break;
		case TAKE_COUNTS:
			break;
		case TAKE_VALUE:
			take_value(r, item, column->field, DatumGetTextPP(value), 1);
			break;
		case TAKE_VALUES:
			take_values(r, item, column->field, DatumGetArrayTypeP(value));
			break;
		case TAKE_NUMBER:
			if (isfinite(DatumGetFloat8(value)))
				r->content->numbers[column->target].value[item] = DatumGetFloat8(value);
			break;
		case TAKE_EMBEDDING:
			take_embedding(r, column, item, DatumGetArrayTypeP(value));
			break;
	}
}

static void
take_row(void *state, HeapTuple tuple, TupleDesc desc)
{
	Reader *r = state;
	bool null;
	Datum id = SPI_getbinval(tuple, desc, 1, &null);
	int64 index;
	uint32 item;
	MemoryContext old;

	if (null)
		return;
	old = MemoryContextSwitchTo(r->row_context);
	if (r->ids->kind == KPX_ID_TEXT)
		id = PointerGetDatum(PG_DETOAST_DATUM_PACKED(id));
	index = kpx_ids_find(r->ids, kpx_id_from_datum(r->ids->kind, kpx_id_kind_type(r->ids->kind), id));
	item = r->base + (uint32) index;
	/* An item table may be a view that has an item twice: the first row counts. */
	if (index >= 0 && r->content->text.length[item] == 0 && r->content->attributes.length[item] == 0)
		for (int c = 0; c < r->n_columns; c++)
			take_column(r, c, item, tuple, desc);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row_context);
}

/* ------------------------------------------------------------ reading */

static void
init_terms(KpxContent *c, KpxTerms *terms)
{
	terms->begin = kpx_alloc(c->context, c->items, sizeof(uint64));
	terms->length = kpx_alloc(c->context, c->items, sizeof(uint32));
	memset(terms->begin, 0, sizeof(uint64) * c->items);
	memset(terms->length, 0, sizeof(uint32) * c->items);
}

static Datum
ids_datum(const KpxIds *ids)
{
	KpxId *id = kpx_alloc(CurrentMemoryContext, ids->n, sizeof(KpxId));

	for (uint64 i = 0; i < ids->n; i++)
		id[i] = kpx_ids_get(ids, i);
	return kpx_id_array(ids->kind, id, (int) ids->n);
}

KpxContent *
kpx_content_read(KpxModule **modules, int n_modules, const KpxIds *ids, const uint32 *base, const KpxStopWords *stop, bool some)
{
	KpxContent *c = palloc0(sizeof(KpxContent));
	Reader r = {.content = c, .stop = stop};

	c->context = CurrentMemoryContext;
	c->items = base[n_modules];
	init_terms(c, &c->text);
	init_terms(c, &c->attributes);
	r.row_context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec item", ALLOCSET_DEFAULT_SIZES);
	for (int m = 0; m < n_modules; m++)
	{
		Oid type;
		Datum values[1] = {(Datum) 0};

		if (!kpx_has_content(modules[m]) || base[m] == base[m + 1])
			continue;
		r.module = modules[m];
		r.ids = &ids[m];
		r.base = base[m];
		build_query(&r, some);
		type = get_array_type(kpx_id_kind_type(ids[m].kind));
		if (some)
			values[0] = ids_datum(&ids[m]);
		kpx_read_items(r.sql.data, some ? 1 : 0, &type, values, take_row, &r, modules[m]->items_name);
	}
	MemoryContextDelete(r.row_context);
	return c;
}
