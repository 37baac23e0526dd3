/*
 * update.h
 *	  New events of a model: which items they change, and solving these.
 */
#ifndef KPX_UPDATE_H
#define KPX_UPDATE_H

#include "history.h"
#include "news.h"
#include "refresh.h"

#define KPX_NO_ROW PG_UINT32_MAX

typedef struct KpxUpdate
{
	KpxRefresh r;
	KpxNews *news; /* [n_modules] */
	uint64 events;
	uint32 n_changed; /* items to solve, new ones among them */
	uint32 *changed; /* their indexes in the new model, increasing */
	uint32 *row; /* [model->items]: number among changed, or KPX_NO_ROW */
	bool *fresh; /* [n_changed] */
	uint32 n_users; /* who had to do with them */
	KpxHistory *histories; /* [n_users] */
	float *axes; /* [factors][ld]: where the axes of the stored model are; turned with its rows (model_patch.h) */
} KpxUpdate;

/*
 * Solves the rows of what->changed (one at least) in what->r.x.model, which has its parts, turns what->axes, and sets
 * their popularity and the windows of its modules. Errors: 22003, 53200.
 */
extern void kpx_update_solve(const KpxUpdate *what);

#endif /* KPX_UPDATE_H */
