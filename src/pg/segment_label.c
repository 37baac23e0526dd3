/*
 * segment_label.c
 *	  What a segment is, in words: its centre in original units, what sets it apart, a label.
 */
#include "segment.h"

#include <math.h>

#include "utils/datetime.h"
#include "utils/json.h"

/* Features that a label names, and how far (in standard deviations) they must be from all users' mean. */
#define LABEL_FEATURES 3
#define LABEL_DISTANCE 0.5
#define LIFT_FEATURES 6

static double
standard(const KpxEncoded *data, const KpxMeans *means, int j, int f)
{
	return means->centre[(size_t) j * means->ld + f] / data->features[f].weight;
}

/* Five digits; what is left of a share after standardising and back is nothing. */
static void
append_number(StringInfo out, double value)
{
	appendStringInfo(out, "%.5g", fabs(value) < 5e-5 ? 0 : value);
}

/* A mean of feature f in original units: a number, or a date. */
static void
append_original(StringInfo out, const KpxFeature *f, double value)
{
	int year;
	int month;
	int day;

	if (f->kind != KPX_FEATURE_DATE)
	{
		append_number(out, value);
		return;
	}
	j2date((int) rint(Max(Min(value, 1e8), -2e6)) + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	appendStringInfo(out, "\"%04d-%02d-%02d\"", year, month, day);
}

/* "courses purchase events", "city = Paris". */
static char *
title(const KpxFeature *f)
{
	switch (f->kind)
	{
		case KPX_FEATURE_EVENTS:
			return psprintf("%s %s events", f->module, f->name);
		case KPX_FEATURE_VALUE:
			return psprintf("%s %s value", f->module, f->name);
		case KPX_FEATURE_ITEMS:
			return psprintf("%s items", f->module);
		case KPX_FEATURE_RECENCY:
			return psprintf("%s days since last", f->module);
		case KPX_FEATURE_HOURS:
			return psprintf("hours %d-%d", 6 * f->part, 6 * f->part + 6);
		case KPX_FEATURE_WEEKEND:
			return "weekend";
		case KPX_FEATURE_INTEREST:
			return psprintf("interest %s", f->name);
		case KPX_FEATURE_LEVEL:
			return psprintf("%s = %s", f->name, f->level);
		case KPX_FEATURE_OTHER:
			return psprintf("%s other", f->name);
		case KPX_FEATURE_MISSING:
			return psprintf("%s missing", f->name);
		case KPX_FEATURE_FACTOR:
			return psprintf("factor %d", f->part + 1);
		default:
			return f->name;
	}
}

char *
kpx_segment_centroid_json(const KpxEncoded *data, const KpxMeans *means, int j)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int f = 0; f < data->n_features; f++)
	{
		if (data->features[f].kind == KPX_FEATURE_FACTOR)
			continue;
		if (json.len > 1)
			appendStringInfoString(&json, ", ");
		escape_json(&json, title(&data->features[f]));
		appendStringInfoString(&json, ": ");
		append_original(&json, &data->features[f],
						kpx_feature_original(&data->features[f], means->centre[(size_t) j * means->ld + f]));
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

typedef struct Ranked
{
	int feature;
	double z;
} Ranked;

static int
compare_ranked(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	if (fabs(x->z) != fabs(y->z))
		return fabs(x->z) > fabs(y->z) ? -1 : 1;
	return x->feature - y->feature;
}

/* Features by how far the centre is from all users' mean; factors, which nobody can read, left out. */
static Ranked *
rank_features(const KpxEncoded *data, const KpxMeans *means, int j, int *n)
{
	Ranked *ranked = palloc(sizeof(Ranked) * Max(data->n_features, 1));

	*n = 0;
	for (int f = 0; f < data->n_features; f++)
		if (data->features[f].kind != KPX_FEATURE_FACTOR)
			ranked[(*n)++] = (Ranked){f, standard(data, means, j, f)};
	qsort(ranked, (size_t) *n, sizeof(Ranked), compare_ranked);
	return ranked;
}

/* Lift is a ratio of means where 0 is a true zero: counts, values, days, shares. */
static bool
has_ratio(const KpxFeature *f)
{
	return f->kind <= KPX_FEATURE_INTEREST || f->kind == KPX_FEATURE_BOOLEAN || f->kind >= KPX_FEATURE_LEVEL;
}

char *
kpx_segment_features_json(const KpxEncoded *data, const KpxMeans *means, int j)
{
	StringInfoData json;
	int n;
	Ranked *ranked = rank_features(data, means, j, &n);

	initStringInfo(&json);
	appendStringInfoChar(&json, '[');
	for (int i = 0; i < Min(n, LIFT_FEATURES); i++)
	{
		const KpxFeature *f = &data->features[ranked[i].feature];
		double here = kpx_feature_original(f, means->centre[(size_t) j * means->ld + ranked[i].feature]);
		double all = kpx_feature_original(f, 0);

		appendStringInfoString(&json, i > 0 ? ", {\"feature\": " : "{\"feature\": ");
		escape_json(&json, title(f));
		appendStringInfoString(&json, ", \"segment\": ");
		append_original(&json, f, here);
		appendStringInfoString(&json, ", \"all\": ");
		append_original(&json, f, all);
		appendStringInfoString(&json, ", \"lift\": ");
		if (has_ratio(f) && all > 0)
			append_number(&json, Max(here, 0) / all);
		else
			appendStringInfoString(&json, "null");
		appendStringInfoString(&json, ", \"z\": ");
		append_number(&json, ranked[i].z);
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoChar(&json, ']');
	return json.data;
}

/* A few words for a feature that is high or low in a segment; NULL: says little to people. */
static char *
words(const KpxFeature *f, bool high)
{
	switch (f->kind)
	{
		case KPX_FEATURE_EVENTS:
			return psprintf("%s %s %s", high ? "many" : "few", f->module, f->name);
		case KPX_FEATURE_VALUE:
			return psprintf("%s %s %s value", high ? "high" : "low", f->module, f->name);
		case KPX_FEATURE_RECENCY:
			return psprintf("%s in %s", high ? "long ago" : "lately", f->module);
		case KPX_FEATURE_NUMBER:
			return psprintf("%s %s", high ? "high" : "low", f->name);
		case KPX_FEATURE_DATE:
			return psprintf("%s %s", high ? "late" : "early", f->name);
		case KPX_FEATURE_BOOLEAN:
			return high ? f->name : psprintf("not %s", f->name);
		case KPX_FEATURE_HOURS:
			return high ? psprintf("%d-%d o'clock", 6 * f->part, 6 * f->part + 6) : NULL;
		case KPX_FEATURE_WEEKEND:
			return high ? "weekends" : NULL;
		case KPX_FEATURE_INTEREST:
			return high ? f->name : NULL;
		case KPX_FEATURE_LEVEL:
			return high ? psprintf("%s %s", f->name, f->level) : NULL;
		case KPX_FEATURE_MISSING:
			return high ? psprintf("%s unknown", f->name) : NULL;
		default:
			return NULL;
	}
}

/* Words for the features of a segment that are about behaviour, or that are not, until it has so many. */
static void
append_words(StringInfo label, const KpxEncoded *data, const Ranked *ranked, int n, bool behaviour, int most, int *named)
{
	for (int i = 0; i < n && *named < most && fabs(ranked[i].z) >= LABEL_DISTANCE; i++)
	{
		const KpxFeature *f = &data->features[ranked[i].feature];
		char *word = (kpx_feature_block(f->kind) == KPX_FEATURES_BEHAVIOUR) == behaviour ? words(f, ranked[i].z > 0) : NULL;

		if (word && strstr(label->data, word) == NULL)
			appendStringInfo(label, "%s%s", (*named)++ ? ", " : "", word);
	}
}

/* What they like and are comes first; how much they do says less, and one word for it is enough then. */
char *
kpx_segment_label(const KpxEncoded *data, const KpxMeans *means, int j)
{
	StringInfoData label;
	int n;
	Ranked *ranked = rank_features(data, means, j, &n);
	int named = 0;

	initStringInfo(&label);
	append_words(&label, data, ranked, n, false, LABEL_FEATURES, &named);
	append_words(&label, data, ranked, n, true, named ? Min(named + 1, LABEL_FEATURES) : LABEL_FEATURES, &named);
	if (named == 0)
		appendStringInfoString(&label, "average");
	return label.data;
}
