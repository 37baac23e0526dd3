/*
 * profile_json.c
 *	  Profiles as JSON text, and back, without loss.
 */
#include "profile_json.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

/* ------------------------------------------------------------ writing */

void
kpx_json_units(StringInfo out, int64 value)
{
	uint64 size = value < 0 ? 0 - (uint64) value : (uint64) value;
	uint32 part = (uint32) (size % KPX_PROFILE_UNIT);
	int digits = 6;

	appendStringInfo(out, "%s" UINT64_FORMAT, value < 0 ? "-" : "", size / KPX_PROFILE_UNIT);
	if (part == 0)
		return;
	while (part % 10 == 0)
	{
		part /= 10;
		digits--;
	}
	appendStringInfo(out, ".%0*u", digits, part);
}

void
kpx_json_time(StringInfo out, int64 at)
{
	char buffer[MAXDATELEN + 1];
	int zone = 0;

	JsonEncodeDateTime(buffer, TimestampTzGetDatum(at), TIMESTAMPTZOID, &zone);
	appendStringInfo(out, "\"%s\"", buffer);
}

void
kpx_json_name(StringInfo out, KpxName name)
{
	escape_json(out, pnstrdup(name.bytes, name.length));
}

void
kpx_json_number(StringInfo out, double value)
{
	char buffer[DOUBLE_SHORTEST_DECIMAL_LEN];

	(void) double_to_shortest_decimal_buf(value, buffer);
	appendStringInfoString(out, buffer);
}

static void
write_kind(StringInfo out, const KpxProfileKind *kind)
{
	kpx_json_name(out, kind->name);
	appendStringInfo(out, ": {\"count\": " UINT64_FORMAT, kind->count);
	if (kind->dated)
	{
		appendStringInfo(out, ", \"dated\": " UINT64_FORMAT ", \"first\": ", kind->dated);
		kpx_json_time(out, kind->first);
		appendStringInfoString(out, ", \"last\": ");
		kpx_json_time(out, kind->last);
	}
	if (kind->values)
	{
		appendStringInfo(out, ", \"values\": " UINT64_FORMAT ", \"value\": ", kind->values);
		kpx_json_units(out, kind->value);
	}
	if (kind->durations)
	{
		appendStringInfo(out, ", \"durations\": " UINT64_FORMAT ", \"duration\": ", kind->durations);
		kpx_json_units(out, kind->duration);
	}
	appendStringInfoChar(out, '}');
}

static void
write_counts(StringInfo out, const char *key, const uint32 *counts, uint32 n)
{
	appendStringInfo(out, ", \"%s\": [", key);
	for (uint32 i = 0; i < n; i++)
		appendStringInfo(out, "%s%u", i ? ", " : "", counts[i]);
	appendStringInfoChar(out, ']');
}

static bool
has_dated(const KpxProfile *profile, const KpxProfileModule *module)
{
	for (uint32 k = module->kind; k < module->kind + module->kinds; k++)
		if (profile->kinds[k].dated)
			return true;
	return false;
}

/* Events by kind, hours and weekdays, as pairs without braces. */
void
kpx_json_behaviour(StringInfo out, const KpxProfile *profile, const KpxProfileModule *module)
{
	appendStringInfoString(out, "\"events\": {");
	for (uint32 k = module->kind; k < module->kind + module->kinds; k++)
	{
		if (k > module->kind)
			appendStringInfoString(out, ", ");
		write_kind(out, &profile->kinds[k]);
	}
	appendStringInfoChar(out, '}');
	if (has_dated(profile, module))
	{
		write_counts(out, "hours", module->hours, 24);
		write_counts(out, "weekdays", module->weekdays, 7);
	}
}

static void
write_interests(StringInfo out, const KpxProfile *profile, const KpxProfileModule *module)
{
	if (module->sketched)
	{
		appendStringInfoString(out, ", \"lost\": [");
		kpx_json_number(out, module->lost);
		appendStringInfoString(out, ", ");
		kpx_json_number(out, module->lost_timeless);
		appendStringInfoChar(out, ']');
		write_counts(out, "minima", profile->minima + module->minimum, module->minima);
	}
	appendStringInfoString(out, ", \"interests\": {");
	for (uint32 f = module->feature; f < module->feature + module->features; f++)
	{
		const KpxProfileFeature *feature = &profile->features[f];

		if (f > module->feature)
			appendStringInfoString(out, ", ");
		kpx_json_name(out, feature->name);
		appendStringInfoString(out, feature->timeless > 0 ? ": [" : ": ");
		kpx_json_number(out, feature->weight);
		if (feature->timeless > 0)
		{
			appendStringInfoString(out, ", ");
			kpx_json_number(out, feature->timeless);
			appendStringInfoChar(out, ']');
		}
	}
	appendStringInfoChar(out, '}');
}

