/*
 * replay.c
 *	  Logged slates under another policy; kpx_evaluate_policy of a version.
 *
 * The candidates of a slate, what was expected of them and what kept them out are in the
 * log, so the judged policy's choices at each place, given what was shown above it, are
 * computed exactly. A row is a place; its weight is the product of probability over
 * propensity down to it (the reward of a place may depend on what stands above it, not
 * on what comes below: McInerney et al. 2020, "Counterfactual evaluation of slate
 * recommendations with sequential reward interactions"). The reward model is the
 * ranking's: P(click) P(convert | click) value. baseline is the weight above the place times
 * the model's expectation at it; direct the model's expectation along a slate that the
 * judged policy draws itself. Users are the units of standard errors: the slates of one user
 * are like each other.
 */
#include "replay.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "core/rng.h"
#include "idmap.h"
#include "off_policy.h"
#include "request.h"

#define FETCH 500
#define CALIBRATION_PRIOR 10 /* clicks, conversions */
/* Streams of random numbers: which half a user is in, and whether in the share. */
#define STREAM_HALF 0x68616C66
#define STREAM_SHARE 0x73686172
#define FIRST_IMPRESSION_COLUMN (KPX_N_LOGGED_SLATE_COLUMNS + 1)

/* ------------------------------------------------------------ reading */

static Datum *
array_elements(HeapTuple tuple, TupleDesc desc, int column, int *n)
{
	bool null;
	Datum value = SPI_getbinval(tuple, desc, column, &null);
	ArrayType *array;
	int16 length;
	bool by_value;
	char align;
	Datum *elements;
	bool *nulls;

	*n = 0;
	if (null)
		return NULL;
	array = DatumGetArrayTypePCopy(value);
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &elements, &nulls, n);
	return elements;
}

static bool
may_see(const KpxLoggedSlate *slate)
{
	if (kpx_has_role(slate->owner))
		return true;
	for (int m = 0; m < slate->n_modules; m++)
		if (!kpx_has_role(slate->modules[m]->owner))
			return false;
	return true;
}

/* False: of no use. */
static bool
take_slate(KpxReplaySlate *r, KpxRegistry *registry, HeapTuple tuple, TupleDesc desc)
{
	Datum *module;
	Datum *item;
	Datum *propensity;
	Datum *reward;
	Datum *dismissed;
	Datum *clicked;
	int n;

	r->slate = kpx_logged_slate(registry, tuple, desc);
	if (r->slate == NULL)
		return false;
	module = array_elements(tuple, desc, FIRST_IMPRESSION_COLUMN, &r->shown);
	item = array_elements(tuple, desc, FIRST_IMPRESSION_COLUMN + 1, &n);
	propensity = array_elements(tuple, desc, FIRST_IMPRESSION_COLUMN + 2, &n);
	reward = array_elements(tuple, desc, FIRST_IMPRESSION_COLUMN + 3, &n);
	dismissed = array_elements(tuple, desc, FIRST_IMPRESSION_COLUMN + 4, &n);
	clicked = array_elements(tuple, desc, FIRST_IMPRESSION_COLUMN + 5, &n);
	if (r->shown == 0)
		return false;
	r->item = palloc(sizeof(int) * r->shown);
	r->propensity = palloc(sizeof(double) * r->shown);
	r->reward = palloc(sizeof(double) * r->shown);
	r->dismissed = palloc(sizeof(bool) * r->shown);
	r->clicked = palloc(sizeof(bool) * r->shown);
	for (int i = 0; i < r->shown; i++)
	{
		r->item[i] = kpx_logged_slate_find(r->slate, DatumGetInt32(module[i]), TextDatumGetCString(item[i]));
		if (r->item[i] < 0)
			return false;
		r->propensity[i] = DatumGetFloat8(propensity[i]);
		r->reward[i] = DatumGetFloat8(reward[i]);
		r->dismissed[i] = DatumGetBool(dismissed[i]);
		r->clicked[i] = DatumGetBool(clicked[i]);
	}
	return true;
}

