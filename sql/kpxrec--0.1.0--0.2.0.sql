\echo Use "ALTER EXTENSION kpxrec UPDATE" to load this file. \quit
-- From 0.1.0 to 0.2.0: what is changed in a file of sql/ is changed here too, under the name of that file.
-- How, and what to heed: docs/architecture.md, "Changing what CREATE EXTENSION makes". test/pgtap/upgrade.sql
-- compares the outcome with an installation from nothing.

SET LOCAL search_path = pg_catalog, pg_temp;

-- ---------------------------------------------------------------- 00_kpxrec.sql


-- ---------------------------------------------------------------- 10_module.sql


-- ---------------------------------------------------------------- 20_model.sql

COMMENT ON COLUMN kpx.model.metrics IS 'what it reached on held-out events, by who measured it: evaluation, guard';
COMMENT ON COLUMN @extschema@.kpx_models.metrics IS 'what it reached on held-out events, by who measured it; kpx_model_metrics has it as rows';

-- ---------------------------------------------------------------- 22_lifecycle.sql


-- ---------------------------------------------------------------- 24_transfer.sql


-- ---------------------------------------------------------------- 30_factor.sql


-- ---------------------------------------------------------------- 32_estimate.sql


-- ---------------------------------------------------------------- 35_content.sql


-- ---------------------------------------------------------------- 36_update.sql


-- ---------------------------------------------------------------- 40_profile.sql


-- ---------------------------------------------------------------- 42_segment.sql


-- ---------------------------------------------------------------- 45_quality.sql


-- ---------------------------------------------------------------- 45_rules.sql


-- ---------------------------------------------------------------- 50_recommend.sql


-- ---------------------------------------------------------------- 52_trending.sql


-- ---------------------------------------------------------------- 55_audience.sql


-- ---------------------------------------------------------------- 60_evaluate.sql

CREATE FUNCTION @extschema@.kpx_evaluate_model(
	model bigint, k integer DEFAULT 10, split text DEFAULT 'leave_one_out', held_out regclass DEFAULT NULL, seed bigint DEFAULT 1)
RETURNS TABLE (module text, metric text, value double precision, std_error double precision,
	popularity double precision, popularity_std_error double precision, users bigint)
AS 'MODULE_PATHNAME', 'kpx_evaluate_model' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 12;
COMMENT ON FUNCTION @extschema@.kpx_evaluate_model(bigint, integer, text, regclass, bigint) IS
'kpx_evaluate of a stored model''s modules, algorithm and parameters, kept with it for kpx_model_metrics';

CREATE VIEW @extschema@.kpx_model_metrics WITH (security_barrier) AS
SELECT m.id AS model, m.name, m.version, j.key AS measured_by, j.value OPERATOR(pg_catalog.->>) 'split' AS split, r.module, r.metric,
	r.value, r.std_error, r.popularity, r.popularity_std_error, r.users,
	(j.value OPERATOR(pg_catalog.->>) 'measured_at')::timestamptz AS measured_at
FROM kpx.model m, pg_catalog.jsonb_each(m.metrics) j,
	pg_catalog.jsonb_to_recordset(CASE pg_catalog.jsonb_typeof(j.value OPERATOR(pg_catalog.->) 'rows') WHEN 'array' THEN j.value OPERATOR(pg_catalog.->) 'rows' END) r(
		module text, metric text, value double precision, std_error double precision, popularity double precision,
		popularity_std_error double precision, users bigint)
WHERE kpx.may_use_model(m.id);
COMMENT ON VIEW @extschema@.kpx_model_metrics IS
'what models reached on held-out events, beside popularity; the last measurement of each kind, of models that the current role may use';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.model IS 'number of the model';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.name IS 'what it is trained under';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.version IS 'counts the trainings of this name';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.measured_by IS
'evaluation: kpx_evaluate_model, a model of the same parameters trained without the held-out events; guard: the model itself, when a job trained it';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.split IS
'what was held out: leave_one_out, last_by_time, random, held_out (a relation), or newest (what came after the model before it was made)';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.module IS 'module that was ranked';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.metric IS 'metric@k, as kpx_evaluate returns it';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.value IS 'of the model, mean over users; NULL: nobody had anything held out';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.std_error IS 'of value; NULL for coverage';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.popularity IS 'the same of recommending the most popular items, for the same users';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.popularity_std_error IS 'of popularity; NULL for coverage';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.users IS 'users who had something held out';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.measured_at IS 'when it was measured';
GRANT SELECT ON @extschema@.kpx_model_metrics TO PUBLIC;

-- ---------------------------------------------------------------- 62_tune.sql


-- ---------------------------------------------------------------- 66_forget.sql


-- ---------------------------------------------------------------- 68_consent.sql


-- ---------------------------------------------------------------- 70_policy.sql

-- What was spent so far was charged as expected, and stays so.
ALTER TABLE kpx.campaign ADD COLUMN reserved double precision NOT NULL DEFAULT 0, ADD COLUMN closed_at timestamptz;
UPDATE kpx.campaign SET closed_at = pg_catalog.clock_timestamp() WHERE kind = 'budget';
COMMENT ON COLUMN kpx.campaign.reserved IS 'of a budget in money: what clicks and conversions of impressions that are not settled yet are expected to cost';
COMMENT ON COLUMN kpx.campaign.closed_at IS 'reserves of impressions before it have been given back';
CREATE OR REPLACE VIEW @extschema@.kpx_campaigns WITH (security_barrier) AS
SELECT m.name AS module, c.kind, c.starts_at, (p.terms OPERATOR(pg_catalog.->>) 'to')::timestamptz AS ends_at, p.terms,
	c.spent, c.offered, c.price, c.subsidy, c.stepped_at AS last_slate, c.reserved
