/*
 * update.h
 *	  New events of a model: which items they change, and who did them.
 */
#ifndef KPX_UPDATE_H
#define KPX_UPDATE_H

#include "refresh.h"

/* New events of one module of a model, by item. */
typedef struct KpxNews
{
	KpxIds items; /* that have any */
	uint32 *events; /* [items.n] */
	uint64 all; /* events */
	KpxWindow window; /* of the module, with them */
} KpxNews;

/*
 * Events of the module's sources from since on (DT_NOBEGIN: later than the model has seen), as
 * the current user. Sources without times have none.
 */
extern KpxNews kpx_news_read(const KpxModule *module, const KpxModelModule *trained, TimestampTz since);

/* Everybody who ever had to do with these items of the module, added to users. */
extern void kpx_news_users(const KpxModule *module, KpxIdKind item_kind, const KpxId *items, int n, struct KpxIdMap *users,
						   KpxIdKind user_kind);

#endif /* KPX_UPDATE_H */