static const char *
replay_sql(KpxReward reward)
{
	return psprintf("SELECT " KPX_LOGGED_SLATE_COLUMNS ", i.* FROM kpx.slate s CROSS JOIN LATERAL ("
					"SELECT array_agg(i.module_id ORDER BY i.rank), array_agg(i.item_id ORDER BY i.rank), array_agg(i.propensity ORDER BY i.rank),"
					" array_agg(coalesce(f.reward, 0) ORDER BY i.rank), array_agg(coalesce(f.dismissed, false) ORDER BY i.rank),"
					" array_agg(coalesce(f.clicked, false) ORDER BY i.rank)"
					" FROM kpx.impression i LEFT JOIN LATERAL (SELECT %s AS reward, bool_or(f.kind = 'dismissal') AS dismissed,"
					" bool_or(f.kind IN ('click', 'conversion')) AS clicked"
					" FROM kpx.feedback f WHERE f.slate_id = i.slate_id AND f.rank = i.rank) f ON true"
					" WHERE i.slate_id = s.slate_id AND i.occurred_at = s.occurred_at) i WHERE s.occurred_at >= $1 ORDER BY s.slate_id",
					reward == KPX_REVENUE      ? "sum(f.value)"
					: reward == KPX_CONVERSION ? "max((f.kind = 'conversion')::int)::float8"
											   : "max((f.kind IN ('click', 'conversion'))::int)::float8");
}

KpxReplay *
kpx_replay_read(TimestampTz since, KpxReward reward)
{
	KpxReplay *replay = palloc0(sizeof(KpxReplay));
	KpxRegistry *registry = kpx_registry();
	MemoryContext context = CurrentMemoryContext;
	Oid types[] = {TIMESTAMPTZOID};
	Datum values[] = {TimestampTzGetDatum(since)};
	int size = 1024;
	KpxIdMap *users = kpx_idmap_create(CurrentMemoryContext, KPX_ID_TEXT);
	KpxCatalog catalog;
	SPIPlanPtr plan;
	Portal portal;
	Oid owner;
	int security;

	replay->registry = registry;
	replay->reward = reward;
	replay->slates = palloc(sizeof(KpxReplaySlate) * size);
	kpx_catalog_begin(&catalog, true);
	plan = SPI_prepare(replay_sql(reward), 1, types);
	if (plan == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("the log of slates cannot be read")));
	portal = SPI_cursor_open(NULL, plan, values, NULL, true);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH);
		if (SPI_processed == 0)
			break;
		CHECK_FOR_INTERRUPTS();
		kpx_check_budget(MemoryContextMemAllocated(context, true), "reading the log of slates");
		MemoryContextSwitchTo(context);
		/* whether the caller may see a slate is the caller's question */
		GetUserIdAndSecContext(&owner, &security);
		SetUserIdAndSecContext(catalog.user, catalog.security);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			if (replay->n == size)
				replay->slates = repalloc_huge(replay->slates, sizeof(KpxReplaySlate) * (size *= 2));
			if (take_slate(&replay->slates[replay->n], registry, SPI_tuptable->vals[i], SPI_tuptable->tupdesc) &&
				may_see(replay->slates[replay->n].slate))
			{
				KpxReplaySlate *r = &replay->slates[replay->n++];

				r->user = kpx_idmap_add(users, kpx_id_from_text(KPX_ID_TEXT, r->slate->user_id));
				replay->rows += r->shown;
			}
		}
		SetUserIdAndSecContext(owner, security);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	kpx_catalog_end(&catalog);
	MemoryContextSwitchTo(context);
	replay->users = kpx_idmap_count(users);
	return replay;
}

/* ------------------------------------------------------------ replaying */

static bool
in_part(const KpxReplayPart *part, const KpxReplaySlate *r)
{
	if (part->half != KPX_BOTH_HALVES && (int) (kpx_random(part->seed, STREAM_HALF, r->user) >> 63) != part->half)
		return false;
	return part->share >= 1 || kpx_uniform(part->seed, STREAM_SHARE, r->user) < part->share;
}

/* Room for one slate's choice. */
typedef struct Desk
{
	KpxSlateRules rules;
	KpxCandidate *candidate;
	KpxSlate slate;
	uint32 *choice;
	double *probability;
	void *workspace;
} Desk;

/* Place of a candidate's pair of modules in a calibration. */
static int
pair_of(const KpxReplay *replay, const KpxLoggedSlate *s, int i)
{
	const KpxModule *first = replay->registry->modules;
	int home = s->home ? 1 + (int) (s->home - first) : 0;

	return home * replay->registry->n_modules + (int) (s->modules[s->items[i].module] - first);
}

static size_t
pairs_of(const KpxReplay *replay)
{
	return ((size_t) replay->registry->n_modules + 1) * (size_t) replay->registry->n_modules;
}

/* What a click on a candidate is expected to earn. */
static double
expected_of_click(const KpxReplay *replay, const double *calibration, const KpxLoggedSlate *s, int i)
{
	double p = s->items[i].p_convert;

	if (replay->reward == KPX_CLICK)
		return 1;
	if (calibration)
		p *= calibration[pairs_of(replay) + (size_t) pair_of(replay, s, i)];
	return replay->reward == KPX_CONVERSION ? p : p * s->offers[i].value;
}