void
kpx_profile_to_json(StringInfo out, const KpxProfile *profile)
{
	appendStringInfoChar(out, '{');
	if (profile->half_life)
	{
		appendStringInfoString(out, "\"half_life\": ");
		kpx_json_units(out, profile->half_life);
		if (profile->exponent)
		{
			appendStringInfoString(out, ", \"as_of\": ");
			kpx_json_time(out, profile->exponent * profile->half_life);
		}
		appendStringInfoString(out, ", ");
	}
	appendStringInfoString(out, "\"modules\": {");
	for (uint32 i = 0; i < profile->n_modules; i++)
	{
		const KpxProfileModule *module = &profile->modules[i];

		if (i)
			appendStringInfoString(out, ", ");
		kpx_json_name(out, module->name);
		appendStringInfoString(out, ": {");
		kpx_json_behaviour(out, profile, module);
		write_interests(out, profile, module);
		appendStringInfoChar(out, '}');
	}
	appendStringInfoString(out, "}}");
}

/* ------------------------------------------------------------ reading */

static void
invalid(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type kpx_profile"), errdetail("%s", detail),
			 errhint("Profiles are made by kpx_profile_agg; their text is what kpx_profile writes.")));
}

typedef struct Reader
{
	KpxProfile *profile;
	KpxProfileModule *module;
	KpxProfileKind *kind;
	int64 as_of;
} Reader;

typedef void (*TakePair)(Reader *r, KpxName key, JsonbValue *value);

/* Calls take for each pair of an object. */
static void
each_pair(Reader *r, JsonbValue *object, const char *what, TakePair take)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	KpxName key = {NULL, 0};

	if (object->type != jbvBinary || !JsonContainerIsObject(object->val.binary.data))
		invalid(psprintf("\"%s\" must be an object.", what));
	it = JsonbIteratorInit(object->val.binary.data);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_END_OBJECT)
	{
		if (token == WJB_KEY)
			key = (KpxName){value.val.string.val, (uint32) value.val.string.len};
		else
			take(r, key, &value);
	}
}

/* The numbers of an array, at most limit of them; returns how many. */
static uint32
numbers(JsonbValue *array, const char *what, double *to, uint32 limit)
{
	JsonbIterator *it;
	JsonbValue value;
	uint32 n = 0;

	if (array->type != jbvBinary || !JsonContainerIsArray(array->val.binary.data))
		invalid(psprintf("\"%s\" must be an array of numbers.", what));
	it = JsonbIteratorInit(array->val.binary.data);
	(void) JsonbIteratorNext(&it, &value, false);
	while (JsonbIteratorNext(&it, &value, true) == WJB_ELEM)
	{
		if (value.type != jbvNumeric || n == limit)
			invalid(psprintf("\"%s\" must be an array of at most %u numbers.", what, limit));
		to[n++] = DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(value.val.numeric)));
	}
	return n;
}

static void
counts(JsonbValue *array, const char *what, uint32 *to, uint32 n)
{
	double values[KPX_PROFILE_MINIMA];

	if (numbers(array, what, values, n) != n)
		invalid(psprintf("\"%s\" must be an array of %u numbers.", what, n));
	for (uint32 i = 0; i < n; i++)
	{
		if (!(values[i] >= 0 && values[i] <= PG_UINT32_MAX) || values[i] != floor(values[i]))
			invalid(psprintf("\"%s\" must hold whole numbers from 0 to %u.", what, PG_UINT32_MAX));
		to[i] = (uint32) values[i];
	}
}

static Numeric
require_number(JsonbValue *value, KpxName key)
{
	if (value->type != jbvNumeric)
		invalid(psprintf("\"%s\" must be a number.", pnstrdup(key.bytes, key.length)));
	return value->val.numeric;
}

