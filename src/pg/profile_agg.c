/*
 * profile_agg.c
 *	  The aggregate kpx_profile_agg: rows of events, or profiles, to one profile.
 *
 * The state is a sketch (core/sketch.h) in the aggregate's memory context; it moves as it
 * grows, so each transition returns where it is now. Between processes it travels in the
 * flat form with all its features; only the final function leaves the strongest ones.
 */
#include "profile.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/timestamp.h"

/* Arguments of the transition functions, after the state. */
enum
{
	ARG_MODULE = 1,
	ARG_KIND,
	ARG_FEATURE,
	ARG_WEIGHT,
	ARG_VALUE,
	ARG_OCCURRED_AT,
	ARG_HALF_LIFE,
	ARG_DURATION
};

static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("this function can be called only as a part of kpx_profile_agg")));
	return context;
}

static KpxSketch *
state_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : (KpxSketch *) PG_GETARG_POINTER(n);
}

int64
kpx_half_life(const Interval *interval)
{
	double length = interval->month * (double) DAYS_PER_MONTH * USECS_PER_DAY + interval->day * (double) USECS_PER_DAY +
					(double) interval->time;

	if (!(length >= KPX_PROFILE_MIN_HALF_LIFE && length <= KPX_PROFILE_MAX_HALF_LIFE))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"half_life\" must be an interval of 1 minute to 100 years")));
	return (int64) length;
}

static int64
row_half_life(FunctionCallInfo fcinfo)
{
	if (PG_NARGS() <= ARG_HALF_LIFE || PG_ARGISNULL(ARG_HALF_LIFE))
		return 0;
	return kpx_half_life(PG_GETARG_INTERVAL_P(ARG_HALF_LIFE));
}

static KpxName
name_argument(FunctionCallInfo fcinfo, int n, const char *what, uint32 longest)
{
	text *value = PG_GETARG_TEXT_PP(n);
	KpxName name = {VARDATA_ANY(value), (uint32) VARSIZE_ANY_EXHDR(value)};

	if (name.length < 1 || name.length > longest)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must have 1 to %u bytes, found %u", what, longest, name.length)));
	return name;
}

/* A number in millionths. */
static int64
units_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	double value = PG_GETARG_FLOAT8(n) * KPX_PROFILE_UNIT;

	if (!(fabs(value) <= 9e18))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must lie between -9e12 and 9e12, found %g", what, PG_GETARG_FLOAT8(n))));
	return llrint(value);
}

static void
limits_reached(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("more modules or kinds of events than a profile can have, or a sum that is too large"),
			 errdetail("A profile has at most %d modules, %d kinds of events in each, and sums below 9.2e12.",
					   KPX_MAX_PROFILE_MODULES, KPX_MAX_PROFILE_KINDS)));
}

/* Counts the row as an event, unless it has no kind. */
static KpxSketch *
count_row(FunctionCallInfo fcinfo, MemoryContext context, KpxSketch *sketch, KpxProfileEvent *event)
{
	KpxStatus status;

	if (PG_ARGISNULL(ARG_KIND))
		return sketch;
	event->kind = name_argument(fcinfo, ARG_KIND, "kind", KPX_MAX_PROFILE_NAME);
	event->valued = !PG_ARGISNULL(ARG_VALUE);
	if (event->valued)
		event->value = units_argument(fcinfo, ARG_VALUE, "value");
	event->timed = PG_NARGS() > ARG_DURATION && !PG_ARGISNULL(ARG_DURATION);
	if (event->timed)
		event->duration = units_argument(fcinfo, ARG_DURATION, "duration");
	while ((status = kpx_sketch_count(sketch, event)) == KPX_MORE)
		sketch = kpx_sketch_grow(context, sketch);
	if (status != KPX_OK)
		limits_reached();
	return sketch;
}

static KpxSketch *
add_feature(MemoryContext context, KpxSketch *sketch, const KpxProfileEvent *event, KpxName feature, double weight)
{
	KpxStatus status;

	while ((status = kpx_sketch_interest(sketch, event->module, feature, weight, event->dated, event->at)) == KPX_MORE)
		sketch = kpx_sketch_grow(context, sketch);
	if (status != KPX_OK)
		limits_reached();
	return sketch;
}

/* The elements of a text array; NULL ones are passed over. */
static KpxSketch *
add_features(MemoryContext context, KpxSketch *sketch, const KpxProfileEvent *event, ArrayType *array, double weight)
{
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	bits8 *bitmap = ARR_NULLBITMAP(array);
	char *at = ARR_DATA_PTR(array);

	for (int i = 0; i < n; i++)
	{
		KpxName name;

		if (bitmap && (bitmap[i / 8] & (1 << (i % 8))) == 0)
			continue;
		name = (KpxName){VARDATA_ANY(at), (uint32) VARSIZE_ANY_EXHDR(at)};
		if (name.length < 1 || name.length > KPX_MAX_FEATURE_NAME)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("an element of argument \"features\" must have 1 to %d bytes, found %u", KPX_MAX_FEATURE_NAME, name.length)));
		sketch = add_feature(context, sketch, event, name, weight);
		at = att_addlength_pointer(at, -1, at);
		at = (char *) att_align_nominal(at, TYPALIGN_INT);
	}
	return sketch;
}