static double
expected_reward(const KpxReplay *replay, const double *calibration, const KpxLoggedSlate *s, int i)
{
	double p = s->items[i].p_click;

	if (calibration)
		p *= calibration[pair_of(replay, s, i)];
	return p * expected_of_click(replay, calibration, s, i);
}

double *
kpx_replay_calibration(const KpxReplay *replay, const KpxReplayPart *part)
{
	size_t n = 2 * pairs_of(replay);
	double *observed = kpx_alloc(CurrentMemoryContext, n, sizeof(double));
	double *expected = kpx_alloc(CurrentMemoryContext, n, sizeof(double));

	for (size_t p = 0; p < n; p++)
		observed[p] = expected[p] = CALIBRATION_PRIOR;
	for (int i = 0; i < replay->n; i++)
	{
		const KpxReplaySlate *r = &replay->slates[i];

		for (int p = 0; p < r->shown && in_part(part, r); p++)
		{
			const KpxRankItem *item = &r->slate->items[r->item[p]];
			size_t click = (size_t) pair_of(replay, r->slate, r->item[p]);
			size_t conversion = pairs_of(replay) + click;

			observed[click] += r->clicked[p];
			expected[click] += item->p_click;
			observed[conversion] += r->reward[p] > 0;
			expected[conversion] += r->clicked[p] ? item->p_convert : 0;
		}
	}
	for (size_t p = 0; p < n; p++)
		observed[p] /= expected[p];
	pfree(expected);
	return observed;
}

/* The judged policy can tighten a module's room, not widen what the log had left. */
static Desk
set_desk(KpxLoggedSlate *s, const KpxPolicy *policy)
{
	Desk desk;
	uint32 *room = palloc(sizeof(uint32) * s->n_modules);

	for (int m = 0; m < s->n_modules; m++)
		room[m] = Min(s->room[m], (uint32) KPX_POLICY_NUMBER(policy, s->home ? s->home->name : NULL, s->modules[m]->name, max_per_slate));
	kpx_logged_slate_value(s, policy);
	desk.rules = kpx_slate_rules(policy, Max(s->k, 1), s->n_modules, room, s->mix);
	desk.candidate = kpx_slate_candidates(s->items, s->offers, s->n);
	desk.choice = palloc(sizeof(uint32) * desk.rules.top);
	desk.probability = palloc(sizeof(double) * desk.rules.top);
	desk.workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_slate_workspace((size_t) s->n, &desk.rules), 1);
	return desk;
}

static double
expectation(const Desk *desk, size_t choices, const KpxReplay *replay, const double *calibration, const KpxLoggedSlate *s)
{
	double sum = 0;

	for (size_t c = 0; c < choices; c++)
		sum += desk->probability[c] * expected_reward(replay, calibration, s, (int) desk->choice[c]);
	return sum;
}

/* probability, baseline of the logged places. */
static void
replay_logged(Desk *desk, const KpxReplay *replay, const KpxReplaySlate *r, const KpxReplayView *view, double *probability,
			  double *propensity, double *baseline)
{
	double reached = 1;
	double drawn = 1;

	kpx_slate_begin(&desk->slate, desk->candidate, (size_t) r->slate->n, &desk->rules, desk->workspace);
	for (int p = 0; p < r->shown; p++)
	{
		size_t choices = reached > 0 ? kpx_slate_choices(&desk->slate, desk->choice, desk->probability) : 0;
		double own = 0;

		baseline[p] = reached / drawn * expectation(desk, choices, replay, view->calibration, r->slate);
		for (size_t c = 0; c < choices; c++)
			if ((int) desk->choice[c] == r->item[p])
				own = desk->probability[c];
		reached *= own;
		drawn *= r->propensity[p];
		probability[p] = reached;
		propensity[p] = drawn;
		if (view->by_place)
			reached = drawn = 1;
		if (reached > 0)
			kpx_slate_add(&desk->slate, (size_t) r->item[p]);
	}
}

/* direct of the policy's own slate; returns the share of different modules and categories in it. */
static double
replay_own(Desk *desk, const KpxReplay *replay, const KpxReplaySlate *r, const KpxReplayView *view, double *direct)
{
	const KpxLoggedSlate *s = r->slate;
	int different = 0;
	int p;

	kpx_slate_begin(&desk->slate, desk->candidate, (size_t) s->n, &desk->rules, desk->workspace);
	for (p = 0; p < r->shown; p++)
	{
		size_t choices = kpx_slate_choices(&desk->slate, desk->choice, desk->probability);
		uint32 drawn;
		bool seen = false;

		direct[p] = expectation(desk, choices, replay, view->calibration, s);
		if (choices == 0)
		{
			for (; p < r->shown; p++)
				direct[p] = 0;
			break;
		}
		drawn = desk->choice[kpx_slate_draw(desk->probability, choices, kpx_uniform(view->part.seed, (uint64) s->slate_id, (uint64) p))];
		for (size_t o = 0; o < desk->slate.shown; o++)
			seen |= desk->candidate[desk->slate.used[o]].module == desk->candidate[drawn].module &&
					desk->candidate[desk->slate.used[o]].category == desk->candidate[drawn].category;
		different += !seen;
		kpx_slate_add(&desk->slate, drawn);
	}
	return (double) different / r->shown;
}

