-- Registering: what the items are, and which tables say what users did with them.
SELECT kpx_add_module('courses', 'app.courses', item_id => 'course_id', title => 'title',
	text_columns => '{title,description}', category => 'topic', price => 'price', available => 'is_published');
SELECT kpx_add_module('products', 'app.products', item_id => 'product_id', title => 'title',
	text_columns => '{title,description}', category => 'category', price => 'price', available => 'on_sale');
SELECT kpx_add_module('videos', 'app.videos', item_id => 'video_id', title => 'title',
	text_columns => '{title,description}', category => 'topic', available => 'is_public');
SELECT kpx_add_module('posts', 'app.posts', item_id => 'post_id', title => 'title',
	text_columns => '{title,body}', category => 'topic', available => 'is_visible');
SELECT kpx_add_module('jobs', 'app.jobs', item_id => 'job_id', title => 'title',
	text_columns => '{title,description}', category => 'field', available => 'is_open');

SELECT kpx_add_events('courses', 'app.enrolments', kind => 'purchase', user_id => 'user_id', item_id => 'course_id',
	occurred_at => 'enrolled_at', value => 'paid', weight => 3);
SELECT kpx_add_events('products', 'app.orders', kind => 'purchase', user_id => 'user_id', item_id => 'product_id',
	occurred_at => 'ordered_at', weight => 3);
SELECT kpx_add_events('products', 'app.product_views', kind => 'view', user_id => 'user_id', item_id => 'product_id',
	occurred_at => 'viewed_at');
SELECT kpx_add_events('videos', 'app.watches', kind => 'watch', user_id => 'user_id', item_id => 'video_id',
	occurred_at => 'watched_at');
SELECT kpx_add_events('posts', 'app.post_reads', kind => 'read', user_id => 'user_id', item_id => 'post_id',
	occurred_at => 'read_at');
SELECT kpx_add_events('jobs', 'app.applications', kind => 'application', user_id => 'user_id', item_id => 'job_id',
	occurred_at => 'applied_at', weight => 3);
SELECT kpx_add_user_attributes('app.users', 'user_id', '{city,age}');