/* A whole number of units, 10^-digits each. */
static int64
units(JsonbValue *value, KpxName key, int64 unit)
{
	Datum scaled = DirectFunctionCall2(numeric_mul, NumericGetDatum(require_number(value, key)),
									   DirectFunctionCall1(int8_numeric, Int64GetDatum(unit)));

	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, scaled, DirectFunctionCall2(numeric_trunc, scaled, Int32GetDatum(0)))))
		invalid(psprintf("\"%s\" has too many decimals.", pnstrdup(key.bytes, key.length)));
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, scaled));
}

static int64
time_value(JsonbValue *value, KpxName key)
{
	char *text;
	TimestampTz at;

	if (value->type != jbvString)
		invalid(psprintf("\"%s\" must be a time.", pnstrdup(key.bytes, key.length)));
	text = pnstrdup(value->val.string.val, value->val.string.len);
	/* With a date and an offset: input that does not depend on session or clock. */
	if (strspn(text, "0123456789-T:.+") != strlen(text) || strchr(text, 'T') == NULL || strchr(text, '+') == NULL)
		invalid(psprintf("\"%s\" must be a time such as 2026-01-31T12:00:00+00:00.", pnstrdup(key.bytes, key.length)));
	at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	if (TIMESTAMP_NOT_FINITE(at))
		invalid("A time must be finite.");
	return at;
}

static bool
is(KpxName key, const char *name)
{
	return key.length == strlen(name) && memcmp(key.bytes, name, key.length) == 0;
}

static void
unknown_key(KpxName key, const char *known)
{
	invalid(psprintf("Unknown key \"%s\"; known: %s.", pnstrdup(key.bytes, key.length), known));
}

static void
take_kind_field(Reader *r, KpxName key, JsonbValue *value)
{
	KpxProfileKind *kind = r->kind;

	if (is(key, "count"))
		kind->count = (uint64) units(value, key, 1);
	else if (is(key, "dated"))
		kind->dated = (uint64) units(value, key, 1);
	else if (is(key, "first"))
		kind->first = time_value(value, key);
	else if (is(key, "last"))
		kind->last = time_value(value, key);
	else if (is(key, "values"))
		kind->values = (uint64) units(value, key, 1);
	else if (is(key, "value"))
		kind->value = units(value, key, KPX_PROFILE_UNIT);
	else if (is(key, "durations"))
		kind->durations = (uint64) units(value, key, 1);
	else if (is(key, "duration"))
		kind->duration = units(value, key, KPX_PROFILE_UNIT);
	else
		unknown_key(key, "count, dated, first, last, values, value, durations, duration");
}

static void *
append(void *array, uint32 n, size_t size)
{
	return (n & (n + 1)) == 0 ? repalloc(array, size * 2 * ((size_t) n + 1)) : array;
}

static void
take_kind(Reader *r, KpxName key, JsonbValue *value)
{
	KpxProfile *p = r->profile;

	p->kinds = append(p->kinds, p->n_kinds, sizeof(KpxProfileKind));
	r->kind = &p->kinds[p->n_kinds++];
	memset(r->kind, 0, sizeof(KpxProfileKind));
	r->kind->name = key;
	r->module->kinds++;
	each_pair(r, value, "events", take_kind_field);
}

static void
take_interest(Reader *r, KpxName key, JsonbValue *value)
{
	KpxProfile *p = r->profile;
	double weights[2] = {0, 0};

	if (value->type == jbvNumeric)
		weights[0] = DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(value->val.numeric)));
	else if (numbers(value, "interests", weights, 2) != 2)
		invalid("An interest must be a number, or two in an array.");
	p->features = append(p->features, p->n_features, sizeof(KpxProfileFeature));
	p->features[p->n_features++] = (KpxProfileFeature){key, weights[0], weights[1]};
	r->module->features++;
}

