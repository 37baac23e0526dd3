/*
 * job_train.c
 *	  Task train: each phase of training.h in a transaction of its own, then the guard.
 *
 *	  read      snapshot and ACCESS SHARE on the sources, let go when the data are in memory
 *	  compute   neither
 *	  judge     a snapshot, to read the active model
 *	  store     checks that the world is still there; writes, and activates if the guard says so
 *
 * The lock on the model's name is the session's: from the first to the last.
 */
#include "job.h"

#include "access/xact.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "factor.h"
#include "fault.h"
#include "job_guard.h"
#include "progress.h"
#include "training.h"

#define MARGIN 0.05

double
kpx_job_margin(Jsonb *arguments)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&arguments->root, "margin", 6, NULL);
	double margin;

	if (value == NULL)
		return MARGIN;
	if (value->type == jbvNull)
		return -1;
	margin = value->type == jbvNumeric ? DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric))) : -1;
	if (!(margin >= 0 && margin <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"margin\" must be a number from 0 to 1, or null"),
				 errdetail("A new model that is worse than the active one by more than this share of its NDCG is not activated; null: never mind.")));
	return margin;
}

static Datum
params_of(Jsonb *arguments)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&arguments->root, "params", 6, NULL);

	return value && value->type == jbvBinary ? JsonbPGetDatum(JsonbValueToJsonb(value)) : (Datum) 0;
}

static KpxModule **
modules_of(Jsonb *arguments, int *n)
{
	KpxRegistry *registry = kpx_registry();
	char *one = kpx_argument_text(arguments, "module");
	ArrayType *several = kpx_argument_texts(arguments, "modules");
	KpxModule **modules;

	kpx_registry_keep(registry);
	if (several)
		return kpx_modules_argument(several, registry, n);
	if (one == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("task \"train\" needs the argument \"modules\"")));
	modules = palloc(sizeof(KpxModule *));
	modules[0] = kpx_find_module(registry, one);
	*n = 1;
	return modules;
}

/* Whether to activate at all, when the guard has nothing against it. */
static bool
wants_activation(Jsonb *arguments)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&arguments->root, "activate", 8, NULL);

	return value == NULL || value->type != jbvBool || value->val.boolean;
}

static void
begin(MemoryContext context, bool snapshot)
{
	kpx_worker_begin();
	XactIsoLevel = XACT_READ_COMMITTED;
	if (snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	else
		InvalidateCatalogSnapshot();
	MemoryContextSwitchTo(context);
}

static void
end(void)
{
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
}

static void
read_phase(KpxTraining *training, KpxGuard *guard, Jsonb *arguments)
{
	Datum given = params_of(arguments);
	char *algorithm = kpx_argument_text(arguments, "algorithm");
	int n;
	KpxModule **modules;

	/* As the owner, who may have lost the right to train since. */
	kpx_task_check("train", arguments);
	modules = modules_of(arguments, &n);
	guard->margin = kpx_job_margin(arguments);
	kpx_training_begin(training, modules, n, kpx_algorithm_choose(algorithm ? algorithm : "ials", given), given,
					   kpx_argument_text(arguments, "name"));
	if (wants_activation(arguments))
		kpx_training_require_owner(training);
	kpx_training_lock(training, true);
	kpx_progress_begin("kpx_train", training->name);
	kpx_training_read(training, guard->margin >= 0 ? KPX_WANT_TIMES : 0);
	if (guard->margin >= 0)
		kpx_guard_hold_out(guard, training);
}

/* Stores, and activates when all agree; what became of it. */
static char *
store_phase(KpxTraining *training, const KpxGuard *guard, bool wanted, bool good, const char *why)
{
	int64 id;

	kpx_training_recheck(training);
	kpx_training_store(training);
	id = training->model->id;
	if (why)
		kpx_metrics_keep(&guard->metrics, id, "guard", guard->newest ? "newest" : "random", why);
	if (!wanted)
		return psprintf("model " INT64_FORMAT " is ready: the job does not activate", id);
	if (!good)
		return psprintf("model " INT64_FORMAT " is ready, not activated: %s", id, why);
	kpx_model_lock_modules(id);
	if (guard->margin >= 0 && !kpx_guard_still_valid(guard, training))
		return psprintf("model " INT64_FORMAT " is ready, not activated: another model was activated while it was being trained (%s)", id, why);
	kpx_training_require_owner(training);
	kpx_model_activate(id);
	return psprintf("model " INT64_FORMAT " is active%s%s", id, why ? ": " : "", why ? why : "");
}

void
kpx_job_train(Jsonb *arguments, MemoryContext context, KpxOutcome *outcome)
{
	KpxTraining training;
	KpxGuard guard = {0};
	bool good = true;
	char *why = NULL;

	begin(context, true);
	read_phase(&training, &guard, arguments);
	end();
	outcome->rows = (int64) training.report.interactions;

	begin(context, false);
	kpx_training_compute(&training);
	end();

	if (guard.margin >= 0)
	{
		begin(context, true);
		kpx_progress_phase("judging", 0);
		KPX_FAULT("judge");
		good = kpx_guard_judge(&guard, &training, &why);
		end();
	}

	begin(context, true);
	kpx_progress_phase("storing", 0);
	outcome->message = store_phase(&training, &guard, wants_activation(arguments), good, why);
	kpx_progress_end();
	end();
}