/* One row: false when it has no module and is passed over. */
static bool
row_event(FunctionCallInfo fcinfo, KpxProfileEvent *event, double *weight)
{
	memset(event, 0, sizeof(*event));
	if (PG_ARGISNULL(ARG_MODULE))
		return false;
	event->module = name_argument(fcinfo, ARG_MODULE, "module", KPX_MAX_PROFILE_NAME);
	*weight = PG_ARGISNULL(ARG_WEIGHT) ? 1 : PG_GETARG_FLOAT8(ARG_WEIGHT);
	if (!(*weight >= 0 && *weight <= KPX_PROFILE_MAX_WEIGHT))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"weight\" must lie between 0 and %g, found %g", KPX_PROFILE_MAX_WEIGHT, *weight)));
	event->dated = !PG_ARGISNULL(ARG_OCCURRED_AT);
	if (event->dated)
	{
		event->at = PG_GETARG_TIMESTAMPTZ(ARG_OCCURRED_AT);
		if (event->at < KPX_PROFILE_MIN_TIME || event->at > KPX_PROFILE_MAX_TIME)
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("argument \"occurred_at\" must be finite and in the years 1 to 9999"),
					 errhint("Leave such rows out with FILTER (WHERE ...), or pass NULL for an unknown time.")));
	}
	return true;
}

static Datum
add_row(FunctionCallInfo fcinfo, bool many)
{
	MemoryContext context = aggregate_context(fcinfo);
	KpxSketch *sketch = state_argument(fcinfo, 0);
	KpxProfileEvent event;
	double weight;
	int64 half_life;

	if (sketch)
		kpx_sketch_prefetch(sketch);
	if (!row_event(fcinfo, &event, &weight))
	{
		if (sketch == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(sketch);
	}
	half_life = row_half_life(fcinfo);
	if (sketch == NULL)
		sketch = kpx_sketch_create(context, half_life);
	else if (kpx_sketch_half_life(sketch) != half_life)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"half_life\" must be the same for all rows"),
				 errdetail("Found %g and %g seconds (0 is none).", kpx_sketch_half_life(sketch) / 1e6, half_life / 1e6)));
	sketch = count_row(fcinfo, context, sketch, &event);
	if (!PG_ARGISNULL(ARG_FEATURE) && many)
		sketch = add_features(context, sketch, &event, PG_GETARG_ARRAYTYPE_P(ARG_FEATURE), weight);
	else if (!PG_ARGISNULL(ARG_FEATURE))
		sketch = add_feature(context, sketch, &event, name_argument(fcinfo, ARG_FEATURE, "feature", KPX_MAX_FEATURE_NAME), weight);
	PG_RETURN_POINTER(sketch);
}

PG_FUNCTION_INFO_V1(kpx_profile_agg_add);
Datum
kpx_profile_agg_add(PG_FUNCTION_ARGS)
{
	return add_row(fcinfo, false);
}

PG_FUNCTION_INFO_V1(kpx_profile_agg_add_many);
Datum
kpx_profile_agg_add_many(PG_FUNCTION_ARGS)
{
	return add_row(fcinfo, true);
}

/* Transition of kpx_profile_agg(kpx_profile). */
PG_FUNCTION_INFO_V1(kpx_profile_agg_fuse);
Datum
kpx_profile_agg_fuse(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	KpxSketch *sketch = state_argument(fcinfo, 0);

	if (!PG_ARGISNULL(1))
	{
		KpxProfile *profile = kpx_profile_from_datum(PG_GETARG_DATUM(1));

		if (sketch == NULL)
			sketch = kpx_sketch_create(context, profile->half_life);
		sketch = kpx_sketch_fuse(context, sketch, profile);
	}
	if (sketch == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(sketch);
}

PG_FUNCTION_INFO_V1(kpx_profile_agg_combine);
Datum
kpx_profile_agg_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	KpxSketch *sketch = state_argument(fcinfo, 0);
	KpxSketch *other = state_argument(fcinfo, 1);

	if (other)
	{
		if (sketch == NULL)
			sketch = kpx_sketch_create(context, kpx_sketch_half_life(other));
		sketch = kpx_sketch_fuse(context, sketch, kpx_sketch_finish(other, KPX_MAX_SKETCH_FEATURES));
	}
	if (sketch == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(sketch);
}

PG_FUNCTION_INFO_V1(kpx_profile_agg_serialize);
Datum
kpx_profile_agg_serialize(PG_FUNCTION_ARGS)
{
	(void) aggregate_context(fcinfo);
	return kpx_profile_to_datum(kpx_sketch_finish((KpxSketch *) PG_GETARG_POINTER(0), KPX_MAX_SKETCH_FEATURES));
}

PG_FUNCTION_INFO_V1(kpx_profile_agg_deserialize);
Datum
kpx_profile_agg_deserialize(PG_FUNCTION_ARGS)
{
	KpxProfile *profile;

	(void) aggregate_context(fcinfo);
	profile = kpx_profile_from_datum(PG_GETARG_DATUM(0));
	PG_RETURN_POINTER(kpx_sketch_fuse(CurrentMemoryContext, kpx_sketch_create(CurrentMemoryContext, profile->half_life), profile));
}

PG_FUNCTION_INFO_V1(kpx_profile_agg_final);
Datum
kpx_profile_agg_final(PG_FUNCTION_ARGS)
{
	KpxSketch *sketch = state_argument(fcinfo, 0);

	(void) aggregate_context(fcinfo);
	if (sketch == NULL)
		PG_RETURN_NULL();
	return kpx_profile_to_datum(kpx_sketch_finish(sketch, KPX_PROFILE_INTERESTS));
}
