/*
 * signals.h
 *	  What is known of a user and a candidate before anybody has seen it: the ranker's features.
 *
 * The four signals of the ranker: user_similarity (the user to the item's audience),
 * item_similarity (the item to the user's history), user_preference (the user's bias towards
 * the item's module, category and price) and item_preference (how popular and how good the
 * item is). A signal that cannot be known is NaN: it counts as average.
 */
#ifndef KPX_SIGNALS_H
#define KPX_SIGNALS_H

#include "matrix.h"

/* Numbers of the features of an impression, in the order in which they are logged. */
typedef enum KpxSignal
{
	KPX_SIGNAL_SCORE, /* of the candidate step */
	KPX_SIGNAL_PLACE, /* log(1 + place among the module's candidates) */
	KPX_SIGNAL_USER_SIMILARITY,
	KPX_SIGNAL_ITEM_SIMILARITY,
	KPX_SIGNAL_MODULE_PREFERENCE,
	KPX_SIGNAL_CATEGORY_PREFERENCE,
	KPX_SIGNAL_PRICE_PREFERENCE,
	KPX_SIGNAL_POPULARITY,
	KPX_SIGNAL_CLICK_RATE, /* logit of the smoothed rate */
	KPX_SIGNAL_CONVERT_RATE, /* likewise */
	KPX_SIGNAL_PRICE, /* log(1 + price) */
	KPX_SIGNAL_HISTORY, /* log(1 + items in the user's history) */
	KPX_SIGNAL_RECENCY, /* log(1 + days since the user's last event) */
	KPX_SIGNAL_CONTENT, /* likeness in content to the nearest item of the history */
	KPX_SIGNAL_SEGMENT, /* how much more the user's segment goes for the item than everybody */
	KPX_SIGNALS
} KpxSignal;

/*
 * Likeness of an item to a history: mean, weighted, and largest, of similarity[n] by
 * weight[n]; NaN for none. An item's vector is, by its normal equations, a weighted mean of
 * the vectors of its audience: the mean likeness is the user's to that audience.
 */
extern void kpx_signal_similarity(const float *similarity, const float *weight, size_t n, float *mean, float *largest);

/* Log of the module's smoothed share of the user's weight over an equal share: 0 = no bias. */
extern float kpx_signal_module(double in_module, double in_all, int modules);

/* Smoothed share, in (0, 1), of the category in the user's weight within the module. */
extern float kpx_signal_category(double in_category, double in_module);

/*
 * Minus the distance of log(1 + price) to the mean of the user's. prices: of the history,
 * NaN and negative ones left out; NaN when there is none, or price is none.
 */
extern float kpx_signal_price(double price, const double *prices, const float *weight, size_t n);

/* Log of the item's share of the module's weight over an equal share, smoothed. */
extern float kpx_signal_popularity(double share, size_t items);

/* Log of the item's share in a segment over its share of all, both over an equal share and smoothed. share NaN counts as 0. */
extern float kpx_signal_segment(double share, double share_of_all, size_t items);

/* log(1 + x); NaN for negative x and NaN. */
extern float kpx_signal_log(double x);

/* log(p / (1 - p)), p kept 1e-6 away from 0 and 1. */
extern float kpx_signal_logit(double p);

#endif /* KPX_SIGNALS_H */