FROM kpx.campaign c
JOIN kpx.module m ON m.id OPERATOR(pg_catalog.=) c.module_id
LEFT JOIN LATERAL (
	SELECT p.settings OPERATOR(pg_catalog.#>) ARRAY['modules', m.name, c.kind]::text[] AS terms FROM kpx.policy p
	WHERE p.active AND (p.settings OPERATOR(pg_catalog.#>>) ARRAY['modules', m.name, c.kind, 'from']::text[])::timestamptz OPERATOR(pg_catalog.=) c.starts_at) p ON true
WHERE kpx.member_of(m.owner);
COMMENT ON COLUMN @extschema@.kpx_campaigns.spent IS 'of a budget, in its unit, impressions or money (clicks and conversions as kpx_attribute settled them); of a quota, impressions of the module';
COMMENT ON COLUMN @extschema@.kpx_campaigns.reserved IS 'of a budget in money: what clicks and conversions of impressions that are not settled yet are expected to cost';


-- ---------------------------------------------------------------- 71_ranking.sql


-- ---------------------------------------------------------------- 72_feedback.sql

ALTER TABLE kpx.feedback ADD COLUMN settled boolean NOT NULL DEFAULT true;
ALTER TABLE kpx.feedback ALTER COLUMN settled SET DEFAULT false;
COMMENT ON COLUMN kpx.feedback.settled IS 'whether budgets in money have been charged with it';

CREATE OR REPLACE VIEW @extschema@.kpx_model_effect WITH (security_barrier) AS
SELECT u.module, u.model, pg_catalog.min(u.first_shown) AS first_shown, pg_catalog.max(u.last_shown) AS last_shown,
	pg_catalog.count(*) AS users, pg_catalog.sum(u.impressions)::bigint AS impressions, pg_catalog.sum(u.clicks)::bigint AS clicks,
	pg_catalog.sum(u.conversions)::bigint AS conversions, pg_catalog.sum(u.dismissals)::bigint AS dismissals,
	pg_catalog.sum(u.revenue) AS revenue, pg_catalog.avg(u.revenue) AS revenue_per_user,
	pg_catalog.stddev_samp(u.revenue) OPERATOR(pg_catalog./) pg_catalog.sqrt(pg_catalog.count(*)::double precision) AS revenue_std_error
FROM (
	SELECT m.name AS module, i.model_id AS model, pg_catalog.min(i.occurred_at) AS first_shown, pg_catalog.max(i.occurred_at) AS last_shown,
		pg_catalog.count(*) AS impressions,
		pg_catalog.count(*) FILTER (WHERE f.clicked OR f.converted) AS clicks,
		pg_catalog.count(*) FILTER (WHERE f.converted) AS conversions,
		pg_catalog.count(*) FILTER (WHERE f.dismissed) AS dismissals,
		coalesce(pg_catalog.sum(f.revenue), 0::double precision) AS revenue
	FROM kpx.impression i
	JOIN kpx.module m ON m.id OPERATOR(pg_catalog.=) i.module_id
	LEFT JOIN LATERAL (
		SELECT pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'click') AS clicked,
			pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'conversion') AS converted,
			pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'dismissal') AS dismissed, pg_catalog.sum(f.value) AS revenue
		FROM kpx.feedback f
		WHERE f.slate_id OPERATOR(pg_catalog.=) i.slate_id AND f.rank OPERATOR(pg_catalog.=) i.rank) f ON true
	WHERE kpx.member_of(m.owner)
	GROUP BY m.name, i.model_id, i.user_id) u
GROUP BY u.module, u.model;
COMMENT ON COLUMN @extschema@.kpx_model_effect.revenue_std_error IS 'standard error of revenue_per_user, over users; NULL: of one user';

-- ---------------------------------------------------------------- 74_noise.sql


-- ---------------------------------------------------------------- 80_job.sql


-- ---------------------------------------------------------------- 82_monitor.sql


-- ---------------------------------------------------------------- 84_recommendation.sql


-- ---------------------------------------------------------------- 90_report.sql

CREATE FUNCTION kpx.report_period(from_time timestamptz, to_time timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '<time>' || to_char(from_time, 'YYYY-MM-DD') || U&'</time> \2013 <time>' || to_char(to_time, 'YYYY-MM-DD') || '</time>';
END;
COMMENT ON FUNCTION kpx.report_period(timestamptz, timestamptz) IS 'from when to when, to the day';

-- ---------------------------------------------------------------- 91_report_words.sql

CREATE OR REPLACE FUNCTION kpx.report_words(language text) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE language WHEN 'zh' THEN '{
	"lang": "zh-CN",
	"title": "kpxrec 推荐报告",
	"written": "生成时间",
	"database": "数据库",
	"role": "查看角色",
	"role_note": "本报告只包含该角色有权看到的内容。",
	"library": "版本",
	"contents": "目录",
	"data": "数据表",
	"module": "模块", "modules": "模块", "items": "物品", "users": "用户", "events": "事件源", "interactions": "交互", "owner": "所有者", "time": "时间",
	"share": "占比", "count": "次数", "day": "日期", "seconds": "秒", "iteration": "迭代", "epoch": "轮次", "loss": "损失",
	"yes": "是", "no": "否", "none": "无", "all": "全部",
	"h_health": "健康状况", "c_health": "已知的故障及对策", "severity": "严重程度", "fault": "故障", "object": "对象", "detail": "详情", "action": "对策",
	"r_health": "该角色无权调用 <code>kpx_health</code>。",
	"e_health": "<code>kpx_health</code> 未发现故障。",
	"h_modules": "模块",
	"c_modules": "已注册的模块及当前为其服务的模型",
	"active_model": "当前模型", "enough": "数据充足",
	"enough_note": "数据充足：训练时该模块至少有 1000 次交互、25 个用户。",
	"e_modules": "尚无可见的模块。用 <code>kpx_add_module</code> 和 <code>kpx_add_events</code> 注册。",
	"h_models": "模型",
	"c_models": "模型，新的在前，最多 20 个",
	"model": "模型", "version": "版本号", "serves": "服务于", "algorithm": "算法", "size": "大小", "trained": "训练完成",
	"e_models": "尚无模型。用 <code>kpx_train</code> 训练。",
	"h_quality": "模型质量与热门推荐之比",
	"n_quality": "留出部分事件，为其用户给全部物品排序。每对数值前者为模型，后者为同一批用户上的热门推荐；NDCG 与召回率越高越好，± 为标准误，差距小于两倍标准误可能只是偶然。上方条形为模型的 NDCG，下方为热门推荐。",
	"c_quality": "各模型最近一次评测，新的在前，最多 20 行", "popularity": "热门推荐", "recall": "召回率", "held_out": "留出方式",
	"e_quality": "尚无评测。用 <code>kpx_evaluate_model</code> 评测模型；作业训练的模型由守卫评测。",
	"h_curves": "训练曲线",
	"n_curves": "模型：每次迭代后的损失。排序器：每次展示的平均损失；开发集用户不参与学习，其损失最低的一轮被保留。纵轴不从零开始。",
	"train_loss": "训练", "dev_loss": "开发集", "ranker": "排序器", "kept": "保留的轮次",
	"e_curves": "尚无训练曲线。<code>kpx_train</code>（ials、hybrid）记录每次迭代的损失，<code>kpx_train_ranker</code> 记录每一轮的损失。",
	"h_trials": "调参试验",
	"c_trials": "每次 kpx_tune 中各算法的最佳试验，最近 5 次",
	"run": "运行", "metric": "指标", "value": "值", "error": "标准误", "judged": "评判用户占比", "trials": "试验数",
	"e_trials": "尚无试验。<code>kpx_tune</code> 在留出的事件上比较算法和参数。",
	"h_segments": "用户分群",
	"n_segments": "条形表示占全部聚类用户的比例；特征为离总体均值最远者。",
	"c_segments": "分群：{}", "segment": "分群", "features": "突出特征", "silhouette": "轮廓系数",
	"e_segments": "尚无用户分群。用 <code>kpx_cluster</code> 聚类。",
	"h_rules": "关联规则",
	"n_rules": "置信度：有前项者中也有后项的比例。提升度：置信度与后项总体占比之比，1 表示相互独立。",
	"c_rules": "提升度最高的 20 条规则（至少 5 次）", "antecedent": "前项", "consequent": "后项", "confidence": "置信度", "lift": "提升度", "support": "支持度",
	"e_rules": "尚无规则。用 <code>kpx_mine_rules</code> 挖掘。",
	"h_funnel": "漏斗：从展示到收入",
	"n_funnel": "按展示所在模块 → 被展示物品的模块，展示最多的 12 对，截至最近一次展示的 60 天（UTC）。",
	"n_days": "按日。上图：展示次数；下图：点击率。纵轴从零开始，各图刻度相同。",
	"c_funnel": "各模块对的合计", "pair": "展示处 → 物品所属", "impressions": "展示", "clicks": "点击", "ctr": "点击率", "conversions": "转化", "cvr": "转化率", "dismissals": "不感兴趣", "revenue": "收入", "expected": "预期收入", "anywhere": "任意处",
	"per_click": "转化率为转化与点击之比。",
	"e_funnel": "尚无展示记录。<code>kpx_recommend_slate(…, log =&gt; true)</code> 记录展示，<code>kpx_feedback</code> 和 <code>kpx_attribute</code> 记录结果。",
	"h_policies": "策略效果",
	"c_policies": "各策略版本的展示与收益", "policy": "策略", "comment": "说明", "slates": "列表", "per_slate": "每列表收入", "period": "时段", "active": "生效中",
	"e_policies": "尚无策略版本展示过内容。用 <code>kpx_set_policy</code> 设定策略，用 <code>kpx_recommend_slate</code> 展示。",
	"h_effects": "模型效果：现役与挑战者",
	"n_effects": "按物品所属模块；流量按用户划分，故用户数即样本量，应比较每用户收入；± 为其标准误，差距小于两倍标准误可能只是偶然。挑战者的占比为其应答的用户比例。",
	"c_effects": "各模型的展示与收益", "challenger": "挑战者", "per_user": "每用户收入",
	"e_effects": "尚无模型展示过内容。用 <code>kpx_set_traffic</code> 让挑战者应答部分用户，用 <code>kpx_recommend_slate(…, log =&gt; true)</code> 记录展示。",
	"h_views": "推荐视图",
	"c_views": "为 BI 保存的推荐表", "view": "视图", "rows": "行数", "changed": "上次改动行数", "refreshed": "上次刷新",
	"e_views": "尚无推荐视图。用 <code>kpx_create_recommendation_view</code> 创建。",
	"h_calls": "慢调用",
	"n_calls": "毫秒；p99：99 % 的调用不超过该时间，条形与最慢的 p99 相比。统计始于",
	"c_calls": "各模块与函数的应答时间，慢的在前", "function": "函数", "calls": "调用", "slowest": "最慢", "empty": "空结果", "fell_back": "需补充",
	"e_calls": "尚无统计。库列入 <code>shared_preload_libraries</code> 后，<code>kpx_recommend</code> 等函数的每次调用都会计入 <code>kpx_stat_recommend</code>。",
	"h_lists": "推荐列表的品质",
	"n_lists": "覆盖率：出现在任一列表中的物品比例。基尼系数：0 为各物品机会均等。新颖度：以比特计，越高越不热门。多样性：1 减去列表内平均相似度。需补充：模型无法独自填满的列表。冷门：训练时没有交互的物品。",
	"c_lists": "各模块最近一次测量", "coverage": "覆盖率", "novelty": "新颖度", "diversity": "多样性", "cold": "冷门",
	"e_lists": "尚无测量。用 <code>kpx_measure</code> 测量。",
	"h_drift": "数据漂移",
	"n_drift": "近期事件与训练前事件之间的群体稳定性指数（PSI）；超出噪声的部分大于阈值即为漂移，条形在一半处到达阈值。",
	"c_drift": "各模块最近一次测量", "feature": "特征", "psi": "PSI", "noise": "噪声", "threshold": "阈值", "drifted": "漂移",
	"e_drift": "尚无漂移测量。用 <code>kpx_measure</code> 测量。",
	"h_jobs": "作业",
	"c_jobs": "计划中的作业与最近一次运行", "job": "作业", "task": "任务", "status": "状态", "next": "下次开始", "last": "上次结果", "last_start": "上次开始", "failures": "连续失败", "message": "消息", "phase": "阶段",
	"n_jobs": "每个作业最近 40 次运行的秒数；红色为未成功的运行。",
	"e_jobs": "尚无作业。库列入 <code>shared_preload_libraries</code> 后，用 <code>kpx_schedule</code> 安排。",
	"footer": "由 <code>kpx_report</code> 生成；页面自包含，不加载任何外部资源。"
	}'::jsonb ELSE '{
	"lang": "en",
	"title": "kpxrec report",
	"written": "Written",
	"database": "Database",
	"role": "As seen by",
	"role_note": "Only what this role may see is in it.",
	"library": "Version",
	"contents": "Contents",
	"data": "Data",
	"module": "module", "modules": "modules", "items": "items", "users": "users", "events": "event sources", "interactions": "interactions", "owner": "owner", "time": "time",
	"share": "share", "count": "count", "day": "day", "seconds": "seconds", "iteration": "iteration", "epoch": "epoch", "loss": "loss",
	"yes": "yes", "no": "no", "none": "none", "all": "all",
	"h_health": "Health", "c_health": "What is known to be wrong, and what to do", "severity": "severity", "fault": "fault", "object": "object", "detail": "detail", "action": "what to do",
	"r_health": "This role may not call <code>kpx_health</code>.",
	"e_health": "<code>kpx_health</code> finds nothing wrong.",
	"h_modules": "Modules",
	"c_modules": "Registered modules and the models that answer for them",
	"active_model": "active model", "enough": "enough data",
	"enough_note": "Enough data: at least 1,000 interactions of 25 users were there when the model was trained.",
	"e_modules": "No module yet that this role may see. <code>kpx_add_module</code> and <code>kpx_add_events</code> register them.",
	"h_models": "Models",
	"c_models": "Models, the newest first, at most 20",
	"model": "model", "version": "version", "serves": "answers for", "algorithm": "algorithm", "size": "size", "trained": "trained",
	"e_models": "No model yet. <code>kpx_train</code> trains one.",
	"h_quality": "Models against popularity",
	"n_quality": "Some events are held out, and all items ranked for their users. Of two figures the first is the model’s, the second that of recommending what is popular to the same users; the higher, the better. ± is the standard error: a difference of less than two of them may be luck. The upper bar is the model’s NDCG, the lower one that of popularity.",
	"c_quality": "The last measurements of each model, the newest first, at most 20 rows", "popularity": "popularity", "recall": "recall", "held_out": "held out",
	"e_quality": "Not measured yet. <code>kpx_evaluate_model</code> judges a model; one that a job trains is judged by its guard.",
	"h_curves": "Training curves",
	"n_curves": "Of models: the loss after each iteration. Of rankers: the mean loss of an impression; dev users are not learnt from, and the epoch with their lowest loss is kept. The vertical axes do not begin at zero.",
	"train_loss": "train", "dev_loss": "dev", "ranker": "ranker", "kept": "epoch kept",
	"e_curves": "No training curve yet. <code>kpx_train</code> (ials, hybrid) writes down the loss of every iteration, <code>kpx_train_ranker</code> that of every epoch.",
	"h_trials": "Tuning",
	"c_trials": "The best trial of each algorithm in each kpx_tune, the last 5 runs",
	"run": "run", "metric": "metric", "value": "value", "error": "std. error", "judged": "users judged", "trials": "trials",
	"e_trials": "No trial yet. <code>kpx_tune</code> compares algorithms and parameters on held-out events.",
	"h_segments": "Segments",
	"n_segments": "Bars are shares of all users clustered; features are those farthest from everybody’s mean.",
	"c_segments": "Segments {}", "segment": "segment", "features": "what sets it apart", "silhouette": "silhouette",
	"e_segments": "No segments yet. <code>kpx_cluster</code> makes them.",
	"h_rules": "Association rules",
	"n_rules": "Confidence: of those with the antecedent, how many have the consequent. Lift: confidence by the consequent’s own share; 1 is independence.",
	"c_rules": "The 20 rules with the highest lift, of at least 5 baskets", "antecedent": "who has", "consequent": "also has", "confidence": "confidence", "lift": "lift", "support": "support",
	"e_rules": "No rules yet. <code>kpx_mine_rules</code> finds them.",
	"h_funnel": "Funnel: from impressions to revenue",
	"n_funnel": "By the module where an item was shown → the item’s own: the 12 pairs with most impressions, in the 60 days up to the last impression (UTC).",
	"n_days": "By day. Above: impressions; below: the share that was clicked. The vertical axes begin at zero and are the same for all pairs.",
	"c_funnel": "Totals by pair of modules", "pair": "shown in → item of", "impressions": "impressions", "clicks": "clicks", "ctr": "clicked", "conversions": "conversions", "cvr": "converted", "dismissals": "dismissals", "revenue": "revenue", "expected": "expected", "anywhere": "anywhere",
	"per_click": "Converted: conversions by clicks.",
	"e_funnel": "No impressions yet. <code>kpx_recommend_slate(…, log =&gt; true)</code> records what is shown, <code>kpx_feedback</code> and <code>kpx_attribute</code> what came of it.",
	"h_policies": "Effect of the policy",
	"c_policies": "What each version of the policy showed and earned", "policy": "policy", "comment": "comment", "slates": "slates", "per_slate": "revenue a slate", "period": "from – to", "active": "active",
	"e_policies": "No version of the policy has shown anything yet. <code>kpx_set_policy</code> makes one, <code>kpx_recommend_slate</code> shows.",
	"h_effects": "Effect of models: champions and challengers",
	"n_effects": "By the item’s own module. Users are what is split between models: their number is the size of the sample, and revenue a user what to compare; ± is its standard error, and a difference of less than two of them may be luck. A challenger’s share is that of the users it answers.",
	"c_effects": "What each model showed and earned", "challenger": "challenger", "per_user": "revenue a user",
	"e_effects": "No model has shown anything yet. <code>kpx_set_traffic</code> lets a challenger answer some users, <code>kpx_recommend_slate(…, log =&gt; true)</code> records what is shown.",
	"h_views": "Recommendation views",
	"c_views": "Tables of recommendations kept for BI", "view": "view", "rows": "rows", "changed": "rows changed last", "refreshed": "refreshed",
	"e_views": "No recommendation view yet. <code>kpx_create_recommendation_view</code> makes one.",
	"h_calls": "Slow calls",
	"n_calls": "Milliseconds; p99: 99 % of the calls took no longer, the bars compare it with the slowest. Counted since",
	"c_calls": "How fast answers are, by module and function, the slowest first", "function": "function", "calls": "calls", "slowest": "slowest", "empty": "empty", "fell_back": "filled up",
	"e_calls": "Nothing counted yet. With the library in <code>shared_preload_libraries</code>, every call of <code>kpx_recommend</code> and its like counts in <code>kpx_stat_recommend</code>.",
	"h_lists": "What lists are like",
	"n_lists": "Coverage: share of the items that are in anybody’s list. Gini: 0 when all items are there equally often. Novelty: in bits, the higher the less popular. Diversity: one less the mean similarity within a list. Filled up: lists that the model could not fill alone. Cold: items without interactions at training.",
	"c_lists": "The last measurement of each module", "coverage": "coverage", "novelty": "novelty", "diversity": "diversity", "cold": "cold",
	"e_lists": "Not measured yet. <code>kpx_measure</code> does it.",
	"h_drift": "Drift",
	"n_drift": "Population stability index (PSI) of recent events against those before training; drifted, when what is beyond noise is above the threshold. Bars reach the threshold at half their width.",
	"c_drift": "The last measurement of each module", "feature": "feature", "psi": "index", "noise": "noise", "threshold": "threshold", "drifted": "drifted",
	"e_drift": "Not measured yet. <code>kpx_measure</code> does it.",
	"h_jobs": "Jobs",
	"c_jobs": "What is planned, and how the last run went", "job": "job", "task": "task", "status": "status", "next": "next start", "last": "last result", "last_start": "last start", "failures": "failures in a row", "message": "message", "phase": "phase",
	"n_jobs": "Seconds of the last 40 runs of each job; those that did not succeed are red.",
	"e_jobs": "No job yet. With the library in <code>shared_preload_libraries</code>, <code>kpx_schedule</code> makes one.",
	"footer": "Written by <code>kpx_report</code>. The page is complete in itself and loads nothing."
	}'::jsonb END;
END;

-- ---------------------------------------------------------------- 92_report_models.sql

CREATE FUNCTION kpx.report_error(value double precision, std_error double precision) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN value IS NULL THEN U&'\2013' ELSE to_char(value, 'FM990.0000') || coalesce(U&'\202F\00B1\202F' || to_char(std_error, 'FM990.0000'), '') END;
END;
COMMENT ON FUNCTION kpx.report_error(double precision, double precision) IS 'a value from 0 to 1 and its standard error';

CREATE FUNCTION kpx.report_of_quality(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH measured AS (
		SELECT q.model, q.name, q.version, q.measured_by, q.split, q.module, split_part(min(q.metric), '@', 2) AS k, max(q.users) AS users, max(q.measured_at) AS measured_at,
			max(q.value) FILTER (WHERE q.metric ~ '^ndcg@') AS ndcg, max(q.std_error) FILTER (WHERE q.metric ~ '^ndcg@') AS ndcg_error,
			max(q.popularity) FILTER (WHERE q.metric ~ '^ndcg@') AS popular_ndcg,
			max(q.value) FILTER (WHERE q.metric ~ '^recall@') AS recall, max(q.popularity) FILTER (WHERE q.metric ~ '^recall@') AS popular_recall,
			string_agg(kpx.report_row('!' || kpx.html(q.metric), '#' || kpx.report_error(q.value, q.std_error), '#' || kpx.report_error(q.popularity, q.popularity_std_error)), '' ORDER BY q.metric) AS rows
		FROM @extschema@.kpx_model_metrics q WHERE these IS NULL OR q.module = ANY (these)
		GROUP BY q.model, q.name, q.version, q.measured_by, q.split, q.module ORDER BY max(q.measured_at) DESC, q.module LIMIT 20
	), scaled AS MATERIALIZED (
		SELECT *, greatest(max(greatest(ndcg, popular_ndcg)) OVER (PARTITION BY module), 1e-12) AS high FROM measured
	)
	SELECT '<p class="note">' || (w->>'n_quality') || '</p>'
		|| kpx.report_table(w->>'c_quality', ARRAY[w->>'module', '#' || (w->>'model'), '#k', '#NDCG', '#' || (w->>'popularity'), '', '#' || (w->>'recall'), '#' || (w->>'popularity'),
				'#' || (w->>'users'), w->>'held_out', w->>'time'],
			string_agg(kpx.report_row('!' || kpx.report_name(q.module), '#' || q.model, '#' || kpx.html(q.k), '#' || kpx.report_error(q.ndcg, q.ndcg_error), '#' || kpx.report_error(q.popular_ndcg, NULL),
				kpx.report_bar(q.ndcg / q.high) || kpx.report_bar(q.popular_ndcg / q.high, 'muted'), '#' || kpx.report_error(q.recall, NULL), '#' || kpx.report_error(q.popular_recall, NULL),
				'#' || kpx.report_count(q.users), kpx.html(q.measured_by) || ', ' || kpx.html(q.split),
				kpx.report_time(q.measured_at)), '' ORDER BY q.measured_at DESC, q.module))
		|| kpx.report_details(w->>'data', string_agg(kpx.report_table(kpx.report_name(q.name) || ' ' || q.version || ', ' || kpx.report_name(q.module) || ', ' || kpx.html(q.measured_by),
			ARRAY[w->>'metric', '#' || (w->>'value'), '#' || (w->>'popularity')], q.rows), '' ORDER BY q.measured_at DESC, q.module))
	FROM scaled q HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_quality(jsonb, text[]) IS 'section of the report: metrics of models against popularity';

-- ---------------------------------------------------------------- 93_report_operations.sql


-- ---------------------------------------------------------------- 93_report_users.sql

CREATE OR REPLACE FUNCTION kpx.report_of_policies(w jsonb) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT kpx.report_table(w->>'c_policies', ARRAY['#' || (w->>'policy'), w->>'comment', '#' || (w->>'slates'), '#' || (w->>'users'), '#' || (w->>'ctr'), '#' || (w->>'conversions'), '#' || (w->>'dismissals'),
			'#' || (w->>'revenue'), '#' || (w->>'per_slate'), '', w->>'period'],
		string_agg(kpx.report_row('#' || e.policy, '!' || coalesce(kpx.report_name(e.comment), '') || CASE WHEN e.active THEN ' <span class="tag">' || (w->>'active') || '</span>' ELSE '' END,
			'#' || kpx.report_count(e.slates), '#' || kpx.report_count(e.users), '#' || kpx.report_share(e.clicks::double precision / e.impressions), '#' || kpx.report_count(e.conversions),
			'#' || kpx.report_count(e.dismissals), '#' || kpx.report_money(e.revenue), '#' || kpx.report_money(e.revenue_per_slate), kpx.report_bar(e.revenue_per_slate / greatest(e.high, 1e-12)),
			kpx.report_period(e.first_shown, e.last_shown)), '' ORDER BY e.policy DESC))
	FROM (SELECT e.*, p.comment, p.active, max(e.revenue_per_slate) OVER () AS high
		FROM @extschema@.kpx_policy_effect e LEFT JOIN @extschema@.kpx_policies p ON p.policy = e.policy ORDER BY e.policy DESC LIMIT 20) e
	HAVING count(*) > 0;
END;

CREATE FUNCTION kpx.report_of_effects(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT '<p class="note">' || (w->>'n_effects') || '</p>' || kpx.report_table(w->>'c_effects', ARRAY[w->>'module', '#' || (w->>'model'), w->>'status', '#' || (w->>'users'), '#' || (w->>'impressions'), '#' || (w->>'ctr'),
			'#' || (w->>'conversions'), '#' || (w->>'revenue'), '#' || (w->>'per_user'), '', w->>'period'],
		string_agg(kpx.report_row('!' || kpx.report_name(e.module), '#' || coalesce(e.model::text, U&'\2013'),
			CASE WHEN e.module = ANY (m.active_for) THEN '<span class="tag">' || (w->>'active') || '</span>'
				WHEN m.traffic ? e.module THEN (w->>'challenger') || ' ' || kpx.report_share((m.traffic->>e.module)::double precision) ELSE '' END,
			'#' || kpx.report_count(e.users), '#' || kpx.report_count(e.impressions), '#' || kpx.report_share(e.clicks::double precision / e.impressions), '#' || kpx.report_count(e.conversions),
			'#' || kpx.report_money(e.revenue), '#' || kpx.report_money(e.revenue_per_user) || coalesce(U&'\202F\00B1\202F' || kpx.report_money(e.revenue_std_error), ''), kpx.report_bar(e.revenue_per_user / greatest(e.high, 1e-12)),
			kpx.report_period(e.first_shown, e.last_shown)), '' ORDER BY e.module, e.model DESC))
	FROM (SELECT x.*, max(x.revenue_per_user) OVER (PARTITION BY x.module) AS high, row_number() OVER (PARTITION BY x.module ORDER BY x.model DESC) AS n
		FROM @extschema@.kpx_model_effect x WHERE these IS NULL OR x.module = ANY (these)) e
	LEFT JOIN @extschema@.kpx_models m ON m.model = e.model
	WHERE e.n <= 5 HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_effects(jsonb, text[]) IS 'section of the report: what models showed and earned';

-- ---------------------------------------------------------------- 94_report_page.sql

CREATE OR REPLACE FUNCTION kpx.report_style() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '
:root { color-scheme: light dark; --ground: #fff; --text: #1c2330; --muted: #566072; --rule: #dfe3e9; --strong-rule: #aab2bf; --a: #1f6fb4; --b: #b4540a; --good: #1a6b3c; --warn: #9a3b00; --bad: #b3261e; --soft: #f4f6f9; }
@media (prefers-color-scheme: dark) {
:root { --ground: #13171d; --text: #e4e8ee; --muted: #a2adbd; --rule: #2b323d; --strong-rule: #566072; --a: #62aef0; --b: #f0a05a; --good: #6fcf97; --warn: #f5b56b; --bad: #ff8f86; --soft: #1b2129; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
main, header, footer { max-width: 70rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .75rem; font-weight: 650; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 0 0 .75rem; font-weight: 650; }
section { padding: 1.75rem 0 1.25rem; border-top: 1px solid var(--rule); }
dl { display: flex; flex-wrap: wrap; gap: .25rem 2rem; margin: 0 0 .75rem; }
dt { color: var(--muted); font-size: .8125rem; }
dd { margin: 0; overflow-wrap: anywhere; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; margin: 1rem 0 1.5rem; padding: 0; }
a { color: var(--a); text-underline-offset: .2em; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--a); outline-offset: 2px; }
p { margin: 0 0 .75rem; max-width: 46rem; }
.note, .muted, .empty, figcaption .muted { color: var(--muted); }
.note { font-size: .875rem; }
.empty { background: var(--soft); padding: .75rem 1rem; border-radius: .375rem; }
code { font: .9em ui-monospace, "SF Mono", Menlo, Consolas, "Noto Sans Mono", monospace; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0 0 .75rem; }
table { border-collapse: collapse; min-width: 100%; font-size: .875rem; }
caption { text-align: left; font-weight: 600; padding: .25rem 0 .5rem; }
th, td { text-align: left; vertical-align: top; padding: .375rem 1rem .375rem 0; border-bottom: 1px solid var(--rule); }
thead th { color: var(--muted); font-weight: 500; border-bottom-color: var(--strong-rule); vertical-align: bottom; white-space: nowrap; }
.names { display: inline-block; min-width: 9rem; }
tbody th { font-weight: 500; min-width: 9rem; max-width: 24rem; overflow-wrap: break-word; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
time { font-variant-numeric: tabular-nums; white-space: nowrap; }
.tag { display: inline-block; font-size: .75rem; line-height: 1.4; padding: 0 .4rem; border: 1px solid currentColor; border-radius: 1rem; color: var(--good); white-space: nowrap; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.bar { display: block; width: 7rem; height: .8rem; margin-top: .3rem; background: var(--soft); }
svg .a { fill: var(--a); } svg .b { fill: var(--b); } svg .bad { fill: var(--bad); } svg .warn { fill: var(--warn); } svg .muted { fill: var(--muted); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1.5rem 2rem; margin-top: 1rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; font-size: .875rem; margin-bottom: .25rem; overflow-wrap: anywhere; }
.chart { display: block; width: 100%; height: auto; }
.chart text { fill: var(--muted); font-size: 11px; font-variant-numeric: tabular-nums; }
.chart text.n { text-anchor: end; }
.grid { stroke: var(--rule); stroke-width: 1; } .axis { stroke: var(--muted); stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .line.s0 { stroke: var(--a); } .line.s1 { stroke: var(--b); stroke-dasharray: 5 3; }
.dot.s0 { fill: var(--a); } .dot.s1 { fill: var(--b); }
.key { font-size: .8125rem; color: var(--muted); margin: .25rem 0; }
.key span::before { content: ""; display: inline-block; width: 1.25rem; margin-right: .375rem; vertical-align: middle; border-top: 2px solid var(--a); }
.key .s1::before { border-top: 2px dashed var(--b); }
.key span { margin-right: .75rem; }
details { font-size: .875rem; margin-top: .25rem; }
summary { cursor: pointer; color: var(--a); width: fit-content; }
footer { color: var(--muted); font-size: .8125rem; padding-top: 1rem; padding-bottom: 3rem; }
@media (max-width: 40rem) { body { font-size: 14px; } h1 { font-size: 1.5rem; } header { padding-top: 1.5rem; } th, td { padding-right: .75rem; } .bar { width: 4rem; } tbody th { min-width: 7rem; } }
@media print { :root { color-scheme: light; --ground: #fff; --text: #000; --muted: #444; --rule: #ccc; --strong-rule: #aab2bf; --a: #1f6fb4; --b: #b4540a; --good: #1a6b3c; --warn: #9a3b00; --bad: #b3261e; --soft: #f4f6f9; } nav, details { display: none; } section, figure, tr { break-inside: avoid; } .scroll { overflow: visible; } body { font-size: 10pt; } table { font-size: 8pt; } }
';
END;

CREATE OR REPLACE FUNCTION kpx.report_page(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH section(n, id, body) AS MATERIALIZED (VALUES
		(0, 'health', CASE WHEN (SELECT bool_and(has_function_privilege(p.oid, 'EXECUTE')) FROM pg_proc p
			JOIN pg_extension e ON e.extnamespace = p.pronamespace AND e.extname = 'kpxrec' WHERE p.proname = 'kpx_health') THEN kpx.report_of_health(w) ELSE '<p class="empty">' || (w->>'r_health') || '</p>' END),
		(1, 'modules', kpx.report_of_modules(w, these)),
		(2, 'models', kpx.report_of_models(w, these)),
		(3, 'quality', kpx.report_of_quality(w, these)),
		(4, 'curves', kpx.report_of_curves(w, these)),
		(5, 'trials', kpx.report_of_trials(w, these)),
		(6, 'segments', kpx.report_of_segments(w, these)),
		(7, 'rules', kpx.report_of_rules(w, these)),
		(8, 'funnel', kpx.report_of_funnel(w, these)),
		(9, 'policies', kpx.report_of_policies(w)),
		(10, 'effects', kpx.report_of_effects(w, these)),
		(11, 'views', kpx.report_of_views(w, these)),
		(12, 'lists', kpx.report_of_lists(w, these)),
		(13, 'drift', kpx.report_of_drift(w, these)),
		(14, 'calls', kpx.report_of_calls(w, these)),
		(15, 'jobs', kpx.report_of_jobs(w))
	), installed AS (
		SELECT v.library FROM @extschema@.kpx_version() v
	)
	SELECT '<!DOCTYPE html>
<html lang="' || (w->>'lang') || '">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''">
<title>' || (w->>'title') || U&' \2013 ' || kpx.html(current_database()) || '</title>
<style>' || kpx.report_style() || '</style>
</head>
<body>
<header>
<h1>' || (w->>'title') || '</h1>
<dl>'
		|| (SELECT string_agg('<div><dt>' || (w->>k) || '</dt><dd>' || v || '</dd></div>', '' ORDER BY n) FROM (VALUES
			(1, 'database', kpx.report_name(current_database())),
			(2, 'modules', coalesce(kpx.report_names(these), w->>'all')),
			(3, 'written', kpx.report_time(now()) || ' ' || kpx.html(current_setting('TimeZone'))),
			(4, 'role', kpx.report_name(current_user)),
			(5, 'library', 'kpxrec ' || kpx.html((SELECT i.library FROM installed i)))) d(n, k, v))
		|| '</dl>
<p class="note">' || (w->>'role_note') || '</p>
<nav aria-label="' || (w->>'contents') || '"><ul>'
		|| (SELECT string_agg('<li><a href="#' || id || '">' || (w->>('h_' || id)) || '</a></li>', '' ORDER BY n) FROM section)
		|| '</ul></nav>
</header>
<main>
'
		|| (SELECT string_agg(kpx.report_section(id, w->>('h_' || id), body, w->>('e_' || id)), E'\n' ORDER BY n) FROM section)
		|| '
</main>
<footer><p>' || (w->>'footer') || '</p></footer>
</body>
</html>
';
END;

-- ---------------------------------------------------------------- 99_grant.sql

-- As in 99_grant.sql, for what is new.
DO $$
DECLARE
	f pg_catalog.regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p
		JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
			AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
		JOIN pg_catalog.pg_extension e ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
			AND e.oid OPERATOR(pg_catalog.=) d.refobjid AND e.extname OPERATOR(pg_catalog.=) 'kpxrec'
		WHERE p.provolatile OPERATOR(pg_catalog.=) 'v' AND p.pronamespace OPERATOR(pg_catalog.<>) 'kpx'::pg_catalog.regnamespace
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
	END LOOP;
END $$;
