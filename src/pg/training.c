/*
 * training.c
 *	  One training of a model, in phases.
 */
#include "training.h"

#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/lsyscache.h"

#include "factor.h"
#include "fault.h"
#include "floor.h"
#include "progress.h"

double
kpx_seconds_since(instr_time *start)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, *start);
	INSTR_TIME_SET_CURRENT(*start);
	return INSTR_TIME_GET_DOUBLE(now);
}

void
kpx_check_model_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > 255)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("a model name must have 1 to 255 bytes, found %zu", strlen(name))));
}

void
kpx_training_begin(KpxTraining *training, KpxModule **modules, int n, const KpxAlgorithm *algorithm, Datum given, const char *name)
{
	*training = (KpxTraining){.n_modules = n,
							  .modules = modules,
							  .params = kpx_params_parse(algorithm, given, kpx_module_names(modules, n), n),
							  .name = name ? pstrdup(name) : kpx_modules_label(modules, n),
							  .report = {.algorithm = algorithm->name}};
	if (!algorithm->catalogue)
		kpx_require_sources(modules, n);
	kpx_check_model_name(training->name);
}

void
kpx_training_require_owner(const KpxTraining *training)
{
	for (int m = 0; m < training->n_modules; m++)
		kpx_require_owner(training->modules[m]->owner, "module", training->modules[m]->name);
}

/* Lock tag field 4 is one that SQL's advisory locks cannot use, so nobody can block us from there. */
void
kpx_training_lock(const KpxTraining *training, bool session)
{
	LOCKTAG tag;
	uint64 hash = hash_bytes_extended((const unsigned char *) training->name, (int) strlen(training->name), 0);

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, 0x4B50);
	if (LockAcquire(&tag, ExclusiveLock, session, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("model \"%s\" is being trained by another session", training->name),
				 errhint("Wait for it, or train under another name.")));
}

void
kpx_training_read(KpxTraining *training, int want)
{
	const KpxAlgorithm *algorithm = training->params->algorithm;
	instr_time clock;

	INSTR_TIME_SET_CURRENT(clock);
	training->data = kpx_ingest(training->modules, training->n_modules, training->params->observed,
								want | (kpx_params_want_times(training->params) ? KPX_WANT_TIMES : 0) | (algorithm->catalogue ? KPX_WANT_CATALOGUE : 0));
	KPX_FAULT("read");
	kpx_data_floor(training->data, !algorithm->catalogue);
	kpx_fit_read(training->data, training->params, &training->fit);
	training->report.users = training->data->users;
	training->report.interactions = training->data->offset[training->data->users];
	training->report.read_seconds = kpx_seconds_since(&clock);
}

void
kpx_training_compute(KpxTraining *training)
{
	instr_time clock;

	INSTR_TIME_SET_CURRENT(clock);
	KPX_FAULT("compute");
	training->model = kpx_fit_compute(&training->fit);
	training->report.train_seconds = kpx_seconds_since(&clock);
}

void
kpx_training_recheck(KpxTraining *training)
{
	Oid extension = get_extension_oid("kpxrec", true);
	KpxRegistry *registry;

	if (OidIsValid(extension))
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	if (!OidIsValid(extension) || get_extension_oid("kpxrec", true) != extension)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension kpxrec was dropped while model \"%s\" was being trained", training->name)));
	registry = kpx_registry();
	for (int m = 0; m < training->n_modules; m++)
	{
		const KpxModule *module = training->modules[m];
		const KpxModule *now = kpx_find_module_by_id(registry, module->id);

		if (now == NULL || strcmp(now->name, module->name) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("module \"%s\" was dropped while it was being trained", module->name)));
		(void) kpx_relation_sql(module->items, module->items_name, "module", module->name);
		for (int s = 0; s < module->n_sources; s++)
			(void) kpx_relation_sql(module->sources[s].relation, module->sources[s].relation_name, "module", module->name);
	}
}

void
kpx_training_store(KpxTraining *training)
{
	KpxModel *model = training->model;
	KpxTrainingReport *report = &training->report;

	kpx_progress_phase("storing the model", 0);
	report->iterations = training->fit.iterations;
	report->loss = training->fit.loss;
	report->losses = training->fit.losses;
	report->n_losses = training->fit.n_losses;
	if (training->params->algorithm->vector && model->items > 0)
		(void) training->params->algorithm->vector(model, 0, 0, &report->factors);
	report->params = kpx_params_jsonb(training->params, kpx_module_names(training->modules, training->n_modules));
	model->name = training->name;
	model->owner = GetUserNameFromId(GetUserId(), false);
	kpx_model_store(model, report);
}