static void
take_module_field(Reader *r, KpxName key, JsonbValue *value)
{
	KpxProfile *p = r->profile;

	if (is(key, "events"))
		each_pair(r, value, "events", take_kind);
	else if (is(key, "interests"))
		each_pair(r, value, "interests", take_interest);
	else if (is(key, "hours"))
		counts(value, "hours", r->module->hours, 24);
	else if (is(key, "weekdays"))
		counts(value, "weekdays", r->module->weekdays, 7);
	else if (is(key, "lost"))
	{
		double lost[2];

		if (numbers(value, "lost", lost, 2) != 2)
			invalid("\"lost\" must be two numbers.");
		r->module->sketched = true;
		r->module->lost = lost[0];
		r->module->lost_timeless = lost[1];
	}
	else if (is(key, "minima"))
	{
		double values[KPX_PROFILE_MINIMA];

		r->module->minima = numbers(value, "minima", values, KPX_PROFILE_MINIMA);
		r->module->minimum = p->n_minima;
		p->minima = repalloc(p->minima, sizeof(uint32) * (p->n_minima + r->module->minima + 1));
		counts(value, "minima", p->minima + p->n_minima, r->module->minima);
		p->n_minima += r->module->minima;
	}
	else
		unknown_key(key, "events, hours, weekdays, lost, minima, interests");
}

static int
compare_kinds(const void *a, const void *b)
{
	return kpx_name_compare(((const KpxProfileKind *) a)->name, ((const KpxProfileKind *) b)->name);
}

static int
compare_features(const void *a, const void *b)
{
	return kpx_name_compare(((const KpxProfileFeature *) a)->name, ((const KpxProfileFeature *) b)->name);
}

static int
compare_modules(const void *a, const void *b)
{
	return kpx_name_compare(((const KpxProfileModule *) a)->name, ((const KpxProfileModule *) b)->name);
}

static void
take_module(Reader *r, KpxName key, JsonbValue *value)
{
	KpxProfile *p = r->profile;

	if (p->n_modules == KPX_MAX_PROFILE_MODULES)
		invalid(psprintf("A profile has at most %d modules.", KPX_MAX_PROFILE_MODULES));
	r->module = &p->modules[p->n_modules++];
	memset(r->module, 0, sizeof(KpxProfileModule));
	r->module->name = key;
	r->module->kind = p->n_kinds;
	r->module->feature = p->n_features;
	each_pair(r, value, "modules", take_module_field);
	qsort(p->kinds + r->module->kind, r->module->kinds, sizeof(KpxProfileKind), compare_kinds);
	qsort(p->features + r->module->feature, r->module->features, sizeof(KpxProfileFeature), compare_features);
}

static void
take_field(Reader *r, KpxName key, JsonbValue *value)
{
	if (is(key, "half_life"))
		r->profile->half_life = units(value, key, 1000000);
	else if (is(key, "as_of"))
		r->as_of = time_value(value, key);
	else if (is(key, "modules"))
		each_pair(r, value, "modules", take_module);
	else
		unknown_key(key, "half_life, as_of, modules");
}

KpxProfile *
kpx_profile_from_json(char *text)
{
	Jsonb *json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	JsonbValue root = {.type = jbvBinary, .val.binary = {(int) VARSIZE(json) - VARHDRSZ, &json->root}};
	KpxProfile *p = palloc0(sizeof(KpxProfile));
	Reader r = {p};
	KpxProfile checked;
	size_t bound;
	char *flat;

	p->modules = palloc(sizeof(KpxProfileModule) * KPX_MAX_PROFILE_MODULES);
	p->kinds = palloc(sizeof(KpxProfileKind));
	p->features = palloc(sizeof(KpxProfileFeature));
	p->minima = palloc(sizeof(uint32));
	each_pair(&r, &root, "the profile", take_field);
	qsort(p->modules, p->n_modules, sizeof(KpxProfileModule), compare_modules);
	if (r.as_of && (p->half_life <= 0 || r.as_of % p->half_life != 0))
		invalid("\"as_of\" must be a multiple of \"half_life\" after 2000-01-01T00:00:00+00:00.");
	p->exponent = r.as_of ? r.as_of / p->half_life : 0;
	/* What can be written and read back in order is a profile: the check of the flat form says so. */
	if (kpx_profile_bound(p, &bound) != KPX_OK)
		invalid("It is too long.");
	flat = palloc(bound);
	if (kpx_profile_check(flat, kpx_profile_encode(p, flat), &checked) != KPX_OK)
		invalid("Names must have 1 to 63 bytes (features: 1280), counts must agree and times lie in the years 1 to 9999.");
	return p;
}