KpxReplayLog
kpx_replay(const KpxReplay *replay, const KpxPolicy *policy, const KpxReplayView *view)
{
	KpxReplayLog out = {0};
	double *column[6];
	uint32 *unit = kpx_alloc(CurrentMemoryContext, replay->rows, sizeof(uint32));
	uint32 *unit_of = kpx_alloc(CurrentMemoryContext, replay->users, sizeof(uint32)); /* from 1; 0: no slate so far */
	size_t row = 0;
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "kpxrec replay", ALLOCSET_DEFAULT_SIZES);

	memset(unit_of, 0, replay->users * sizeof(uint32));
	for (int c = 0; c < 6; c++)
		column[c] = kpx_alloc(CurrentMemoryContext, replay->rows, sizeof(double));
	out.dismissed = kpx_alloc(CurrentMemoryContext, replay->rows, sizeof(double));
	for (int i = 0; i < replay->n; i++)
	{
		const KpxReplaySlate *r = &replay->slates[i];
		MemoryContext old;
		Desk desk;

		if (!in_part(&view->part, r))
			continue;
		CHECK_FOR_INTERRUPTS();
		if (unit_of[r->user] == 0)
			unit_of[r->user] = (uint32) ++out.users;
		old = MemoryContextSwitchTo(work);
		desk = set_desk(r->slate, policy);
		replay_logged(&desk, replay, r, view, column[0] + row, column[1] + row, column[2] + row);
		out.diversity += replay_own(&desk, replay, r, view, column[3] + row);
		for (int p = 0; p < r->shown; p++)
		{
			column[4][row + p] = !view->calibration ? r->reward[p]
								 : r->clicked[p]    ? expected_of_click(replay, view->calibration, r->slate, r->item[p])
													: 0;
			column[5][row + p] = expected_reward(replay, view->calibration, r->slate, r->item[p]);
			out.dismissed[row + p] = r->dismissed[p];
			unit[row + p] = unit_of[r->user] - 1;
		}
		row += (size_t) r->shown;
		out.slates++;
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	}
	MemoryContextDelete(work);
	/* per slate, not per place */
	for (size_t i = 0; i < row; i++)
		for (int c = 2; c < 6; c++)
			column[c][i] *= (double) row / (double) out.slates;
	if (out.slates)
		out.diversity /= (double) out.slates;
	out.log = (KpxLog){row, column[4], column[1], column[0], column[5], column[2], column[3], unit};
	return out;
}

/* ------------------------------------------------------------ kpx_evaluate_policy */

static KpxReward
reward_argument(FunctionCallInfo fcinfo, int n)
{
	char *reward = PG_ARGISNULL(n) ? "revenue" : text_to_cstring(PG_GETARG_TEXT_PP(n));

	if (strcmp(reward, "revenue") == 0)
		return KPX_REVENUE;
	if (strcmp(reward, "conversion") == 0)
		return KPX_CONVERSION;
	if (strcmp(reward, "click") == 0)
		return KPX_CLICK;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("reward \"%s\" is not known", reward),
			 errhint("Known rewards: revenue, conversion, click.")));
}

static Datum
evaluate_version(FunctionCallInfo fcinfo, int64 id)
{
	KpxOffPolicyOptions options = kpx_off_policy_options(fcinfo, 2, 4);
	KpxReward reward = reward_argument(fcinfo, 3);
	KpxPolicy *policy;
	KpxReplay *replay;
	KpxReplayLog log;

	InitMaterializedSRF(fcinfo, 0);
	policy = kpx_policy(id);
	replay = kpx_replay_read(PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1), reward);
	log = kpx_replay(replay, policy, &(KpxReplayView){{KPX_BOTH_HALVES, 1, (uint64) options.seed}, false, NULL});
	kpx_off_policy_report(fcinfo, &log.log, log.users, &options, "the log of slates");
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_evaluate_policy);
Datum
kpx_evaluate_policy(PG_FUNCTION_ARGS)
{
	return evaluate_version(fcinfo, PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0));
}

PG_FUNCTION_INFO_V1(kpx_evaluate_policy_int4);
Datum
kpx_evaluate_policy_int4(PG_FUNCTION_ARGS)
{
	return evaluate_version(fcinfo, PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0));
}
