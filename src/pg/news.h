/*
 * news.h
 *	  What a model has not seen yet.
 */
#ifndef KPX_NEWS_H
#define KPX_NEWS_H

#include "model.h"
#include "registry.h"

/* New events of one module of a model, by item. */
typedef struct KpxNews
{
	KpxIds items; /* that have any */
	uint32 *events; /* [items.n] */
	uint64 all; /* events */
	KpxWindow window; /* of the module, with them */
} KpxNews;

/*
 * Events of a module of the model (registered) from since on (DT_NOBEGIN: later than the model has seen), as
 * the current user. Events of users who were forgotten, or who do not let them be used for training the model's
 * modules together, are no news, but are in the window, as in training's. Sources without times have none.
 */
extern KpxNews kpx_news_read(KpxRegistry *registry, const KpxModel *model, int module, TimestampTz since);

/* Everybody who ever had to do with these items of the module, added to users. */
extern void kpx_news_users(const KpxModule *module, KpxIdKind item_kind, const KpxId *items, int n, struct KpxIdMap *users,
						   KpxIdKind user_kind);

#endif /* KPX_NEWS_H */
